//! Queues as SQS has them, with its rules: at least once, visibility, receive counts, dead letters, delay; the FIFO
//! one deduplicates and keeps the order within a group.

use std::time::Duration;

use async_trait::async_trait;
use model::Platform;

use crate::error::Result;

/// Every queue there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Queue {
    /// Audiences to resolve.
    Resolve,
    /// Slices to plan: the FIFO queue.
    Triggers,
    /// Shards to send, one queue a provider.
    Shards(Platform),
    /// Shards to send later: outside their send window, or late retries; one queue a provider.
    Delayed(Platform),
    /// Messages of the queue received too often.
    Dead(DeadOf),
}

/// The queues that have dead letters: all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeadOf {
    /// Of [`Queue::Resolve`].
    Resolve,
    /// Of [`Queue::Triggers`].
    Triggers,
    /// Of [`Queue::Shards`].
    Shards(Platform),
    /// Of [`Queue::Delayed`].
    Delayed(Platform),
}

impl Queue {
    /// All queues, dead-letter queues included.
    pub const ALL: [Queue; 12] = [
        Queue::Resolve,
        Queue::Triggers,
        Queue::Shards(Platform::Apns),
        Queue::Shards(Platform::Fcm),
        Queue::Delayed(Platform::Apns),
        Queue::Delayed(Platform::Fcm),
        Queue::Dead(DeadOf::Resolve),
        Queue::Dead(DeadOf::Triggers),
        Queue::Dead(DeadOf::Shards(Platform::Apns)),
        Queue::Dead(DeadOf::Shards(Platform::Fcm)),
        Queue::Dead(DeadOf::Delayed(Platform::Apns)),
        Queue::Dead(DeadOf::Delayed(Platform::Fcm)),
    ];

    /// A stable name, for example `shards-apns` or `triggers-dead`.
    pub const fn name(self) -> &'static str {
        match self {
            Queue::Resolve => "resolve",
            Queue::Triggers => "triggers",
            Queue::Shards(Platform::Apns) => "shards-apns",
            Queue::Shards(Platform::Fcm) => "shards-fcm",
            Queue::Delayed(Platform::Apns) => "delayed-apns",
            Queue::Delayed(Platform::Fcm) => "delayed-fcm",
            Queue::Dead(DeadOf::Resolve) => "resolve-dead",
            Queue::Dead(DeadOf::Triggers) => "triggers-dead",
            Queue::Dead(DeadOf::Shards(Platform::Apns)) => "shards-apns-dead",
            Queue::Dead(DeadOf::Shards(Platform::Fcm)) => "shards-fcm-dead",
            Queue::Dead(DeadOf::Delayed(Platform::Apns)) => "delayed-apns-dead",
            Queue::Dead(DeadOf::Delayed(Platform::Fcm)) => "delayed-fcm-dead",
        }
    }

    /// Where its messages go that were received [`RECEIVES_MAX`] times and not deleted.
    pub const fn dead(self) -> Option<Queue> {
        match self {
            Queue::Resolve => Some(Queue::Dead(DeadOf::Resolve)),
            Queue::Triggers => Some(Queue::Dead(DeadOf::Triggers)),
            Queue::Shards(platform) => Some(Queue::Dead(DeadOf::Shards(platform))),
            Queue::Delayed(platform) => Some(Queue::Dead(DeadOf::Delayed(platform))),
            Queue::Dead(_) => None,
        }
    }

    /// Whether it keeps the order of a group and drops duplicates.
    pub const fn is_fifo(self) -> bool {
        matches!(self, Queue::Triggers | Queue::Dead(DeadOf::Triggers))
    }

    /// How long a received message stays hidden, unless changed.
    pub const fn visibility(self) -> Duration {
        match self {
            // Its work takes long and is kept hidden by beats of a quarter of this. A machine that stands still for longer
            // costs the work of one, never a wrong result.
            Queue::Resolve => Duration::from_secs(20),
            _ => LEASE,
        }
    }
}

/// A claim's lease, and equal to it the visibility of its message.
pub const LEASE: Duration = Duration::from_secs(10);
/// Receives after which a message becomes a dead letter instead of being received again.
pub const RECEIVES_MAX: u32 = 20;
/// Most messages of one call.
pub const CALL_MESSAGES_MAX: usize = 10;
/// Most bytes of one message body.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// The longest delay of a message (SQS: 15 minutes).
pub const DELAY_MAX: Duration = Duration::from_secs(900);
/// How long a deduplication id is remembered, whether or not its message was deleted.
pub const DEDUPLICATION: Duration = Duration::from_secs(300);

/// What a FIFO queue needs to know of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fifo {
    /// Messages of one group are received in order; none while another of the group is in flight.
    pub group: String,
    /// A second message with this id within [`DEDUPLICATION`] is taken and dropped.
    pub deduplication: String,
}

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Text of 1 to [`MESSAGE_BYTES_MAX`] bytes.
    pub body: String,
    /// Not received before; at most [`DELAY_MAX`]; zero on a FIFO queue.
    pub delay: Duration,
    /// Given exactly for FIFO queues.
    pub fifo: Option<Fifo>,
}

impl Outgoing {
    /// A message for a standard queue, to be received at once.
    pub const fn now(body: String) -> Self {
        Self { body, delay: Duration::ZERO, fifo: None }
    }
}

/// A received message. It comes back after its visibility unless it is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Names this receive of this message.
    pub receipt: String,
    /// Text.
    pub body: String,
    /// How often it was received, this time included. Giving it back by [`Queues::give_back`] does not count.
    pub receives: u32,
}

/// The queues of an installation.
#[async_trait]
pub trait Queues: Send + Sync {
    /// Sends any number of messages; an error says that an unknown part may have been sent.
    async fn send(&self, queue: Queue, messages: Vec<Outgoing>) -> Result<()>;

    /// Receives 1 to `max` (at most [`CALL_MESSAGES_MAX`]) messages, or none after waiting `wait`.
    async fn receive(&self, queue: Queue, max: usize, wait: Duration) -> Result<Vec<Delivery>>;

    /// Deletes received messages. A receipt that is no longer good is passed over: its message comes again.
    async fn delete(&self, queue: Queue, receipts: Vec<String>) -> Result<()>;

    /// Hides received messages for `visibility` from now. A receipt that is no longer good is passed over.
    async fn extend(&self, queue: Queue, receipts: Vec<String>, visibility: Duration) -> Result<()>;

    /// Makes received messages visible again after `delay`, and takes this receive out of their count: giving back
    /// is no attempt. (On SQS the count stays, and the row of the shard keeps the true one.)
    async fn give_back(&self, queue: Queue, receipts: Vec<String>, delay: Duration) -> Result<()>;

    /// About how many messages wait or are in flight.
    async fn depth(&self, queue: Queue) -> Result<u64>;
}
