//! The snapshots a worker holds in memory: loaded before they are needed, verified on a thread that may block.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use backend::rows::audience;
use device_map::Snapshot;
use model::Digest;
use push::Side;
use tracing::{error, info};

use crate::Worker;
use crate::error::{Error, Result};
use crate::launches::lock;

#[derive(Clone)]
enum Holding {
    Loading,
    Ready(Arc<Snapshot>),
    Failed(String),
}

/// Snapshots by digest.
#[derive(Default)]
pub(crate) struct Snapshots(Mutex<BTreeMap<Digest, Holding>>);

impl Snapshots {
    /// A snapshot, once it is loaded.
    pub(crate) fn get(&self, digest: Digest) -> Option<Arc<Snapshot>> {
        match lock(&self.0).get(&digest) {
            Some(Holding::Ready(snapshot)) => Some(Arc::clone(snapshot)),
            _ => None,
        }
    }

    /// Digests of the loaded ones.
    pub(crate) fn ready(&self) -> Vec<Digest> {
        let all = lock(&self.0);
        let ready = all.iter().filter(|(_, holding)| matches!(holding, Holding::Ready(_)));
        ready.map(|(digest, _)| *digest).collect()
    }

    /// Those that could not be loaded, and why.
    pub(crate) fn failed(&self) -> Vec<(Digest, String)> {
        let all = lock(&self.0);
        let failed = all.iter().filter_map(|(digest, holding)| match holding {
            Holding::Failed(why) => Some((*digest, why.clone())),
            _ => None,
        });
        failed.collect()
    }

    /// Whether `digest` is to be loaded now by whoever asks; nobody else will.
    fn begin(&self, digest: Digest) -> bool {
        let mut all = lock(&self.0);
        let is_new = !all.contains_key(&digest);
        if is_new {
            all.insert(digest, Holding::Loading);
        }
        is_new
    }

    /// Memory that loaded snapshots take.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let bytes = |holding: &Holding| match holding {
            Holding::Ready(snapshot) => snapshot.resident_bytes(),
            Holding::Loading | Holding::Failed(_) => 0,
        };
        lock(&self.0).values().map(bytes).sum()
    }

    fn end(&self, digest: Digest, holding: Holding) {
        lock(&self.0).insert(digest, holding);
    }

    /// Lets go of what is not `wanted`, and of failures, so that they are tried again. What is being sent keeps its own
    /// hold.
    pub(crate) fn keep_only(&self, wanted: &BTreeSet<Digest>) {
        lock(&self.0).retain(|digest, holding| match holding {
            Holding::Loading => true,
            Holding::Ready(_) => wanted.contains(digest),
            Holding::Failed(_) => false,
        });
    }
}

impl<S: Side> Worker<S> {
    /// Loads a snapshot in the background, unless it is loaded, being loaded or has just failed.
    pub(crate) fn want(self: &Arc<Self>, digest: Digest) {
        if !self.snapshots.begin(digest) {
            return;
        }
        let worker = Arc::clone(self);
        let task = async move {
            let holding = match worker.load(digest).await {
                Ok(snapshot) => {
                    info!(%digest, bytes = snapshot.resident_bytes(), "snapshot is loaded");
                    Holding::Ready(Arc::new(snapshot))
                }
                Err(failure) => {
                    error!(%digest, error = &failure as &dyn std::error::Error, "snapshot cannot be loaded");
                    Holding::Failed(failure.to_string())
                }
            };
            worker.snapshots.end(digest, holding);
        };
        self.runtime.spawner.spawn("load snapshot", Box::pin(task));
    }

    async fn load(&self, digest: Digest) -> Result<Snapshot> {
        let name = audience::snapshot_blob(digest);
        let file = self.backend.blobs.file(&name).await?.ok_or(Error::NoSnapshot(digest))?;
        let opened = tokio::task::spawn_blocking(move || Snapshot::open(&file, digest)).await?;
        opened.map_err(|source| Error::Snapshot { digest, source })
    }
}
