//! What became of somebody's devices in launches.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use backend::Store;
use backend::rows::{self, campaign, launch};
use device_map::Position;
use model::inquiry::{HeldDevice, InLaunch, SentDevice};
use model::{Launch, LaunchId, Manifest, Outcome, OutcomeRuns, Plan, ShardSpec};

use super::Unread;
use super::snapshots::Found;
use super::standing::{SNAPSHOT_GONE, SNAPSHOT_UNREADABLE};
use crate::desk::Desk;
use crate::error::{Failure, Result};

/// A device whose group the wave leaves out.
const NOT_IN_WAVE: &str = "not_in_wave";
/// A device of which no worker has told yet.
const NOT_RECORDED: &str = "not_recorded";
/// Nobody can tell.
const RECORDS_UNREADABLE: &str = "records_unreadable";

/// Every launch, the oldest first.
pub(crate) async fn launches(store: &dyn Store) -> Result<Vec<Launch>> {
    let mut ids: Vec<LaunchId> = launch::open(store).await?;
    for campaign in campaign::all(store).await? {
        ids.extend(campaign::wave_launches(store, campaign.id).await?.into_iter().map(|(_, launch)| launch));
    }
    ids.sort_unstable();
    ids.dedup();
    let mut launches = Vec::with_capacity(ids.len());
    for id in ids {
        launches.extend(launch::get(store, id).await?);
    }
    launches.sort_unstable_by_key(|launch| launch.pressed_at);
    Ok(launches)
}

/// What became of somebody's devices in a launch; nothing when none was in its snapshot.
pub(super) async fn in_launch(
    desk: &Desk,
    launch: &Launch,
    found: Option<&Found>,
    unread: &mut Unread,
) -> Result<Option<InLaunch>> {
    let (devices, why) = match found {
        None | Some(Found::Gone) => (None, Some(SNAPSHOT_GONE)),
        Some(Found::Unreadable) => (None, Some(SNAPSHOT_UNREADABLE)),
        Some(Found::Here(_, devices)) if devices.is_empty() => return Ok(None),
        Some(Found::Here(manifest, devices)) => {
            let sent = sent(&*desk.backend.store, launch, manifest, devices).await;
            let sent = unread.or_note(&format!("records of {}", launch.id), sent.map_err(Failure::from))?;
            let why = sent.is_none().then_some(RECORDS_UNREADABLE);
            (sent, why)
        }
    };
    Ok(Some(InLaunch {
        launch: launch.id,
        campaign: launch.campaign,
        campaign_name: launch.campaign_name.clone(),
        wave: launch.wave.name.clone(),
        pressed_at: launch.pressed_at,
        devices,
        why: why.map(str::to_owned),
    }))
}

async fn sent(
    store: &dyn Store,
    launch: &Launch,
    manifest: &Manifest,
    devices: &[(Position, HeldDevice)],
) -> Result<Vec<SentDevice>> {
    let plan = Plan::new(manifest, &launch.wave, &launch.sizes);
    let mut slices: BTreeMap<u16, BTreeMap<u32, OutcomeRuns>> = BTreeMap::new();
    let mut sent = Vec::with_capacity(devices.len());
    for (position, device) in devices {
        let holds = |shard: &&ShardSpec| {
            shard.group == position.group
                && (shard.start..shard.start + shard.count).contains(&position.device)
        };
        let Some(shard) = plan.shards().iter().find(holds) else {
            sent.push(told(device, Err(NOT_IN_WAVE)));
            continue;
        };
        let slice = plan.slice_of(shard.number);
        let outcomes = match slices.entry(slice) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(place) => place.insert(rows::outcome::of_slice(store, launch.id, slice).await?),
        };
        let place = (position.device - shard.start) as usize;
        let outcome = outcomes.get(&shard.number).and_then(|outcomes| outcomes.iter().nth(place));
        sent.push(told(device, outcome.ok_or(NOT_RECORDED)));
    }
    Ok(sent)
}

fn told(device: &HeldDevice, outcome: std::result::Result<Outcome, &str>) -> SentDevice {
    let device = device.clone();
    match outcome {
        Ok(outcome) => SentDevice {
            device,
            outcome: outcome.class().name().to_owned(),
            reason: outcome.reason().text().to_owned(),
            is_resent: outcome.is_resent(),
        },
        Err(word) => SentDevice { device, outcome: word.to_owned(), reason: String::new(), is_resent: false },
    }
}
