//! Readiness: the worker holds what somebody is about to launch, and says so twice a second.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backend::Write;
use backend::rows::fleet::{self, Heartbeat};
use backend::rows::launch;
use model::{Digest, LaunchId, Timestamp};
use push::Side;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::Worker;
use crate::error::Result;
use crate::launches::lock;

/// What a worker says of itself, for the process it runs in. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Handle(Arc<Mutex<Option<Heartbeat>>>);

impl Handle {
    /// The last heartbeat that was written; none before the first.
    pub fn heartbeat(&self) -> Option<Heartbeat> {
        lock(&self.0).clone()
    }

    /// Whether the worker can send `snapshot` at once, without the people of this version of the late list.
    pub fn is_ready(&self, snapshot: Digest, late_list: u64, now: Timestamp) -> bool {
        lock(&self.0).as_ref().is_some_and(|heartbeat| heartbeat.is_ready(snapshot, late_list, now))
    }

    fn set(&self, heartbeat: Heartbeat) {
        *lock(&self.0) = Some(heartbeat);
    }
}

/// How long people can see that a worker is gone.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3_600);

impl<S: Side> Worker<S> {
    /// Keeps what is wanted, drops what is not, and writes heartbeats until `shutdown`.
    pub(crate) async fn keep_ready(self: &Arc<Self>, shutdown: &CancellationToken) {
        if let Err(failure) = self.forget_the_dead().await {
            warn!(error = &failure as &dyn std::error::Error, "heartbeats of workers that are gone stay");
        }
        let (mut was_failing, mut unreadable) = (false, BTreeSet::new());
        loop {
            let result = self.look_and_beat(&mut unreadable).await;
            if let Err(failure) = &result
                && !was_failing
            {
                warn!(error = failure as &dyn std::error::Error, "heartbeat failed");
            }
            was_failing = result.is_err();
            if !self.rest(self.config.heartbeat_every, shutdown).await {
                return;
            }
        }
    }

    /// A worker that was killed leaves its last heartbeat behind, and the next has another name.
    async fn forget_the_dead(&self) -> Result<()> {
        let store = &*self.backend.store;
        let now = self.now();
        let heartbeats = fleet::heartbeats(store).await?;
        let dead = heartbeats.iter().filter(|heartbeat| now.since(heartbeat.at) > FORGOTTEN_AFTER);
        let writes: Vec<Write> = dead.map(|heartbeat| fleet::delete_heartbeat(&heartbeat.worker)).collect();
        if !writes.is_empty() {
            store.write(writes).await?;
        }
        Ok(())
    }

    /// A launch that cannot be read is told once: it must not take the worker away from all the others.
    async fn look_and_beat(self: &Arc<Self>, unreadable: &mut BTreeSet<LaunchId>) -> Result<()> {
        let store = &*self.backend.store;
        let (wanted, open) = futures::try_join!(fleet::wanted(store), launch::open(store))?;
        let mut snapshots: BTreeSet<Digest> = wanted.into_iter().map(|wanted| wanted.snapshot).collect();
        unreadable.retain(|id| open.contains(id));
        for &id in &open {
            match self.active(id).await {
                Ok(active) => snapshots.extend(active.map(|active| active.launch.snapshot)),
                Err(failure) if unreadable.insert(id) => {
                    warn!(launch = %id, error = &failure as &dyn std::error::Error, "launch cannot be read");
                }
                Err(_) => {}
            }
        }
        snapshots.extend(self.drop_closed(&open));
        self.snapshots.keep_only(&snapshots);
        snapshots.iter().for_each(|digest| self.want(*digest));
        self.follow_late_list(&snapshots).await;
        let heartbeat = self.heartbeat();
        store.write(vec![fleet::put_heartbeat(&heartbeat)]).await?;
        self.handle.set(heartbeat);
        Ok(())
    }

    /// Forgets launches that are over and of which nothing is held; the snapshots of those that are kept.
    fn drop_closed(self: &Arc<Self>, open: &[LaunchId]) -> Vec<Digest> {
        let mut kept = Vec::new();
        for active in self.launches.all() {
            let is_open = open.contains(&active.id());
            let is_idle = active.in_flight.load(Ordering::Relaxed) == 0;
            let is_quiet = self.monotonic().since(active.counted().changed_at) >= self.config.prune_after;
            if is_idle && (is_quiet || !is_open) {
                self.prune(&active);
            }
            if is_idle && is_quiet && !is_open {
                self.launches.drop(active.id());
            } else {
                kept.push(active.launch.snapshot);
            }
        }
        kept
    }

    fn heartbeat(&self) -> Heartbeat {
        let pool = |pool: &push::Pool<S>| {
            let status = pool.status();
            fleet::Pool {
                platform: status.platform,
                app: status.app,
                connections: status.wanted,
                warm: status.warm,
                last_error: status.last_error.unwrap_or_default(),
            }
        };
        let mut pools: Vec<fleet::Pool> = self.pools.values().map(pool).collect();
        pools.sort_by(|one, two| (one.platform, &one.app).cmp(&(two.platform, &two.app)));
        Heartbeat {
            worker: self.config.name.clone(),
            at: self.now(),
            started_at: self.started_at,
            version: self.config.version.clone(),
            snapshots: self.snapshots.ready(),
            late_list: self.late_list.versions(),
            failed: self.snapshots.failed(),
            pools,
            snapshot_bytes: self.snapshots.resident_bytes(),
            resident_bytes: self.machine.resident_bytes(),
            clock_error_us: self.machine.clock_error().as_micros() as u64,
        }
    }
}
