//! A launch: one sending of a wave, and the rows that stop or pause it.

use serde::{Deserialize, Serialize};

use crate::campaign::{Content, Policy, Wave};
use crate::id::{CampaignId, Digest, LaunchId};
use crate::plan::ShardSizes;
use crate::time::Timestamp;

/// Why something is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To the audience, once and for ever.
    Live,
    /// To named devices.
    Test,
    /// To simulators.
    Rehearsal,
}

/// Everything a dispatcher or worker needs, as it was at the press; never changed afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Identifier.
    pub id: LaunchId,
    /// Campaign.
    pub campaign: CampaignId,
    /// The campaign's name at the press.
    pub campaign_name: String,
    /// The campaign's version that was judged.
    pub campaign_version: u64,
    /// Wave.
    pub wave: Wave,
    /// Purpose.
    pub purpose: Purpose,
    /// Snapshot.
    pub snapshot: Digest,
    /// What is said.
    pub content: Content,
    /// How.
    pub policy: Policy,
    /// How the plan is cut.
    pub sizes: ShardSizes,
    /// Slices of the plan.
    pub slices: u16,
    /// Shards of the plan.
    pub shards: u32,
    /// Devices of the wave.
    pub devices: u64,
    /// Who pressed.
    pub pressed_by: String,
    /// When the press reached the server: every latency counts from here.
    pub pressed_at: Timestamp,
    /// No request after this.
    pub not_after: Timestamp,
    /// Ready workers at the press, as their heartbeats said.
    pub ready_workers: u32,
}

/// What holds a launch back; its row is read by every worker many times a second and is a send permission's ground.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// When and by whom it was aborted. For ever.
    pub aborted: Option<Stop>,
    /// When, by whom or what it was paused; taken back by resuming.
    pub paused: Option<Stop>,
}

/// An abort or a pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// When it was acknowledged.
    pub at: Timestamp,
    /// A person, or the part of the service that had to.
    pub by: String,
    /// Why; empty when nobody said.
    #[serde(default)]
    pub why: String,
}

/// The last change of a launch: every shard is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finish {
    /// When the dispatcher found the last record of the burst.
    pub at: Timestamp,
    /// When the late retries were over too; `None` while they are not.
    pub late_over_at: Option<Timestamp>,
}

/// Where a launch stands, from its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaunchState {
    /// Requests are leaving.
    Sending,
    /// Held back; the rest goes when it is resumed.
    Paused,
    /// Abort acknowledged, permissions may still be good.
    Aborting,
    /// Aborted and every shard recorded.
    Aborted,
    /// Every shard recorded; late retries may still go.
    LateRetry,
    /// Over.
    Finished,
}

impl LaunchState {
    /// Where a launch with these rows stands.
    pub fn of(control: &Control, finish: Option<&Finish>) -> Self {
        match (control, finish) {
            (Control { aborted: Some(_), .. }, None) => LaunchState::Aborting,
            (Control { aborted: Some(_), .. }, Some(_)) => LaunchState::Aborted,
            (_, Some(Finish { late_over_at: Some(_), .. })) => LaunchState::Finished,
            (_, Some(_)) => LaunchState::LateRetry,
            (Control { paused: Some(_), .. }, None) => LaunchState::Paused,
            (_, None) => LaunchState::Sending,
        }
    }

    /// Whether nothing more will happen.
    pub const fn is_over(self) -> bool {
        matches!(self, LaunchState::Aborted | LaunchState::Finished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abort_outlives_a_pause() {
        let stop = Some(Stop { at: Timestamp(1), by: "ann".into(), why: String::new() });
        let control = Control { aborted: stop.clone(), paused: stop };
        assert_eq!(LaunchState::of(&control, None), LaunchState::Aborting);
        let finish = Finish { at: Timestamp(2), late_over_at: None };
        assert_eq!(LaunchState::of(&control, Some(&finish)), LaunchState::Aborted);
    }
}
