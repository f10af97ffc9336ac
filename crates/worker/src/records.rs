//! Recording: one record per shard, conditional on its claim, many in one call. What conflicts is merged as evidence;
//! nothing is dropped. Then the message is deleted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use backend::rows::launch;
use backend::rows::shard::{self, ShardRow, StoredShard};
use backend::store::{Expect, Written};
use backend::{Queue, Write};
use push::Side;
use report::Stage;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::done::Finished;
use crate::intake::Fate;
use crate::launches::{Active, lock};
use crate::{News, Worker};

/// A finished shard with the row that was last seen of it.
struct Recording<S> {
    finished: Finished<S>,
    /// `None`: there is no row, which only a foreign hand can have brought about.
    seen: Option<(ShardRow, u64)>,
}

impl<S: Side> Recording<S> {
    fn new(finished: Finished<S>) -> Self {
        let row = lock(&finished.held.row).clone();
        Self { seen: Some((row.row, row.version)), finished }
    }

    /// The row to put, and on which condition; `None` when there is nothing to add to what is there.
    fn next(&self, owner: u128) -> backend::Result<Option<(ShardRow, Expect)>> {
        let Some((row, version)) = &self.seen else {
            let row = lock(&self.finished.held.row).row.clone();
            return Ok(Some((self.finished.row(row, owner)?, Expect::Absent)));
        };
        let expect = Expect::Version(*version);
        if self.finished.held.is_claim_of(row, owner) {
            return Ok(Some((self.finished.row(row.clone(), owner)?, expect)));
        }
        let Some(record) = &self.finished.record else { return Ok(None) };
        let mut evidence = row.clone();
        evidence.take(record)?;
        Ok((evidence != *row).then_some((evidence, expect)))
    }
}

impl<S: Side> Worker<S> {
    /// Records what the engine gives back, until `end` and until nothing is left.
    pub(crate) async fn keep_recording(&self, mut inbox: mpsc::Receiver<News>, end: &CancellationToken) {
        let mut batch = Vec::with_capacity(self.config.records_max);
        loop {
            tokio::select! {
                biased;
                count = inbox.recv_many(&mut batch, self.config.records_max) => if count == 0 { return },
                () = end.cancelled() => return,
            }
            // Shards end one by one: a moment later there are several for one call.
            if batch.len() < self.config.records_max && !end.is_cancelled() {
                self.rest(self.config.record_linger, end).await;
                let room = self.config.records_max - batch.len();
                batch.extend(std::iter::from_fn(|| inbox.try_recv().ok()).take(room));
            }
            let mut recordings = Vec::with_capacity(batch.len());
            for news in batch.drain(..) {
                match news {
                    News::Straggles(so_far) => self.count_so_far(so_far),
                    News::Done(done) => recordings.extend(self.finish(done).await.map(Recording::new)),
                    News::Stopped(shard, stop) => self.stop_launch_of(shard, stop).await,
                    News::Paused(pool, pause) => self.pause_project_of(pool, pause).await,
                }
            }
            self.record(recordings, end).await;
        }
    }

    /// Writes records until each is in the store. Only the end of the process leaves some to the next claimant.
    async fn record(&self, mut pending: Vec<Recording<S>>, end: &CancellationToken) {
        let mut was_failing = false;
        while !pending.is_empty() {
            let (writing, rows) = self.writes(pending).await;
            let writes = writing.iter().zip(&rows);
            let writes = writes.map(|(one, (row, expect))| shard::put(&one.finished.held.name, row, *expect));
            // With the records: a report that has them says what went wrong soon, if not in the same moment.
            let writes = writes.chain(self.troubles(&writing)).collect();
            match self.backend.store.write(writes).await {
                Ok(written) => {
                    pending = self.sort_out(writing, rows, written).await;
                    was_failing = false;
                }
                Err(failure) => {
                    if !was_failing {
                        warn!(error = &failure as &dyn std::error::Error, "records are not written yet");
                    }
                    was_failing = true;
                    writing.iter().for_each(|one| one.finished.held.active.counted().troubles.clear());
                    pending = self.read_again(writing).await;
                    if !self.rest(self.config.retry_every, end).await {
                        return;
                    }
                }
            }
        }
    }

    /// What went wrong on the way since it was last written, by launch.
    fn troubles(&self, writing: &[Recording<S>]) -> Vec<Write> {
        let mut actives: Vec<&Arc<Active<S>>> = writing.iter().map(|one| &one.finished.held.active).collect();
        actives.sort_unstable_by_key(|active| active.id());
        actives.dedup_by_key(|active| active.id());
        let news = |active: &Arc<Active<S>>| {
            let troubles = active.news_of_troubles()?;
            Some(launch::put_troubles(active.id(), &self.config.name, &troubles))
        };
        actives.into_iter().filter_map(news).collect()
    }

    /// The rows to write; what needs none is let go.
    async fn writes(&self, pending: Vec<Recording<S>>) -> (Vec<Recording<S>>, Vec<(ShardRow, Expect)>) {
        let (mut writing, mut rows, mut over) = (Vec::new(), Vec::new(), Vec::new());
        for one in pending {
            match one.next(self.owner) {
                Ok(Some(row)) => {
                    writing.push(one);
                    rows.push(row);
                }
                Ok(None) => over.push((one, false)),
                Err(failure) => {
                    error!(error = &failure as &dyn std::error::Error, "a shard's record cannot be merged");
                    over.push((one, false));
                }
            }
        }
        self.let_go(over).await;
        (writing, rows)
    }

    /// Lets go of what is written; what conflicted is tried again over the row that is there.
    async fn sort_out(
        &self,
        writing: Vec<Recording<S>>,
        rows: Vec<(ShardRow, Expect)>,
        written: Vec<Written>,
    ) -> Vec<Recording<S>> {
        let (mut over, mut again) = (Vec::new(), Vec::new());
        for ((mut one, (row, _)), written) in writing.into_iter().zip(rows).zip(written) {
            match written {
                Written::Done(_) => over.push((one, row.is_recorded())),
                Written::Conflict(None) => {
                    one.seen = None;
                    again.push(one);
                }
                Written::Conflict(Some(found)) => match shard::stored(&found) {
                    Ok(found) => {
                        one.seen = Some((found.row, found.version));
                        again.push(one);
                    }
                    Err(failure) => {
                        error!(error = &failure as &dyn std::error::Error, "a shard's row cannot be read");
                        over.push((one, false));
                    }
                },
            }
        }
        self.let_go(over).await;
        again
    }

    /// After a write of which nobody knows what it did. Writing over what is there is idempotent.
    async fn read_again(&self, mut pending: Vec<Recording<S>>) -> Vec<Recording<S>> {
        let names: Vec<_> = pending.iter().map(|one| one.finished.held.name).collect();
        if let Ok(rows) = shard::get(&*self.backend.store, &names).await {
            for (one, found) in pending.iter_mut().zip(rows) {
                one.seen = found.map(|StoredShard { row, version, .. }| (row, version));
            }
        }
        pending
    }

    /// After the store has it: message, counters, room.
    async fn let_go(&self, over: Vec<(Recording<S>, bool)>) {
        let mut by_queue: Vec<(Queue, Vec<(String, Fate)>)> = Vec::new();
        let mut ended: Vec<Arc<Active<S>>> = Vec::new();
        let now = self.now();
        for (one, is_recorded) in over {
            let Finished { held, back_after, .. } = one.finished;
            let fate = match back_after {
                Some(delay) => Fate::Later(delay),
                None if is_recorded => Fate::Delete,
                // Whoever claimed it later has the message now.
                None => Fate::Leave,
            };
            match by_queue.iter_mut().find(|(queue, _)| *queue == held.queue) {
                Some((_, fates)) => fates.push((held.receipt.clone(), fate)),
                None => by_queue.push((held.queue, vec![(held.receipt.clone(), fate)])),
            }
            let active = &held.active;
            if is_recorded && held.is_burst() {
                let us = active.us_at(now);
                let mut counted = active.counted();
                counted.progress.shards_recorded += 1;
                counted.reach(Stage::Record, us);
            }
            active.count_in_flight(-1);
            if active.in_flight.load(Ordering::Relaxed) == 0 {
                ended.retain(|known| known.id() != active.id());
                ended.push(Arc::clone(active));
            }
            self.table.remove(&held);
        }
        // The dispatcher waits for this news to look whether the launch is over.
        self.publish(&ended).await;
        for (queue, fates) in by_queue {
            self.meet_fates(queue, fates).await;
        }
    }
}
