//! Leases: a claim is good for ten seconds and renewed after three, together with its message's visibility. What cannot be
//! renewed is not written to any more: the engine stops a second before the lease ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use backend::Queue;
use backend::queues::LEASE;
use backend::rows::shard::{self, ShardRow};
use backend::store::{Expect, Written};
use push::Side;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::Worker;
use crate::held::{Held, Row};
use crate::launches::lock;

impl<S: Side> Worker<S> {
    /// Renews what is old enough until `end`.
    pub(crate) async fn keep_leases(&self, end: &CancellationToken) {
        let mut was_failing = false;
        while self.rest(self.config.renewal_every, end).await {
            let result = self.renew().await;
            if let Err(failure) = &result
                && !was_failing
            {
                warn!(error = failure as &dyn std::error::Error, "claims cannot be renewed");
            }
            was_failing = result.is_err();
        }
    }

    async fn renew(&self) -> backend::Result<()> {
        let (now, monotonic) = (self.now(), self.monotonic());
        let is_due =
            |held: &Arc<Held<S>>| monotonic.since(lock(&held.row).renewed_at) >= self.config.renewal_after;
        let due: Vec<Arc<Held<S>>> = self.table.all().into_iter().filter(is_due).collect();
        if due.is_empty() {
            return Ok(());
        }
        let renewed: Vec<(ShardRow, u64)> = due.iter().map(|held| renewed(held, now + LEASE)).collect();
        let writes = due.iter().zip(&renewed);
        let writes =
            writes.map(|(held, (row, version))| shard::put(&held.name, row, Expect::Version(*version)));
        let written = self.backend.store.write(writes.collect()).await?;
        let mut by_queue: Vec<(Queue, Vec<String>)> = Vec::new();
        for ((held, (row, _)), written) in due.iter().zip(renewed).zip(written) {
            let version = match written {
                Written::Done(version) => version,
                // Recorded meanwhile, lost, or renewed by a call whose answer was lost: only the last is still ours.
                Written::Conflict(found) => {
                    self.take_over_version(held, found.as_ref());
                    continue;
                }
            };
            *lock(&held.row) = Row { row, version, renewed_at: monotonic };
            held.lease_until.store((monotonic + LEASE).0, Ordering::Relaxed);
            match by_queue.iter_mut().find(|(queue, _)| *queue == held.queue) {
                Some((_, receipts)) => receipts.push(held.receipt.clone()),
                None => by_queue.push((held.queue, vec![held.receipt.clone()])),
            }
        }
        for (queue, receipts) in by_queue {
            self.backend.queues.extend(queue, receipts, LEASE).await?;
        }
        Ok(())
    }

    /// A row that is this claim's but of another version than was thought: the next renewal stands on it. Evidence of an
    /// older epoch is kept too.
    fn take_over_version(&self, held: &Held<S>, found: Option<&backend::Row>) {
        let Some(Ok(found)) = found.map(shard::stored) else { return };
        if held.is_claim_of(&found.row, self.owner) && !found.row.is_recorded() {
            let mut known = lock(&held.row);
            (known.row, known.version) = (found.row, found.version);
        }
    }
}

/// The row with a later end of its lease, and the version that it must have.
fn renewed<S: Side>(held: &Held<S>, lease_until: model::Timestamp) -> (ShardRow, u64) {
    let known = lock(&held.row);
    let mut row = known.row.clone();
    row.claim.lease_until = lease_until;
    (row, known.version)
}
