//! Open launches, looked at again and again: triggers that a crash left, progress, and what follows from both.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use backend::rows::launch::{self, Slice};
use backend::rows::{Versioned, audit, fleet};
use backend::store::{Expect, Transacted};
use backend::{Fifo, Outgoing, Queue, Write};
use model::launch::Stop;
use model::queued::Trigger;
use model::{LaunchId, Timestamp};
use report::Progress;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::decide::{self, Course, Phase, Waiting};
use crate::error::Result;
use crate::known::Known;
use crate::late::Late;
use crate::{Dispatcher, SERVICE};

/// What a dispatcher remembers of an open launch. All of it can be read again.
pub(crate) struct Tracked {
    pub(crate) known: Arc<Known>,
    /// By slice, when it was planned.
    pub(crate) planned_at: Vec<Option<Timestamp>>,
    pub(crate) swept_at: Timestamp,
    pub(crate) course: Course,
    /// By shard, what it is waiting for; `None` once it is recorded.
    pub(crate) waiting: Vec<Option<Waiting>>,
    /// Recorded shards with devices for a late retry.
    pub(crate) late: Late,
    pub(crate) stage: Stage,
    failing: Failing,
}

/// What failed is tried again soon; it is logged when it begins to fail.
#[derive(Debug, Default)]
struct Failing(bool);

impl Failing {
    fn note(&mut self, what: &'static str, result: &Result<()>) {
        if let Err(failure) = result
            && !self.0
        {
            warn!(error = failure as &dyn std::error::Error, "{what}");
        }
        self.0 = result.is_err();
    }
}

/// How far a launch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Shards of the burst are without record.
    Burst,
    /// Late retries may still go.
    Late,
    /// Nothing more will happen.
    Over,
}

impl Tracked {
    fn new(known: Arc<Known>) -> Self {
        let (slices, shards) = (usize::from(known.plan.slices()), known.plan.shards().len());
        Self {
            known,
            planned_at: vec![None; slices],
            swept_at: Timestamp(0),
            course: Course::default(),
            waiting: vec![Some(Waiting::default()); shards],
            late: Late::default(),
            stage: Stage::Burst,
            failing: Failing::default(),
        }
    }

    pub(crate) fn id(&self) -> LaunchId {
        self.known.id()
    }

    fn is_planned(&self) -> bool {
        self.planned_at.iter().all(Option::is_some)
    }
}

impl Dispatcher {
    /// Watches every open launch until `shutdown`.
    pub(crate) async fn watch(&self, shutdown: &CancellationToken) {
        let mut tracked: BTreeMap<LaunchId, Tracked> = BTreeMap::new();
        let (mut broken, mut failing) = (HashSet::new(), Failing::default());
        let mut read_at = Timestamp(0);
        while !shutdown.is_cancelled() {
            let now = self.now();
            if now.since(read_at) >= self.config.sweep_every || read_at == Timestamp(0) {
                read_at = now;
                let result = self.read_open(&mut tracked, &mut broken).await;
                failing.note("open launches cannot be read", &result);
            }
            for launch in tracked.values_mut() {
                let result = self.look(launch).await;
                launch.failing.note("a launch cannot be looked after", &result);
            }
            tracked.retain(|_, launch| launch.stage != Stage::Over);
            let pause = if tracked.is_empty() { self.config.sweep_every } else { self.config.look_every };
            tokio::select! {
                _ = self.rest(pause, shutdown) => {}
                () = self.launches.is_new.notified() => read_at = Timestamp(0),
            }
        }
    }

    /// Takes up launches that were opened, drops those that were closed.
    async fn read_open(
        &self,
        tracked: &mut BTreeMap<LaunchId, Tracked>,
        broken: &mut HashSet<LaunchId>,
    ) -> Result<()> {
        let open = launch::open(&*self.backend.store).await?;
        self.launches.keep_only(&open);
        tracked.retain(|id, _| open.contains(id));
        broken.retain(|id| open.contains(id));
        for id in open {
            if tracked.contains_key(&id) || broken.contains(&id) {
                continue;
            }
            match self.known(id).await {
                Ok(Some(known)) => {
                    tracked.insert(id, Tracked::new(known));
                }
                Ok(None) => {}
                Err(failure) if !failure.is_final() => return Err(failure),
                Err(failure) => {
                    error!(launch = %id, error = &failure as &dyn std::error::Error, "launch cannot be planned");
                    broken.insert(id);
                    self.stop(id, &failure.to_string()).await?;
                }
            }
        }
        Ok(())
    }

    async fn look(&self, launch: &mut Tracked) -> Result<()> {
        let store = &*self.backend.store;
        let control = launch::control(store, launch.id()).await?;
        let control = control.map(|control| control.body).unwrap_or_default();
        let now = self.now();
        let phase = Phase::of(&control, launch.known.launch.not_after, now, &self.config);
        if launch.stage == Stage::Late {
            return self.look_late(launch, phase, control.aborted.is_some()).await;
        }
        self.sweep(launch, now).await?;
        self.follow(launch, now).await?;
        let is_ready = launch.is_planned() || matches!(phase, Phase::Aborted | Phase::Expired);
        let devices = launch.known.launch.devices;
        if is_ready && decide::is_scan_due(&launch.course, devices, phase, now) {
            launch.course.scanned_at = now;
            self.scan(launch, phase, control.aborted.is_some()).await?;
        }
        Ok(())
    }

    /// Sends the triggers that nobody sent, and plans what its trigger did not get planned.
    async fn sweep(&self, launch: &mut Tracked, now: Timestamp) -> Result<()> {
        if launch.is_planned() || now.since(launch.swept_at) < self.config.sweep_every {
            return Ok(());
        }
        launch.swept_at = now;
        let slices = launch::slices(&*self.backend.store, launch.id()).await?;
        let pressed_at = launch.known.launch.pressed_at;
        let mut writes = Vec::new();
        let mut triggers = Vec::new();
        for (number, slice) in (0..).zip(&slices) {
            let trigger = Trigger { launch: launch.id(), slice: number };
            launch.planned_at[usize::from(number)] = slice.body.planned_at;
            if slice.body.planned_at.is_some() {
                continue;
            }
            if now.since(pressed_at) >= self.config.trigger_patience * 2 {
                self.plan_slice(trigger, self.now()).await?;
            } else if self.is_trigger_due(slice, pressed_at, now) {
                triggers.push(outgoing(trigger));
                let triggered = Slice { triggered_at: Some(now), ..slice.body };
                writes.push(launch::put_slice(&trigger, &triggered, Expect::Version(slice.version)));
            }
        }
        if !triggers.is_empty() {
            self.backend.queues.send(Queue::Triggers, triggers).await?;
            self.backend.store.write(writes).await?;
        }
        Ok(())
    }

    fn is_trigger_due(&self, slice: &Versioned<Slice>, pressed_at: Timestamp, now: Timestamp) -> bool {
        match slice.body.triggered_at {
            None => now.since(pressed_at) >= self.config.sweep_every,
            Some(at) => now.since(at) >= self.config.trigger_patience,
        }
    }

    /// Reads what the workers say of a launch.
    async fn follow(&self, launch: &mut Tracked, now: Timestamp) -> Result<()> {
        let rows = fleet::progress(&*self.backend.store, launch.id()).await?;
        let (mut devices, mut shards_in_flight) = (0, 0);
        for progress in rows.iter().filter_map(|row| Progress::decode(row).ok()) {
            devices += progress.by_platform.iter().map(report::Tally::devices).sum::<u64>();
            shards_in_flight += u64::from(progress.shards_in_flight);
        }
        let course = &mut launch.course;
        if (devices, shards_in_flight) != (course.devices, course.shards_in_flight) {
            course.changed_at = now;
        }
        (course.devices, course.shards_in_flight) = (devices, shards_in_flight);
        Ok(())
    }

    /// Aborts a launch that cannot go on.
    pub(crate) async fn stop(&self, id: LaunchId, why: &str) -> Result<()> {
        let stop = Stop { at: self.now(), by: SERVICE.into(), why: why.into() };
        launch::abort(&*self.backend.store, id, stop).await?;
        Ok(())
    }

    /// Does `writes` together with their audit entry; false when one of their conditions does not hold.
    pub(crate) async fn audited(
        &self,
        id: LaunchId,
        action: &str,
        detail: serde_json::Value,
        writes: Vec<Write>,
    ) -> Result<bool> {
        let store = &*self.backend.store;
        loop {
            let event = audit::Event {
                at: self.now(),
                actor: SERVICE.into(),
                action: action.into(),
                subject: id.to_string(),
                detail: detail.clone(),
            };
            let entry = audit::append(store, event).await?;
            let all = writes.iter().cloned().chain(entry).collect();
            match store.transact(all).await? {
                Transacted::Done => return Ok(true),
                Transacted::Conflict(places) if places.iter().any(|&at| at < writes.len()) => {
                    return Ok(false);
                }
                Transacted::Conflict(_) => {}
            }
        }
    }
}

/// The message of a trigger: deduplicated by its name and alone in its group, so that slices run in parallel.
pub(crate) fn outgoing(trigger: Trigger) -> Outgoing {
    let body = serde_json::to_string(&trigger).expect("a struct of two numbers always serializes");
    let fifo = Fifo { group: trigger.name(), deduplication: trigger.name() };
    Outgoing { body, delay: std::time::Duration::ZERO, fifo: Some(fifo) }
}
