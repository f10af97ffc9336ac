//! What travels on the queues: small JSON texts that carry no token and no text of the message.

use serde::{Deserialize, Serialize};

use crate::device::Platform;
use crate::id::{AudienceId, Digest, ExportId, ImportId, InquiryId, LaunchId};
use crate::time::Timestamp;

/// To a resolver: resolve this audience.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolve {
    /// Which.
    pub audience: AudienceId,
}

/// To a resolver: take these devices into the directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakeIn {
    /// Which.
    pub import: ImportId,
}

/// To a resolver: write these outcomes out, device by device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteOut {
    /// Which.
    pub export: ExportId,
}

/// To a resolver: find out what is held about somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookUp {
    /// Which question.
    pub inquiry: InquiryId,
}

/// Everything that a resolver is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ToResolver {
    /// See [`Resolve`].
    Resolve(Resolve),
    /// See [`TakeIn`].
    TakeIn(TakeIn),
    /// See [`WriteOut`].
    WriteOut(WriteOut),
    /// See [`LookUp`].
    LookUp(LookUp),
}

/// To a dispatcher: plan and enqueue this slice. Its deduplication id and its message group are [`Trigger::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// Launch.
    pub launch: LaunchId,
    /// Slice of its plan.
    pub slice: u16,
}

impl Trigger {
    /// Launch and slice as one word.
    pub fn name(&self) -> String {
        format!("{}-{}", self.launch, self.slice)
    }
}

/// To a worker: send, or finish, this shard. At most [`SHARD_BYTES_MAX`] as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardMessage {
    /// Launch.
    #[serde(rename = "l")]
    pub launch: LaunchId,
    /// The shard's number in the plan.
    #[serde(rename = "n")]
    pub shard: u32,
    /// Snapshot.
    #[serde(rename = "s")]
    pub snapshot: Digest,
    /// Provider.
    #[serde(rename = "p")]
    pub platform: Platform,
    /// Index of the group in the manifest.
    #[serde(rename = "g")]
    pub group: u32,
    /// First device, counted within the group.
    #[serde(rename = "f")]
    pub start: u32,
    /// Devices.
    #[serde(rename = "c")]
    pub count: u32,
    /// No request after this; such devices are *expired*.
    #[serde(rename = "na")]
    pub not_after: Timestamp,
    /// First moment of the send window; earlier the worker hands the message back.
    #[serde(rename = "wf", default, skip_serializing_if = "is_zero")]
    pub window_from: Timestamp,
    /// End of the send window; later the worker hands the message back to be paced again. Zero: no end.
    #[serde(rename = "wu", default, skip_serializing_if = "is_zero")]
    pub window_until: Timestamp,
    /// 0: the burst. Above: the late retry of the transient outcomes in the shard's record.
    #[serde(rename = "a", default, skip_serializing_if = "is_burst")]
    pub attempt: u8,
}

/// The bound on a shard message's bytes.
pub const SHARD_BYTES_MAX: usize = 300;

fn is_zero(time: &Timestamp) -> bool {
    time.0 == 0
}

fn is_burst(attempt: &u8) -> bool {
    *attempt == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_shard_message_keeps_its_bound() {
        let message = ShardMessage {
            launch: LaunchId(u128::MAX),
            shard: u32::MAX,
            snapshot: Digest([0xff; 32]),
            platform: Platform::Apns,
            group: u32::MAX,
            start: u32::MAX,
            count: u32::MAX,
            not_after: Timestamp(9_999_999_999_999_999),
            window_from: Timestamp(9_999_999_999_999_999),
            window_until: Timestamp(9_999_999_999_999_999),
            attempt: u8::MAX,
        };
        let size = serde_json::to_vec(&message).unwrap().len();
        assert!(size < SHARD_BYTES_MAX, "{size}");
    }
}
