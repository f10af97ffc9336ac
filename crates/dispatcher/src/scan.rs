//! Reconciling the burst: what the plan has and the records lack is enqueued again or closed; when nothing is lacking the
//! launch is over.

use backend::Queue;
use backend::rows::launch;
use backend::rows::shard::{self, ShardName, Standing, StoredShard};
use backend::store::Expect;
use model::launch::Finish;
use model::{Platform, ShardSpec, Timestamp};
use report::Positions;
use tracing::info;

use crate::close::Closing;
use crate::decide::{Moment, Patience, Phase, Step, Waiting, decide};
use crate::error::Result;
use crate::known::Known;
use crate::watch::{Stage, Tracked};
use crate::{Config, Dispatcher, messages};

/// What one reading of the rows asks for.
#[derive(Default)]
struct Found {
    enqueue: Vec<u32>,
    close: Vec<Closing>,
}

impl Dispatcher {
    /// Reads the rows of every slice that has shards without record, and does what follows.
    pub(crate) async fn scan(&self, launch: &mut Tracked, phase: Phase, is_aborted: bool) -> Result<()> {
        if phase == Phase::Open {
            self.windows(&launch.known).await?;
        }
        let moment = self.moment(&launch.known, phase).await?;
        let mut found = Found::default();
        for slice in 0..launch.known.plan.slices() {
            self.scan_slice(launch, slice, &moment, &mut found).await?;
        }
        self.enqueue_again(launch, &found.enqueue).await?;
        let closed = self.close(&launch.known, &found.close).await?;
        // What a lost worker had recorded of a shard that is closed now may be worth a late retry: such a shard is read again.
        let has_late = !is_aborted && launch.known.launch.policy.late_retries_max > 0;
        let mut is_any = false;
        for (closing, _) in found.close.iter().zip(closed).filter(|(_, is_closed)| *is_closed) {
            is_any = true;
            if !has_late {
                launch.waiting[closing.name.shard as usize] = None;
            }
        }
        if is_any && has_late {
            return Box::pin(self.scan(launch, phase, is_aborted)).await;
        }
        if launch.waiting.iter().all(Option::is_none) {
            self.finish(launch, is_aborted).await?;
        }
        Ok(())
    }

    pub(crate) async fn moment(&self, known: &Known, phase: Phase) -> Result<Moment> {
        let mut patience = [Patience::Endless; 2];
        if phase == Phase::Open {
            for platform in Platform::ALL {
                patience[platform.index()] = self.patience(platform).await?;
            }
        }
        let attempts_max = self.config.attempts_max;
        let on_unknown = known.launch.policy.on_unknown;
        Ok(Moment { now: self.now(), phase, attempts_max, on_unknown, patience })
    }

    /// A message that no queue holds is lost; one that is not seen may still be among those that wait.
    async fn patience(&self, platform: Platform) -> Result<Patience> {
        let queues = &self.backend.queues;
        let depths = (queues.depth(Queue::Shards(platform)), queues.depth(Queue::Delayed(platform)));
        let (shards, delayed) = futures::try_join!(depths.0, depths.1)?;
        let Config { patience, patience_queued, .. } = self.config;
        let is_empty = shards + delayed == 0;
        Ok(if is_empty { Patience::Lost(patience) } else { Patience::Queued(patience_queued) })
    }

    async fn scan_slice(
        &self,
        launch: &mut Tracked,
        slice: u16,
        moment: &Moment,
        found: &mut Found,
    ) -> Result<()> {
        let known = std::sync::Arc::clone(&launch.known);
        if known.plan.slice(slice).all(|shard| launch.waiting[shard.number as usize].is_none()) {
            return Ok(());
        }
        let rows = shard::of_slice(&*self.backend.store, known.id(), slice, false).await?;
        let mut rows = rows.into_iter().peekable();
        for spec in known.plan.slice(slice) {
            while rows.next_if(|row| row.shard < spec.number).is_some() {}
            let row = rows.next_if(|row| row.shard == spec.number);
            let Some(waiting) = launch.waiting[spec.number as usize] else { continue };
            let standing =
                Standing::of(row.as_ref().map(|row| &row.row), moment.now, self.config.clock_error);
            let enqueued_at = enqueued_at(launch, spec, waiting, moment.now);
            let waiting = Waiting { enqueued_at, ..waiting };
            match decide(moment, spec.platform, standing, waiting) {
                Step::Done => self.recorded(launch, spec, row)?,
                Step::Wait => {}
                Step::Enqueue => found.enqueue.push(spec.number),
                Step::Close(outcome) => {
                    let name = ShardName { launch: known.id(), slice, shard: spec.number, attempt: 0 };
                    let (devices, positions) = (spec.count, Positions::all(spec.count));
                    found.close.push(Closing { name, row, positions, devices, outcome });
                }
            }
        }
        Ok(())
    }

    /// Remembers that a shard is recorded, and what of it a late retry could still change.
    fn recorded(&self, launch: &mut Tracked, spec: &ShardSpec, row: Option<StoredShard>) -> Result<()> {
        launch.waiting[spec.number as usize] = None;
        if launch.known.launch.policy.late_retries_max == 0 {
            return Ok(());
        }
        if let Some(record) = row.map(|row| row.row.read_record()).transpose()?.flatten() {
            launch.late.take_burst(&record);
        }
        Ok(())
    }

    async fn enqueue_again(&self, launch: &mut Tracked, shards: &[u32]) -> Result<()> {
        if shards.is_empty() {
            return Ok(());
        }
        info!(launch = %launch.id(), shards = shards.len(), "shards without record or message are enqueued again");
        let known = std::sync::Arc::clone(&launch.known);
        let windows = self.windows(&known).await?;
        let now = self.now();
        let message = |&shard: &u32| {
            let spec = &known.plan.shards()[shard as usize];
            messages::burst(&known, spec, windows[shard as usize], now)
        };
        self.send(shards.iter().map(message)).await?;
        for &shard in shards {
            let waiting = &mut launch.waiting[shard as usize];
            let times = waiting.map_or(0, |waiting| waiting.times).saturating_add(1);
            *waiting = Some(Waiting { enqueued_at: now, times });
        }
        Ok(())
    }

    /// Declares the burst over. Of several dispatchers one does; the others read it.
    pub(crate) async fn finish(&self, launch: &mut Tracked, is_aborted: bool) -> Result<()> {
        let id = launch.id();
        let store = &*self.backend.store;
        if let Some(finish) = launch::finish(store, id).await? {
            return self.begin_late(launch, finish.body, false, is_aborted).await;
        }
        let at = self.now();
        let has_late = !is_aborted && launch.late.schedule(&launch.known, at, &self.config);
        let finish = Finish { at, late_over_at: (!has_late).then_some(at) };
        let mut writes = vec![launch::put_finish(id, &finish, Expect::Absent)];
        if !has_late {
            writes.push(launch::close(id));
        }
        let detail = serde_json::json!({ "shards": launch.known.launch.shards, "late": has_late });
        if self.audited(id, "launch.finished", detail, writes).await? {
            info!(launch = %id, late = has_late, "every shard is recorded");
            return self.begin_late(launch, finish, true, is_aborted).await;
        }
        Ok(())
    }

    async fn begin_late(
        &self,
        launch: &mut Tracked,
        finish: Finish,
        is_ours: bool,
        is_aborted: bool,
    ) -> Result<()> {
        if finish.late_over_at.is_some() {
            self.backend.store.write(vec![launch::close(launch.id())]).await?;
            launch.stage = Stage::Over;
            return Ok(());
        }
        launch.stage = Stage::Late;
        if !is_aborted {
            launch.late.schedule(&launch.known, finish.at, &self.config);
        }
        if is_ours { self.enqueue_late(launch).await } else { Ok(()) }
    }
}

/// When a shard's message could first be received.
fn enqueued_at(launch: &Tracked, spec: &ShardSpec, waiting: Waiting, now: Timestamp) -> Timestamp {
    let slice = launch.known.plan.slice_of(spec.number);
    let planned_at = launch.planned_at[usize::from(slice)].unwrap_or(now);
    let windows = launch.known.windows.get();
    let window = windows.map_or(Timestamp(0), |windows| windows[spec.number as usize]);
    planned_at.max(window).max(waiting.enqueued_at)
}
