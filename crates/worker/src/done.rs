//! From what the engine gives back to what is recorded, counted and passed on.

use std::sync::Arc;
use std::time::Duration;

use backend::rows::shard::ShardRow;
use device_map::Position;
use model::{Monotonic, Outcome, OutcomeRuns};
use push::{NO_ANSWER, ShardDone, Side, WhyOpen};
use report::{Latencies, Part, ShardRecord, Stage};
use tracing::error;

use crate::Worker;
use crate::error::Error;
use crate::held::Held;
use crate::judge::{self, OPEN, Permit};
use crate::launches::Active;
use crate::prune::Dead;

/// A shard that left the engine, on its way into the store.
pub(crate) struct Finished<S> {
    pub(crate) held: Arc<Held<S>>,
    /// What this claim knows; none when nothing was written.
    pub(crate) record: Option<ShardRecord>,
    /// Devices are left: the shard is given back, to be received again after this.
    pub(crate) back_after: Option<Duration>,
}

impl<S: Side> Finished<S> {
    /// The row to put in place of `row`, which is this claim's.
    pub(crate) fn row(&self, mut row: ShardRow, owner: u128) -> backend::Result<ShardRow> {
        if self.back_after.is_some() {
            row.claim = judge::given_back(self.held.before, owner);
            row.is_open = row.record.is_some();
        }
        if let Some(record) = &self.record {
            row.take(record)?;
        }
        Ok(row)
    }
}

impl<S: Side> Worker<S> {
    /// Takes a shard from the engine: counts it, and sees what else came to light.
    pub(crate) async fn finish(&self, mut done: ShardDone) -> Option<Finished<S>> {
        let Some(held) = self.table.get(done.id) else {
            error!(id = done.id, "the engine gave back a shard that nobody holds");
            return None;
        };
        done.open.iter().for_each(|&index| done.outcomes[index as usize] = OPEN);
        let latencies = latencies(&done);
        self.count(&held, &done, &latencies);
        self.pass_on(&held, &done).await;
        let back_after = (!done.open.is_empty()).then(|| self.back_after(&held, &done));
        let is_silent = back_after.is_some() && done.is_untouched();
        let record = if is_silent { None } else { self.record_of(&held, &done, latencies) };
        Some(Finished { held, record, back_after })
    }

    fn record_of(&self, held: &Held<S>, done: &ShardDone, latencies: Latencies) -> Option<ShardRecord> {
        let active = &held.active;
        let sent = done.outcomes.iter().copied();
        let known = held.known.as_ref();
        let outcomes = judge::part_outcomes(known, held.before, &held.all, &held.sent, sent);
        let us = |at: Option<Monotonic>| at.map(|at| active.us(at));
        let part = Part {
            worker: self.config.name.clone(),
            positions: held.all.clone(),
            outcomes: OutcomeRuns::encode(outcomes),
            requests: u64::from(done.requests),
            repeated: Some(u64::from(done.not_processed)),
            latencies,
            first_write_us: us(done.first_write),
            last_answer_us: us(done.last_answer),
            clock_error_us: self.machine.clock_error().as_micros() as u64,
            retry_after_s: done.retry_after.map_or(0, |wait| wait.as_secs()),
        };
        let (launch, shard) = (active.id(), held.name.shard);
        let devices = held.message.count;
        let record = ShardRecord::new(launch, shard, held.name.attempt, devices, held.epoch(), part);
        let record = record.map_err(|source| Error::Record { launch, shard, source });
        record.inspect_err(|failure| error!(error = failure as &dyn std::error::Error, "no record")).ok()
    }

    fn count(&self, held: &Held<S>, done: &ShardDone, latencies: &Latencies) {
        let active = &held.active;
        let mut counted = active.counted();
        counted.changed_at = self.monotonic();
        counted.is_dirty = true;
        if !held.is_burst() {
            return;
        }
        let us = |at: Option<Monotonic>| at.map(|at| active.us(at));
        let (first_write_us, last_answer_us) = (us(done.first_write), us(done.last_answer));
        first_write_us.into_iter().for_each(|us| counted.reach(Stage::FirstByte, us));
        last_answer_us.into_iter().for_each(|us| counted.reach(Stage::LastAnswer, us));
        let platform = held.platform();
        let market = &active.manifest.groups[held.message.group as usize].market;
        let runs = OutcomeRuns::encode(done.outcomes.iter().copied().filter(|outcome| *outcome != OPEN));
        let progress = &mut counted.progress;
        progress.add_runs(platform, market, &runs);
        progress.latencies[platform.index()].merge(latencies);
        progress.requests += u64::from(done.requests);
        progress.first_write_us = [progress.first_write_us, first_write_us].into_iter().flatten().min();
        progress.last_answer_us = progress.last_answer_us.max(last_answer_us);
    }

    /// Dead keys, a pause of the project, a fault that stops the launch.
    async fn pass_on(&self, held: &Held<S>, done: &ShardDone) {
        let active: &Active<S> = &held.active;
        if !done.dead.is_empty() {
            let positions: Vec<u32> = held.sent.iter().collect();
            let dead = done.dead.iter().filter_map(|dead| {
                let device = held.message.start + positions.get(dead.index as usize)?;
                let position = Position { group: held.message.group, device };
                Some(Dead { position, since: dead.since.unwrap_or(active.launch.pressed_at) })
            });
            active.add_dead(dead);
        }
        if let Some(pause) = done.quota_pause {
            let app = &active.manifest.groups[held.message.group as usize].app;
            self.pause_project(held.platform(), app, pause).await;
        }
        if let Some(stop) = done.stop {
            self.stop_launch(active, stop).await;
        }
    }

    /// When a shard that is given back should be received again.
    fn back_after(&self, held: &Held<S>, done: &ShardDone) -> Duration {
        let read = held.active.lane(&held.message).map(|lane| lane.read(self.monotonic()).permit);
        let now = self.now();
        match (done.why_open, read) {
            (Some(WhyOpen::Shutdown), _) => Duration::ZERO,
            (_, Some(Permit::PausedUntil(until))) => until.since(now),
            (Some(WhyOpen::Quota), _) => done.quota_pause.unwrap_or(self.config.pause),
            (_, Some(Permit::Paused)) => self.config.pause,
            _ => self.config.retry_every,
        }
    }
}

/// Latencies of the accepted answers.
fn latencies(done: &ShardDone) -> Latencies {
    let mut latencies = Latencies::default();
    for (outcome, &us) in done.outcomes.iter().zip(&done.answered_us) {
        if us != NO_ANSWER && outcome.with_resent(false) == Outcome::ACCEPTED {
            latencies.record(u64::from(us));
        }
    }
    latencies
}
