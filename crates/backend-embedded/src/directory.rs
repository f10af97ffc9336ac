//! The directory: a log of users with their devices, and in memory where each user's last entry lies. Any order of import is a sequence
//! of appends, and a look-up is one read.

mod batch;
mod compact;
mod entry;
mod import;
mod index;
mod log;
mod look_up;
mod remove;
mod shared;
mod state;
mod window;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use backend::directory::{DeadDevice, Holdings, Imported, UserIds};
use backend::{Directory, ErrorKind, Result};
use model::Device;

use self::shared::Shared;
use crate::error::{Error, Failure};

/// See the module.
pub(crate) struct Users {
    shared: Arc<Shared>,
    /// In memory every call runs at once, so that calls keep their order under one seed.
    is_inline: bool,
}

impl Users {
    /// Opens the directory in `folder`, or one in memory.
    pub(crate) fn open(folder: Option<&Path>) -> std::result::Result<Self, Error> {
        Ok(Self { shared: Arc::new(Shared::open(folder)?), is_inline: folder.is_none() })
    }

    /// Makes everything survive the loss of power.
    pub(crate) async fn close(&self) {
        let sync = |shared: &Shared| {
            let state = shared.state();
            state.log.sync(state.end).map_err(state.log.failed())
        };
        if let Err(error) = self.run("directory.close", sync).await {
            tracing::error!(%error, "the directory could not be synced");
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Shared) -> std::result::Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        if self.is_inline {
            tokio::task::coop::consume_budget().await;
            return work(&self.shared).map_err(|failure| failure.error(operation));
        }
        let shared = Arc::clone(&self.shared);
        match tokio::task::spawn_blocking(move || work(&shared)).await {
            Ok(done) => done.map_err(|failure| failure.error(operation)),
            Err(error) => {
                let message = format!("the call did not finish: {error}");
                Err(backend::Error::new(ErrorKind::AnswerLost, operation, message))
            }
        }
    }
}

#[async_trait]
impl Directory for Users {
    async fn import(&self, devices: Vec<Device>) -> Result<Imported> {
        self.run("directory.import", move |shared| {
            let imported = import::import(shared, &devices)?;
            compact::compact(shared);
            Ok(imported)
        })
        .await
    }

    async fn holdings(&self, users: Arc<UserIds>) -> Result<Holdings> {
        self.run("directory.holdings", move |shared| look_up::holdings(shared, &users)).await
    }

    async fn knows(&self, users: &[String]) -> Result<Vec<bool>> {
        let users = users.to_vec();
        self.run("directory.knows", move |shared| look_up::knows(shared, &users)).await
    }

    async fn delete_users(&self, users: &[String]) -> Result<u64> {
        let users = users.to_vec();
        self.run("directory.delete_users", move |shared| remove::delete_users(shared, &users)).await
    }

    async fn erase_users(&self, users: &[String]) -> Result<u64> {
        let users = users.to_vec();
        self.run("directory.erase_users", move |shared| {
            let devices = remove::delete_users(shared, &users)?;
            compact::erase(shared)?;
            Ok(devices)
        })
        .await
    }

    async fn prune(&self, dead: Vec<DeadDevice>) -> Result<u64> {
        self.run("directory.prune", move |shared| remove::prune(shared, dead)).await
    }

    async fn count(&self) -> Result<(u64, u64)> {
        self.run("directory.count", |shared| {
            let totals = shared.current()?.totals;
            Ok((totals.users, totals.devices))
        })
        .await
    }
}

#[cfg(test)]
mod tests;
