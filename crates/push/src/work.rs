//! What a sending engine is given and what it gives back: shards.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use model::{Monotonic, OnUnknown, Outcome, Reason, Timestamp};

use crate::gate::{Gate, LaunchGate};
use crate::group_message::{GroupMessage, Message};
use crate::installation::Side;
use crate::verdict::Fault;

/// A key in the form in which a request carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// An APNs device token, raw.
    Apns(&'a [u8]),
    /// An FCM registration token, as text.
    FcmToken(&'a [u8]),
    /// A Firebase installation id, as text.
    FcmFid(&'a [u8]),
    /// Damaged: it cannot be sent.
    Unusable,
}

/// Room for the text of a key that is stored packed. Kept by a sending thread and written over for each device.
#[derive(Debug)]
pub struct KeyBuf {
    bytes: [u8; model::device::KEY_CHARS_MAX],
}

impl KeyBuf {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; model::device::KEY_CHARS_MAX] }
    }

    /// The room: as long as the longest key.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

/// Where the keys of a shard come from. Called for each device on a sending thread: it must not block, and should not
/// allocate.
pub trait Keys: Send + 'static {
    /// Devices.
    fn len(&self) -> u32;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key of a device, from the store itself or unpacked into `room`.
    fn key<'a>(&'a self, index: u32, room: &'a mut KeyBuf) -> Key<'a>;

    /// A number below 2^62 that no other device of the snapshot has, the same in each attempt.
    fn ordinal(&self, index: u32) -> u64;
}

/// A shard to send.
pub struct ShardWork<K, S> {
    /// The caller's name for it, given back.
    pub id: u64,
    /// What is sent, and through which pool.
    pub message: GroupMessage<S>,
    /// To whom.
    pub keys: K,
    /// What may hold it back.
    pub launch: LaunchGate<S>,
    /// When the claim on it ends, in monotonic nanoseconds; its owner renews it. Nothing is written in its last second.
    pub lease_until: Arc<AtomicU64>,
    /// A worker that was lost may have sent to any of its devices: all are marked *resent*.
    pub is_taken_over: bool,
    /// Its keys are doubtful, for example rejected before: they go over connections of their own.
    pub is_doubtful: bool,
    /// What to do with devices of which nobody knows whether an attempt arrived.
    pub on_unknown: OnUnknown,
    /// When Go was pressed; answers are timed from it.
    pub pressed: Monotonic,
}

/// The same without its side, as it travels to a sending thread.
pub(crate) struct Work<K> {
    pub(crate) id: u64,
    pub(crate) message: Arc<Message>,
    pub(crate) keys: K,
    pub(crate) gate: Arc<Gate>,
    pub(crate) lease_until: Arc<AtomicU64>,
    pub(crate) is_taken_over: bool,
    pub(crate) on_unknown: OnUnknown,
    pub(crate) pressed: Monotonic,
}

impl<K, S: Side> From<ShardWork<K, S>> for Work<K> {
    fn from(work: ShardWork<K, S>) -> Self {
        Self {
            id: work.id,
            message: Arc::clone(work.message.inner()),
            keys: work.keys,
            gate: Arc::clone(work.launch.inner()),
            lease_until: work.lease_until,
            is_taken_over: work.is_taken_over,
            on_unknown: work.on_unknown,
            pressed: work.pressed,
        }
    }
}

/// In [`ShardDone::answered_us`]: the device had no answer.
pub const NO_ANSWER: u32 = u32::MAX;

/// What became of a shard.
#[derive(Debug)]
pub struct ShardDone {
    /// As given.
    pub id: u64,
    /// One outcome per device. That of an open device says what is known if nobody ever takes it up again.
    pub outcomes: Vec<Outcome>,
    /// From the press to the final answer, in microseconds, per device; [`NO_ANSWER`] where there was none.
    pub answered_us: Vec<u32>,
    /// Requests started, repetitions included.
    pub requests: u32,
    /// Of these, requests that the provider has certainly not processed, whether they were written again or not.
    pub not_processed: u32,
    /// When the first request was started.
    pub first_write: Option<Monotonic>,
    /// When the last answer came.
    pub last_answer: Option<Monotonic>,
    /// Devices for which no request has left, because writing had to stop: they may be submitted again, in ascending
    /// order. All of them with no request at all means that the shard can be given back as if it had never been here.
    pub open: Vec<u32>,
    /// What made them stay open.
    pub why_open: Option<WhyOpen>,
    /// Keys that the provider calls dead.
    pub dead: Vec<DeadKey>,
    /// A fault of the message or the credentials that stopped the launch.
    pub stop: Option<LaunchStop>,
    /// The project's quota is used up: the fleet should pause this long.
    pub quota_pause: Option<Duration>,
    /// The longest that the provider asked to wait before rejected devices are tried again.
    pub retry_after: Option<Duration>,
}

impl ShardDone {
    /// Whether nothing was ever written: it may be given back without a record.
    pub fn is_untouched(&self) -> bool {
        self.requests == 0 && self.open.len() == self.outcomes.len()
    }
}

/// What is known of a shard of which only a few devices still wait for their answers.
#[derive(Debug)]
pub struct ShardSoFar {
    /// As given.
    pub id: u64,
    /// One per device; `None`: it waits.
    pub outcomes: Vec<Option<Outcome>>,
    /// As in [`ShardDone`], so far.
    pub answered_us: Vec<u32>,
    /// As in [`ShardDone`], so far.
    pub requests: u32,
    /// As in [`ShardDone`].
    pub first_write: Option<Monotonic>,
    /// As in [`ShardDone`], so far.
    pub last_answer: Option<Monotonic>,
}

/// Why devices of a shard stayed open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyOpen {
    /// Its gate was told to hand back, or had been without permission for too long.
    Held,
    /// The lease was about to end.
    Lease,
    /// The project's quota is used up.
    Quota,
    /// The engine shuts down.
    Shutdown,
}

/// A key that the provider calls dead for this topic or project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadKey {
    /// Which device of the shard.
    pub index: u32,
    /// Why.
    pub reason: Reason,
    /// APNs 410: dead unless registered after this.
    pub since: Option<Timestamp>,
}

/// A fault that every device would meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaunchStop {
    /// Whose.
    pub fault: Fault,
    /// In the provider's words.
    pub reason: Reason,
}
