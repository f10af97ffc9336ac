//! Campaigns, and the row that decides that a wave is launched once.

use model::{Campaign, CampaignId, LaunchId};
use serde::{Deserialize, Serialize};

use super::{Versioned, decode, encode, read, versioned};
use crate::error::Result;
use crate::store::{Expect, Key, Store, Write, query_all};

const CAMPAIGNS: &str = "campaigns";

/// The row of a campaign.
pub fn key(id: CampaignId) -> Key {
    Key::new(CAMPAIGNS, id.to_string())
}

/// Puts a campaign if `expect` holds.
pub fn put(campaign: &Campaign, expect: Expect) -> Write {
    Write::put(key(campaign.id), expect, encode(campaign))
}

/// A campaign, if it is there.
pub async fn get(store: &dyn Store, id: CampaignId) -> Result<Option<Versioned<Campaign>>> {
    read(store, key(id)).await
}

/// Every campaign.
pub async fn all(store: &dyn Store) -> Result<Vec<Campaign>> {
    query_all(store, CAMPAIGNS).await?.iter().map(decode).collect()
}

/// At most `limit` campaigns behind `after` (an id's text; empty: from the first), and whether there are more.
pub async fn list(store: &dyn Store, after: &str, limit: u32) -> Result<(Vec<Versioned<Campaign>>, bool)> {
    let page = store.query(CAMPAIGNS, after, limit, false).await?;
    Ok((page.rows.iter().map(versioned).collect::<Result<_>>()?, page.has_more))
}

/// The live launch of a wave: made once, never deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaveLaunch {
    /// The launch.
    pub launch: LaunchId,
}

fn wave_key(campaign: CampaignId, wave: &str) -> Key {
    Key::new(format!("waves/{campaign}"), wave)
}

/// Makes the row of a wave's live launch, if there is none: invariant I1 stands on this condition.
pub fn put_wave_launch(campaign: CampaignId, wave: &str, launch: LaunchId) -> Write {
    Write::put(wave_key(campaign, wave), Expect::Absent, encode(&WaveLaunch { launch }))
}

/// Holds as long as a wave is not launched: for a change that must not cross its launch.
pub fn check_not_launched(campaign: CampaignId, wave: &str) -> Write {
    Write::check(wave_key(campaign, wave), Expect::Absent)
}

/// The live launch of a wave, if it was launched.
pub async fn wave_launch(store: &dyn Store, campaign: CampaignId, wave: &str) -> Result<Option<LaunchId>> {
    let row = read::<WaveLaunch>(store, wave_key(campaign, wave)).await?;
    Ok(row.map(|row| row.body.launch))
}

/// Every live launch of a campaign, by wave name.
pub async fn wave_launches(store: &dyn Store, campaign: CampaignId) -> Result<Vec<(String, LaunchId)>> {
    let page = store.query(&format!("waves/{campaign}"), "", 1_000, false).await?;
    let launch = |row: &crate::Row| Ok((row.key.sort.clone(), super::decode::<WaveLaunch>(row)?.launch));
    page.rows.iter().map(launch).collect()
}
