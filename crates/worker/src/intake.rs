//! Receiving shards: only while there is room, and judged before anything is claimed.

use std::sync::Arc;
use std::time::Duration;

use backend::queues::{CALL_MESSAGES_MAX, DELAY_MAX};
use backend::rows::project::{self, QUOTA_WINDOW};
use backend::rows::shard::{self, ShardName};
use backend::store::{Expect, Written};
use backend::{Delivery, Outgoing, Queue};
use futures::future::join_all;
use model::queued::ShardMessage;
use model::{Platform, Timestamp};
use push::Side;
use report::{Positions, ShardRecord, record};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::Worker;
use crate::error::{Error, Result};
use crate::judge::{self, Entry};
use crate::launches::Active;

/// Room for shards of one provider.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    shards: Arc<Semaphore>,
    /// Shards of one call.
    batch: usize,
}

impl Room {
    /// Room for so many shards, of which `calls` receive at once.
    pub(crate) fn new(shards: usize, calls: usize) -> Self {
        let batch = (shards / (2 * calls)).clamp(1, CALL_MESSAGES_MAX);
        Self { shards: Arc::new(Semaphore::new(shards)), batch }
    }
}

/// A message that may be claimed.
pub(crate) struct Candidate<S> {
    pub(crate) name: ShardName,
    pub(crate) message: ShardMessage,
    pub(crate) receipt: String,
    pub(crate) active: Arc<Active<S>>,
    /// The devices that the attempt is for.
    pub(crate) all: Positions,
    pub(crate) received_at: Timestamp,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// What became of a message that is not claimed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It has done its work, or can do none.
    Delete,
    /// It comes back after this.
    Later(Duration),
    /// It comes back by its visibility: nothing is known of it.
    Leave,
}

/// A judged message.
pub(crate) enum Judged<S> {
    Candidate(Candidate<S>),
    Fate(Fate),
}

/// When a message whose snapshot or pool is missing here is looked at again, by whoever gets it then.
const ELSEWHERE: Duration = Duration::from_millis(250);

impl<S: Side> Worker<S> {
    /// Receives from one queue until `shutdown`, as long as there is room.
    pub(crate) async fn receive(&self, queue: Queue, room: Room, shutdown: &CancellationToken) {
        loop {
            let permits = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                permits = take_room(&room) => permits,
            };
            match self.backend.queues.receive(queue, permits.len(), self.config.receive_wait).await {
                Ok(deliveries) if shutdown.is_cancelled() => {
                    let back = |delivery: Delivery| (delivery.receipt, Fate::Later(Duration::ZERO));
                    return self.meet_fates(queue, deliveries.into_iter().map(back).collect()).await;
                }
                Ok(deliveries) => self.take(queue, deliveries, permits).await,
                Err(failure) => {
                    let queue = queue.name();
                    warn!(queue, error = &failure as &dyn std::error::Error, "shards cannot be received");
                    drop(permits);
                    self.rest(self.config.retry_every, shutdown).await;
                }
            }
        }
    }

    async fn take(&self, queue: Queue, deliveries: Vec<Delivery>, permits: Vec<OwnedSemaphorePermit>) {
        let received_at = self.now();
        let pairs = deliveries.into_iter().zip(permits);
        let judged = pairs.map(|(delivery, permit)| async move {
            let receipt = delivery.receipt.clone();
            match self.judge(delivery, received_at, permit).await {
                Ok(judged) => (receipt, judged),
                Err(failure) => {
                    warn!(error = &failure as &dyn std::error::Error, "shard cannot be judged yet");
                    (receipt, Judged::Fate(Fate::Later(self.config.retry_every)))
                }
            }
        });
        let (mut candidates, mut fates) = (Vec::new(), Vec::new());
        for (receipt, judged) in join_all(judged).await {
            match judged {
                Judged::Candidate(candidate) => candidates.push(candidate),
                Judged::Fate(fate) => fates.push((receipt, fate)),
            }
        }
        fates.extend(self.claim(queue, candidates).await);
        self.meet_fates(queue, fates).await;
    }

    /// Gives back, deletes and leaves messages as decided.
    pub(crate) async fn meet_fates(&self, queue: Queue, fates: Vec<(String, Fate)>) {
        let queues = &self.backend.queues;
        let mut done = Vec::new();
        let mut later: Vec<(Duration, Vec<String>)> = Vec::new();
        for (receipt, fate) in fates {
            match fate {
                Fate::Delete => done.push(receipt),
                Fate::Leave => {}
                Fate::Later(delay) => match later.iter_mut().find(|(same, _)| *same == delay) {
                    Some((_, receipts)) => receipts.push(receipt),
                    None => later.push((delay, vec![receipt])),
                },
            }
        }
        let mut results = Vec::new();
        if !done.is_empty() {
            results.push(queues.delete(queue, done).await);
        }
        for (delay, receipts) in later {
            results.push(queues.give_back(queue, receipts, delay.min(DELAY_MAX)).await);
        }
        for failure in results.into_iter().filter_map(backend::Result::err) {
            let queue = queue.name();
            warn!(
                queue,
                error = &failure as &dyn std::error::Error,
                "messages come again by their visibility"
            );
        }
    }

    async fn judge(
        &self,
        delivery: Delivery,
        received_at: Timestamp,
        permit: OwnedSemaphorePermit,
    ) -> Result<Judged<S>> {
        let Ok(message) = serde_json::from_str::<ShardMessage>(&delivery.body) else {
            error!(bytes = delivery.body.len(), "a message on a shard queue is no shard; dropped");
            return Ok(Judged::Fate(Fate::Delete));
        };
        let Some(active) = self.active(message.launch).await? else {
            error!(launch = %message.launch, "a shard names no launch; dropped");
            return Ok(Judged::Fate(Fate::Delete));
        };
        if !active.has(&message) {
            error!(launch = %message.launch, shard = message.shard, "a shard is not as the launch has it; dropped");
            return Ok(Judged::Fate(Fate::Delete));
        }
        let Some(lane) = active.lane(&message).filter(|_| self.sends(active.launch.purpose)) else {
            return Ok(Judged::Fate(Fate::Later(ELSEWHERE)));
        };
        let read = lane.read(self.monotonic());
        match judge::enter(&message, read.permit, read.has_quota, received_at, self.config.pause) {
            Entry::Drop => Ok(Judged::Fate(Fate::Delete)),
            Entry::Later(delay) => Ok(Judged::Fate(Fate::Later(delay))),
            Entry::Claim | Entry::Repace if !self.is_sendable(&active, &message).await => {
                Ok(Judged::Fate(Fate::Later(ELSEWHERE)))
            }
            entry => {
                let Some(all) = self.positions(&active, &message).await? else {
                    return Ok(Judged::Fate(Fate::Delete));
                };
                if entry == Entry::Repace
                    && let Some(fate) = self.repace(&active, &message, &all).await?
                {
                    return Ok(Judged::Fate(fate));
                }
                let name = active.name(&message, message.attempt);
                let receipt = delivery.receipt;
                let candidate = Candidate { name, message, receipt, active, all, received_at, permit };
                Ok(Judged::Candidate(candidate))
            }
        }
    }

    /// Whether the snapshot is here, and what the late list takes out of it, and the content composes. A launch whose content does not is stopped.
    async fn is_sendable(&self, active: &Active<S>, message: &ShardMessage) -> bool {
        let Some(snapshot) = self.snapshots.get(message.snapshot) else { return false };
        if self.late_list.version(message.snapshot) < active.launch.late_list {
            return false;
        }
        let range = snapshot.range(message.group, message.start, message.count).map(drop);
        let digest = message.snapshot;
        let range = range.map_err(|source| Error::Snapshot { digest, source });
        let composed =
            range.and_then(|()| active.message(message.group, self.now(), self.monotonic()).map(drop));
        let Err(failure) = composed else { return true };
        self.stop_because(active, failure.to_string()).await;
        false
    }

    /// The devices of an attempt: all of the shard in the burst, those whose answer was transient in a late retry. `None`
    /// when there is nothing to retry.
    async fn positions(&self, active: &Active<S>, message: &ShardMessage) -> Result<Option<Positions>> {
        if message.attempt == 0 {
            return Ok(Some(Positions::all(message.count)));
        }
        let names: Vec<ShardName> =
            (0..message.attempt).map(|attempt| active.name(message, attempt)).collect();
        let rows = shard::get(&*self.backend.store, &names).await?;
        let records = rows.into_iter().flatten().filter_map(|row| row.row.read_record().transpose());
        let records: Vec<ShardRecord> = records.collect::<backend::Result<_>>()?;
        let late: Vec<&ShardRecord> = records.iter().skip(1).collect();
        let positions = records.first().map(|burst| record::retryable(burst, &late));
        Ok(positions.filter(|positions| !positions.is_empty()))
    }

    /// Reserves a new place in the quota. `None`: the shard may go now; else the message was replaced by one with its window.
    async fn repace(
        &self,
        active: &Active<S>,
        message: &ShardMessage,
        all: &Positions,
    ) -> Result<Option<Fate>> {
        let app = &active.manifest.groups[message.group as usize].app;
        let from = self.reserve(message.platform, app, u64::from(all.count())).await?;
        let now = self.now();
        if from <= now {
            return Ok(None);
        }
        let paced = ShardMessage { window_from: from, window_until: from + QUOTA_WINDOW, ..message.clone() };
        let body = serde_json::to_string(&paced).expect("a struct of numbers and texts always serializes");
        let outgoing = Outgoing { body, delay: from.since(now).min(DELAY_MAX), fifo: None };
        self.backend.queues.send(Queue::Delayed(message.platform), vec![outgoing]).await?;
        Ok(Some(Fate::Delete))
    }

    async fn reserve(&self, platform: Platform, app: &str, messages: u64) -> Result<Timestamp> {
        let store = &*self.backend.store;
        loop {
            let now = self.now();
            let (mut project, expect) = match project::get(store, platform, app).await? {
                Some(row) => (row.body, Expect::Version(row.version)),
                None => (project::Project::new(platform, app), Expect::Absent),
            };
            let Some(quota) = project.quota(self.config.fcm_quota) else { return Ok(now) };
            let from = project.reserve(Some(quota), messages, now);
            let write = project::put(&project, expect);
            if matches!(store.write(vec![write]).await?.first(), Some(Written::Done(_))) {
                return Ok(from);
            }
        }
    }
}

/// Waits for room for a whole batch, so that calls are few, and takes it shard by shard.
async fn take_room(room: &Room) -> Vec<OwnedSemaphorePermit> {
    // The semaphore is never closed.
    let Ok(mut all) = Arc::clone(&room.shards).acquire_many_owned(room.batch as u32).await else {
        return Vec::new();
    };
    let mut permits: Vec<OwnedSemaphorePermit> = Vec::with_capacity(room.batch);
    while let Some(one) = all.split(1) {
        permits.push(one);
    }
    permits
}
