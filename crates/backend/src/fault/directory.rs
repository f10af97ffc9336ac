//! Faults over the directory.

use std::sync::Arc;

use async_trait::async_trait;
use model::Device;

use super::{Faults, Operation};
use crate::directory::{DeadDevice, Directory, Holdings, Imported, UserIds};
use crate::error::Result;

pub(super) struct Faulty {
    pub(super) inner: Arc<dyn Directory>,
    pub(super) faults: Faults,
}

#[async_trait]
impl Directory for Faulty {
    async fn import(&self, devices: Vec<Device>) -> Result<Imported> {
        self.faults.whole(Operation::Import, self.inner.import(devices)).await
    }

    async fn holdings(&self, users: Arc<UserIds>) -> Result<Holdings> {
        self.faults.whole(Operation::Holdings, self.inner.holdings(users)).await
    }

    async fn knows(&self, users: &[String]) -> Result<Vec<bool>> {
        self.faults.whole(Operation::Knows, self.inner.knows(users)).await
    }

    async fn delete_users(&self, users: &[String]) -> Result<u64> {
        self.faults.whole(Operation::DeleteUsers, self.inner.delete_users(users)).await
    }

    async fn erase_users(&self, users: &[String]) -> Result<u64> {
        self.faults.whole(Operation::EraseUsers, self.inner.erase_users(users)).await
    }

    async fn prune(&self, dead: Vec<DeadDevice>) -> Result<u64> {
        self.faults.whole(Operation::Prune, self.inner.prune(dead)).await
    }

    async fn count(&self) -> Result<(u64, u64)> {
        self.faults.whole(Operation::Count, self.inner.count()).await
    }
}
