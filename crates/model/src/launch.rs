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
    /// The version of the late list that whoever sends must have taken in.
    #[serde(default)]
    pub late_list: u64,
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
    /// Held back; the rest, or the late retries, go when it is resumed.
    Paused,
    /// Abort acknowledged; permissions may still be good, or shards without record.
    Aborting,
    /// Aborted, every shard recorded, and no late retry left.
    Aborted,
    /// Every shard recorded; late retries may still go.
    LateRetry,
    /// Over.
    Finished,
}

impl LaunchState {
    /// Where a launch with these rows stands.
    pub fn of(control: &Control, finish: Option<&Finish>) -> Self {
        let is_over = finish.is_some_and(|finish| finish.late_over_at.is_some());
        match (&control.aborted, is_over) {
            (Some(_), false) => LaunchState::Aborting,
            (Some(_), true) => LaunchState::Aborted,
            (None, true) => LaunchState::Finished,
            (None, false) if control.paused.is_some() => LaunchState::Paused,
            (None, false) if finish.is_some() => LaunchState::LateRetry,
            (None, false) => LaunchState::Sending,
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
    fn a_launch_stands_where_its_rows_say() {
        use LaunchState::{Aborted, Aborting, Finished, LateRetry, Paused, Sending};
        let stop =
            |is_set: bool| is_set.then(|| Stop { at: Timestamp(1), by: "ann".into(), why: String::new() });
        let finishes = [None, Some(None), Some(Some(Timestamp(3)))]
            .map(|late| late.map(|late_over_at| Finish { at: Timestamp(2), late_over_at }));
        // By finish: none, late retries still going, over.
        for (is_aborted, is_paused, expected) in [
            (false, false, [Sending, LateRetry, Finished]),
            (false, true, [Paused, Paused, Finished]),
            (true, false, [Aborting, Aborting, Aborted]),
            (true, true, [Aborting, Aborting, Aborted]),
        ] {
            let control = Control { aborted: stop(is_aborted), paused: stop(is_paused) };
            for (finish, state) in finishes.iter().zip(expected) {
                assert_eq!(LaunchState::of(&control, finish.as_ref()), state);
                let is_at_end = finish.as_ref().is_some_and(|finish| finish.late_over_at.is_some());
                assert_eq!(state.is_over(), is_at_end);
            }
        }
    }
}
