//! Dead keys go back to the directory: in the background, when a launch has been quiet for a while.

use std::sync::Arc;
use std::time::Duration;

use backend::directory::DeadDevice;
use backend::rows::audience;
use device_map::{Position, Snapshot, Users};
use model::{Digest, Timestamp};
use push::Side;
use tracing::{info, warn};

use crate::Worker;
use crate::error::{Error, Result};
use crate::launches::Active;

/// A device whose key the provider called dead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dead {
    pub(crate) position: Position,
    /// Dead unless registered after this.
    pub(crate) since: Timestamp,
}

/// How long a worker that stops may take for it: the program allows ten seconds besides the drain.
const AT_END_MAX: Duration = Duration::from_secs(5);
/// Devices of one call on the directory.
const DEVICES_MAX: usize = 2_000;

impl<S: Side> Worker<S> {
    /// Takes the launch's dead keys out of the directory, in a task of its own. Those of a call that fails stay; the next
    /// launch finds them again.
    pub(crate) fn prune(self: &Arc<Self>, active: &Arc<Active<S>>) {
        let dead = active.take_dead();
        if dead.is_empty() {
            return;
        }
        let (worker, active) = (Arc::clone(self), Arc::clone(active));
        let task = async move { worker.prune_now(&active, dead).await };
        self.runtime.spawner.spawn("prune", Box::pin(task));
    }

    /// The same before the worker stops, in a bounded time.
    pub(crate) async fn prune_at_end(&self) {
        let actives = self.launches.all();
        let prune = actives.iter().map(|active| self.prune_now(active, active.take_dead()));
        tokio::select! {
            _ = futures::future::join_all(prune) => {}
            () = self.runtime.clock.sleep(AT_END_MAX) => warn!("dead keys stay in the directory: no time is left"),
        }
    }

    async fn prune_now(&self, active: &Active<S>, dead: Vec<Dead>) {
        if dead.is_empty() {
            return;
        }
        let launch = active.id();
        match self.prune_all(active.launch.snapshot, dead).await {
            Ok(pruned) => info!(%launch, pruned, "dead keys are out of the directory"),
            Err(failure) => {
                warn!(%launch, error = &failure as &dyn std::error::Error, "dead keys stay in the directory");
            }
        }
    }

    async fn prune_all(&self, digest: Digest, dead: Vec<Dead>) -> Result<u64> {
        let Some(snapshot) = self.snapshots.get(digest) else { return Err(Error::NoSnapshot(digest)) };
        let name = audience::users_blob(digest);
        let file = self.backend.blobs.file(&name).await?.ok_or(Error::NoSnapshot(digest))?;
        let named = tokio::task::spawn_blocking(move || {
            let users = Users::open(&file, snapshot.users_digest())?;
            Ok(dead.iter().filter_map(|dead| name_device(&snapshot, &users, dead)).collect::<Vec<_>>())
        });
        let named = named.await?.map_err(|source| Error::Snapshot { digest, source })?;
        let mut pruned = 0;
        for chunk in named.chunks(DEVICES_MAX) {
            pruned += self.backend.directory.prune(chunk.to_vec()).await?;
        }
        Ok(pruned)
    }
}

/// A device in the directory's words.
fn name_device(snapshot: &Snapshot, users: &Users, dead: &Dead) -> Option<DeadDevice> {
    let device = snapshot.device(dead.position)?;
    let group = snapshot.groups().get(dead.position.group as usize)?;
    Some(DeadDevice {
        user: users.id(device.user_ordinal())?.to_owned(),
        platform: group.platform,
        app: group.app.clone(),
        key: device.text(),
        dead_since: dead.since,
    })
}
