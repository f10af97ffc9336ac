//! From what the engine gives back to what is recorded, counted and passed on.

use std::sync::Arc;
use std::time::Duration;

use backend::rows::shard::ShardRow;
use device_map::Position;
use model::{Monotonic, Outcome, OutcomeRuns};
use push::{NO_ANSWER, ShardDone, ShardSoFar, Side, WhyOpen};
use report::{Latencies, Part, ShardRecord, Stage};
use tracing::error;

use crate::Worker;
use crate::error::Error;
use crate::held::{CountedBefore, Held};
use crate::judge::{self, OPEN, Permit};
use crate::launches::{Active, lock};
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
        let latencies = latencies(devices(&done));
        self.count_done(&held, &done, &latencies);
        self.pass_on(&held, &done).await;
        let back_after = (!done.open.is_empty()).then(|| self.back_after(&held, &done));
        let is_silent = back_after.is_some() && done.is_untouched();
        let record = if is_silent { None } else { self.record_of(&held, &done, latencies) };
        if record.is_some() {
            let suppressed = std::iter::repeat_n(judge::SUPPRESSED, held.suppressed.len());
            self.count(&held, suppressed, &Latencies::default());
        }
        Some(Finished { held, record, back_after })
    }

    fn record_of(&self, held: &Held<S>, done: &ShardDone, latencies: Latencies) -> Option<ShardRecord> {
        let active = &held.active;
        let sent = done.outcomes.iter().copied();
        let known = held.known.as_ref();
        let mut outcomes = judge::part_outcomes(known, held.before, &held.all, &held.sent, sent);
        judge::suppress(&mut outcomes, &held.all, &held.suppressed, held.before);
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

    /// Counts what is known of a shard that straggles, and lets others have its room.
    pub(crate) fn count_so_far(&self, so_far: ShardSoFar) {
        let Some(held) = self.table.get(so_far.id) else { return };
        if let Ok(permit) = Arc::clone(&self.stragglers).try_acquire_owned() {
            *lock(&held.permit) = permit;
        }
        let known = so_far.outcomes.iter().zip(&so_far.answered_us);
        let known: Vec<_> = known.filter_map(|(outcome, us)| Some(((*outcome)?, *us))).collect();
        self.count(&held, known.iter().map(|(outcome, _)| *outcome), &latencies(known.iter().copied()));
        note_times(&held, so_far.requests, so_far.first_write, so_far.last_answer);
        let is_counted = so_far.outcomes.iter().map(Option::is_some).collect();
        *lock(&held.counted) = Some(CountedBefore { requests: so_far.requests, is_counted });
    }

    /// Counts a shard, without what was counted before it was done.
    fn count_done(&self, held: &Held<S>, done: &ShardDone, all: &Latencies) {
        let before = lock(&held.counted).take();
        let requests = done.requests - before.as_ref().map_or(0, |before| before.requests);
        match before {
            None => self.count(held, done.outcomes.iter().copied(), all),
            Some(before) => {
                let pairs = devices(done).zip(before.is_counted);
                let news: Vec<_> =
                    pairs.filter(|(_, is_counted)| !is_counted).map(|(news, _)| news).collect();
                self.count(held, news.iter().map(|(outcome, _)| *outcome), &latencies(news.iter().copied()));
            }
        }
        note_times(held, requests, done.first_write, done.last_answer);
        if held.is_burst() {
            let active = &held.active;
            let mut counted = active.counted();
            done.first_write.into_iter().for_each(|at| counted.reach(Stage::FirstByte, active.us(at)));
            done.last_answer.into_iter().for_each(|at| counted.reach(Stage::LastAnswer, active.us(at)));
        }
    }

    fn count(&self, held: &Held<S>, outcomes: impl Iterator<Item = Outcome>, latencies: &Latencies) {
        let active = &held.active;
        let mut counted = active.counted();
        counted.changed_at = self.monotonic();
        counted.is_dirty = true;
        if held.is_burst() {
            let platform = held.platform();
            let market = &active.manifest.groups[held.message.group as usize].market;
            let runs = OutcomeRuns::encode(outcomes.filter(|outcome| *outcome != OPEN));
            counted.progress.add_runs(platform, market, &runs);
            counted.progress.latencies[platform.index()].merge(latencies);
        }
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

/// Requests since it was last asked, and the first and the last moment of all.
fn note_times<S: Side>(
    held: &Held<S>,
    requests: u32,
    first_write: Option<Monotonic>,
    last_answer: Option<Monotonic>,
) {
    if held.is_burst() {
        let active = &held.active;
        let us = |at: Option<Monotonic>| at.map(|at| active.us(at));
        let progress = &mut active.counted().progress;
        progress.requests += u64::from(requests);
        progress.first_write_us = [progress.first_write_us, us(first_write)].into_iter().flatten().min();
        progress.last_answer_us = progress.last_answer_us.max(us(last_answer));
    }
}

/// Outcomes and when the answers came.
fn devices(done: &ShardDone) -> impl Iterator<Item = (Outcome, u32)> + '_ {
    done.outcomes.iter().copied().zip(done.answered_us.iter().copied())
}

/// Latencies of the accepted answers.
fn latencies(devices: impl Iterator<Item = (Outcome, u32)>) -> Latencies {
    let mut latencies = Latencies::default();
    let accepted =
        devices.filter(|(outcome, us)| *us != NO_ANSWER && outcome.with_resent(false) == Outcome::ACCEPTED);
    latencies.record_all(accepted.map(|(_, us)| u64::from(us)));
    latencies
}
