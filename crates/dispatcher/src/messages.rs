//! Shard messages: to the provider's shard queue, or to its delayed queue when the send window is still to come.

use backend::queues::DELAY_MAX;
use backend::rows::project::QUOTA_WINDOW;
use backend::{Outgoing, Queue};
use futures::future::try_join_all;
use model::plan::ShardSpec;
use model::queued::ShardMessage;
use model::{Platform, Timestamp};

use crate::Dispatcher;
use crate::error::Result;
use crate::known::Known;

/// The message of a burst shard whose window starts at `from` (zero: no window).
pub(crate) fn burst(known: &Known, shard: &ShardSpec, from: Timestamp, now: Timestamp) -> (Queue, Outgoing) {
    let window_until = if from == Timestamp(0) { from } else { from + QUOTA_WINDOW };
    let message = ShardMessage { window_from: from, window_until, ..plain(known, shard) };
    let queue = if from > now { Queue::Delayed(shard.platform) } else { Queue::Shards(shard.platform) };
    (queue, outgoing(&message, from, now))
}

/// The message of a late retry that may not start before `due`.
pub(crate) fn late(
    known: &Known,
    shard: u32,
    attempt: u8,
    due: Timestamp,
    now: Timestamp,
) -> (Queue, Outgoing) {
    let shard = &known.plan.shards()[shard as usize];
    let message = ShardMessage { window_from: due, attempt, ..plain(known, shard) };
    (Queue::Delayed(shard.platform), outgoing(&message, due, now))
}

fn plain(known: &Known, shard: &ShardSpec) -> ShardMessage {
    ShardMessage {
        launch: known.id(),
        shard: shard.number,
        snapshot: known.launch.snapshot,
        platform: shard.platform,
        group: shard.group,
        start: shard.start,
        count: shard.count,
        not_after: known.launch.not_after,
        window_from: Timestamp(0),
        window_until: Timestamp(0),
        attempt: 0,
    }
}

fn outgoing(message: &ShardMessage, from: Timestamp, now: Timestamp) -> Outgoing {
    let body = serde_json::to_string(message).expect("a struct of numbers and texts always serializes");
    Outgoing { body, delay: from.since(now).min(DELAY_MAX), fifo: None }
}

impl Dispatcher {
    /// Sends messages, all queues at once so that no provider waits for the other.
    pub(crate) async fn send(&self, messages: impl IntoIterator<Item = (Queue, Outgoing)>) -> Result<()> {
        let mut by_queue: Vec<(Queue, Vec<Outgoing>)> = Platform::ALL
            .iter()
            .flat_map(|&platform| [Queue::Shards(platform), Queue::Delayed(platform)])
            .map(|queue| (queue, Vec::new()))
            .collect();
        for (queue, message) in messages {
            if let Some((_, list)) = by_queue.iter_mut().find(|(known, _)| *known == queue) {
                list.push(message);
            }
        }
        let filled = by_queue.into_iter().filter(|(_, list)| !list.is_empty());
        try_join_all(filled.map(|(queue, list)| self.backend.queues.send(queue, list))).await?;
        Ok(())
    }
}
