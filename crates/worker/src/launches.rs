//! The launches a worker knows: what it needs of their rows, their gates, and what it counts of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backend::rows;
use backend::rows::shard::ShardName;
use model::queued::ShardMessage;
use model::{Launch, LaunchId, Manifest, Monotonic, Plan, Platform, Timestamp};
use push::{GroupMessage, LaunchGate, Pool, Side};
use report::{Progress, Stage, Stages, Trouble};

use crate::Worker;
use crate::error::{Error, Result};
use crate::judge::Permit;
use crate::prune::Dead;

/// A launch in this process.
pub(crate) struct Active<S> {
    pub(crate) launch: Launch,
    pub(crate) manifest: Manifest,
    plan: Plan,
    /// The first device of each group within the snapshot.
    pub(crate) group_starts: Vec<u64>,
    /// When Go was pressed, on this machine's clock.
    pub(crate) pressed: Monotonic,
    /// One a project that this worker has a pool for.
    pub(crate) lanes: HashMap<(Platform, String), Lane<S>>,
    /// Shards claimed and not yet recorded.
    pub(crate) in_flight: AtomicU32,
    /// This worker has stopped it for a fault.
    pub(crate) is_stopped: AtomicBool,
    counted: Mutex<Counted>,
    messages: Mutex<HashMap<u32, Cached<S>>>,
    dead: Mutex<Vec<Dead>>,
}

/// A launch's part that goes through one project. A paused project holds back its own part only.
pub(crate) struct Lane<S> {
    pub(crate) gate: LaunchGate<S>,
    pub(crate) pool: Pool<S>,
    /// What had gone wrong in the pool before the launch came here.
    troubles_before: Vec<push::Trouble>,
    permit: Mutex<Read>,
}

/// What the rows said when they were last read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    pub(crate) permit: Permit,
    pub(crate) has_quota: bool,
    /// Good until then.
    pub(crate) until: Monotonic,
}

/// What a launch's counters hold. Cumulative; published as a whole.
pub(crate) struct Counted {
    pub(crate) progress: Progress,
    pub(crate) stages: Stages,
    pub(crate) is_dirty: bool,
    /// When a shard last changed here.
    pub(crate) changed_at: Monotonic,
    /// What was last written of what went wrong on the way.
    pub(crate) troubles: Vec<Trouble>,
}

struct Cached<S> {
    message: GroupMessage<S>,
    /// FCM's time to live counts from the request: the message may be sent until then.
    until: Monotonic,
}

impl<S: Side> Active<S> {
    pub(crate) const fn id(&self) -> LaunchId {
        self.launch.id
    }

    pub(crate) fn name(&self, message: &ShardMessage, attempt: u8) -> ShardName {
        let slice = (message.shard % u32::from(self.launch.slices.max(1))) as u16;
        ShardName { launch: self.launch.id, slice, shard: message.shard, attempt }
    }

    /// Whether a message asks for a shard of the launch as it is planned. Nothing else is sent, whoever put it into the queue.
    pub(crate) fn has(&self, message: &ShardMessage) -> bool {
        message.snapshot == self.launch.snapshot && self.plan.has(message)
    }

    /// The lane of a shard's project; `None` when this worker has no pool for it, or the group is unknown.
    pub(crate) fn lane(&self, message: &ShardMessage) -> Option<&Lane<S>> {
        let group = self.manifest.groups.get(message.group as usize)?;
        self.lanes.get(&(group.platform, group.app.clone()))
    }

    pub(crate) fn counted(&self) -> MutexGuard<'_, Counted> {
        lock(&self.counted)
    }

    /// Microseconds from the press to a moment on the wall clock.
    pub(crate) fn us_at(&self, at: Timestamp) -> u64 {
        at.since(self.launch.pressed_at).as_micros() as u64
    }

    /// Microseconds from the press to a moment on the monotonic clock.
    pub(crate) fn us(&self, at: Monotonic) -> u64 {
        at.since(self.pressed).as_micros() as u64
    }

    /// What went wrong on the way to the providers since the launch came here, if that was not written yet.
    pub(crate) fn news_of_troubles(&self) -> Option<Vec<Trouble>> {
        let troubles: Vec<Trouble> = self
            .lanes
            .iter()
            .flat_map(|((platform, app), lane)| {
                let new = lane.troubles().into_iter();
                new.map(|(what, count)| Trouble { platform: *platform, app: app.clone(), what, count })
            })
            .collect();
        let mut counted = self.counted();
        (counted.troubles != troubles).then(|| {
            counted.troubles.clone_from(&troubles);
            troubles
        })
    }

    pub(crate) fn add_dead(&self, dead: impl IntoIterator<Item = Dead>) {
        lock(&self.dead).extend(dead);
    }

    pub(crate) fn take_dead(&self) -> Vec<Dead> {
        std::mem::take(&mut *lock(&self.dead))
    }

    pub(crate) fn count_in_flight(&self, change: i32) {
        self.in_flight.fetch_add(change as u32, Ordering::Relaxed);
        self.counted().is_dirty = true;
    }

    /// What a group is sent, composed once per group and as long as its time to live holds.
    pub(crate) fn message(&self, group: u32, now: Timestamp, at: Monotonic) -> Result<GroupMessage<S>> {
        let mut messages = lock(&self.messages);
        if let Some(cached) = messages.get(&group).filter(|cached| at < cached.until) {
            return Ok(cached.message.clone());
        }
        let (message, good_for) = self.compose(group, now)?;
        messages.insert(group, Cached { message: message.clone(), until: at + good_for });
        Ok(message)
    }

    /// A message for requests that leave within the returned time, and that margin again while they wait to be written.
    fn compose(&self, group: u32, now: Timestamp) -> Result<(GroupMessage<S>, Duration)> {
        let launch = self.launch.id;
        let group = &self.manifest.groups[group as usize];
        let left = self.launch.not_after.since(now);
        let margin = (left / 10).min(TTL_MARGIN_MAX);
        let context = push::message::Context::of(&self.launch, now + margin);
        let composed =
            push::message::compose(&self.launch.content, &group.locale, &context).map_err(|faults| {
                let fault = faults.into_iter().next().map(|fault| fault.detail).unwrap_or_default();
                Error::Content { launch, locale: group.locale.clone(), fault }
            })?;
        let refused = |source| Error::Push { launch, app: group.app.clone(), source };
        let lane = self.lanes.get(&(group.platform, group.app.clone()));
        let pool = &lane.ok_or_else(|| Error::NoPool { app: group.app.clone() })?.pool;
        let message = match group.platform {
            Platform::Apns => pool.apns_message(launch, &composed.apns),
            Platform::Fcm => {
                let ttl_s = push::message::compose::ttl_s(self.launch.not_after, now + margin);
                pool.fcm_message(&composed.fcm, ttl_s)
            }
        };
        Ok((message.map_err(refused)?, margin / 2))
    }
}

/// How much shorter than the rest of the launch's time FCM's time to live is at most: requests wait to be written.
const TTL_MARGIN_MAX: Duration = Duration::from_secs(30);

impl<S: Side> Lane<S> {
    /// What the rows say at `now`; unknown when they were read too long ago.
    pub(crate) fn read(&self, now: Monotonic) -> Read {
        let read = *lock(&self.permit);
        let is_final = read.permit == Permit::Aborted;
        if is_final || now < read.until { read } else { Read { permit: Permit::Unknown, ..read } }
    }

    /// What went wrong in the pool since the launch came here.
    fn troubles(&self) -> Vec<(String, u64)> {
        let before = |what: &str| {
            let known = self.troubles_before.iter().find(|known| known.what == what);
            known.map_or(0, |known| known.count)
        };
        let all = self.pool.troubles().into_iter();
        let since = all.map(|trouble| (trouble.count - before(&trouble.what), trouble.what));
        since.filter(|(count, _)| *count > 0).map(|(count, what)| (what, count)).collect()
    }

    /// Takes in what the rows say. An abort stays.
    pub(crate) fn set(&self, read: Read) {
        let mut known = lock(&self.permit);
        if known.permit != Permit::Aborted {
            *known = read;
        }
    }
}

/// The launches of a worker by id.
pub(crate) struct Launches<S>(Mutex<HashMap<LaunchId, Arc<Active<S>>>>);

impl<S> Default for Launches<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S: Side> Launches<S> {
    pub(crate) fn find(&self, id: LaunchId) -> Option<Arc<Active<S>>> {
        lock(&self.0).get(&id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Active<S>>> {
        lock(&self.0).values().cloned().collect()
    }

    fn keep(&self, active: Active<S>) -> Arc<Active<S>> {
        Arc::clone(lock(&self.0).entry(active.id()).or_insert_with(|| Arc::new(active)))
    }

    /// Forgets a launch.
    pub(crate) fn drop(&self, id: LaunchId) {
        lock(&self.0).remove(&id);
    }
}

impl<S: Side> Worker<S> {
    /// A launch with its permission read; `None` when there is no such launch or it is none of this worker's.
    pub(crate) async fn active(&self, id: LaunchId) -> Result<Option<Arc<Active<S>>>> {
        if let Some(active) = self.launches.find(id) {
            return Ok(Some(active));
        }
        let Some(launch) = rows::launch::get(&*self.backend.store, id).await? else { return Ok(None) };
        let manifest = rows::audience::manifest(&*self.backend.blobs, launch.snapshot).await?;
        let missing = Error::NoManifest { launch: id, snapshot: launch.snapshot };
        let active = self.activate(launch, manifest.ok_or(missing)?);
        let active = self.launches.keep(active);
        self.read_permissions(std::slice::from_ref(&active)).await?;
        Ok(Some(active))
    }

    fn activate(&self, launch: Launch, manifest: Manifest) -> Active<S> {
        let (now, at) = (self.now(), self.monotonic());
        let gate = || LaunchGate::new(at + launch.not_after.since(now));
        let unread = Read { permit: Permit::Unknown, has_quota: false, until: Monotonic(0) };
        let lane = |(key, pool): (&(Platform, String), &Pool<S>)| {
            let (pool, permit) = (pool.clone(), Mutex::new(unread));
            let lane = Lane { gate: gate(), troubles_before: pool.troubles(), pool, permit };
            (key.clone(), lane)
        };
        let used = |key: &(Platform, String)| {
            manifest.groups.iter().any(|group| (group.platform, &group.app) == (key.0, &key.1))
        };
        let lanes = self.pools.iter().filter(|(key, _)| used(key)).map(lane).collect();
        let counted = Counted {
            progress: Progress::new(launch.id, &self.config.name, now),
            stages: Stages::default(),
            is_dirty: false,
            changed_at: at,
            troubles: Vec::new(),
        };
        Active {
            pressed: at - now.since(launch.pressed_at),
            group_starts: manifest.group_starts(),
            plan: Plan::new(&manifest, &launch.wave, &launch.sizes),
            lanes,
            in_flight: AtomicU32::new(0),
            is_stopped: AtomicBool::new(false),
            counted: Mutex::new(counted),
            messages: Mutex::default(),
            dead: Mutex::default(),
            launch,
            manifest,
        }
    }
}

impl Counted {
    /// Notes that a shard reached a stage.
    pub(crate) fn reach(&mut self, stage: Stage, us: u64) {
        self.stages.reach(stage, us);
    }
}

/// A poisoned lock only says that another thread panicked; what these locks guard stays whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
