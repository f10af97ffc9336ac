//! The launches a dispatcher works on: launch row, manifest and plan, read once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use backend::rows;
use model::device::Platform;
use model::{Launch, LaunchId, Manifest, Plan, Timestamp};
use report::{Stage, Stages};
use tokio::sync::{Notify, OnceCell};

use crate::Dispatcher;
use crate::error::{Error, Result};

/// A launch with its plan.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) launch: Launch,
    pub(crate) manifest: Manifest,
    pub(crate) plan: Plan,
    /// By shard, the start of its send window; zero for none. Reserved when the first slice is planned.
    pub(crate) windows: OnceCell<Vec<Timestamp>>,
    /// When slices were received, planned and enqueued here.
    stages: Mutex<Stages>,
}

impl Known {
    pub(crate) const fn id(&self) -> LaunchId {
        self.launch.id
    }

    /// Notes that a slice has reached `stage` at `now`.
    pub(crate) fn reach(&self, stage: Stage, now: Timestamp) {
        let us = now.since(self.launch.pressed_at).as_micros() as u64;
        self.stages.lock().unwrap_or_else(PoisonError::into_inner).reach(stage, us);
    }

    /// What was noted so far.
    pub(crate) fn stages(&self) -> Stages {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The provider of a shard of the plan.
    pub(crate) fn platform(&self, shard: u32) -> Platform {
        self.plan.shards()[shard as usize].platform
    }
}

/// Launches by id, and a bell for each new one.
#[derive(Debug, Default)]
pub(crate) struct Launches {
    known: Mutex<HashMap<LaunchId, Arc<Known>>>,
    /// Fifty triggers come at once, and one of them loads the launch.
    loading: tokio::sync::Mutex<()>,
    pub(crate) is_new: Notify,
}

impl Launches {
    fn find(&self, id: LaunchId) -> Option<Arc<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn keep(&self, known: Known) -> Arc<Known> {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = Arc::clone(all.entry(known.id()).or_insert_with(|| Arc::new(known)));
        drop(all);
        self.is_new.notify_one();
        known
    }

    /// Forgets every launch that is not `open`.
    pub(crate) fn keep_only(&self, open: &[LaunchId]) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| open.contains(id));
    }
}

impl Dispatcher {
    /// A launch and its plan; `None` when there is no such launch.
    pub(crate) async fn known(&self, id: LaunchId) -> Result<Option<Arc<Known>>> {
        if let Some(known) = self.launches.find(id) {
            return Ok(Some(known));
        }
        let _loading = self.launches.loading.lock().await;
        if let Some(known) = self.launches.find(id) {
            return Ok(Some(known));
        }
        let Some(launch) = rows::launch::get(&*self.backend.store, id).await? else { return Ok(None) };
        let manifest = rows::audience::manifest(&*self.backend.blobs, launch.snapshot).await?;
        let missing = Error::NoManifest { launch: id, snapshot: launch.snapshot };
        let manifest = manifest.ok_or(missing)?;
        let plan = Plan::new(&manifest, &launch.wave, &launch.sizes);
        check(&launch, &plan)?;
        let known = Known { launch, manifest, plan, windows: OnceCell::new(), stages: Mutex::default() };
        Ok(Some(self.launches.keep(known)))
    }
}

/// A plan that changed under its launch would send some twice and some never.
fn check(launch: &Launch, plan: &Plan) -> Result<()> {
    let (shards, devices) = (plan.shards().len(), plan.devices());
    let is_same =
        shards == launch.shards as usize && devices == launch.devices && plan.slices() == launch.slices;
    if is_same { Ok(()) } else { Err(Error::OtherPlan { launch: launch.id, shards, devices }) }
}
