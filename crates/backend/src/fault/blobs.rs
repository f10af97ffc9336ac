//! Faults over blobs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use super::{Faults, Operation};
use crate::blobs::{Blobs, Stored};
use crate::error::Result;

pub(super) struct Faulty {
    pub(super) inner: Arc<dyn Blobs>,
    pub(super) faults: Faults,
}

#[async_trait]
impl Blobs for Faulty {
    fn staging(&self) -> &Path {
        self.inner.staging()
    }

    async fn put_file(&self, name: &str, file: &Path) -> Result<Stored> {
        self.faults.whole(Operation::PutFile, self.inner.put_file(name, file)).await
    }

    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<Stored> {
        self.faults.whole(Operation::PutBlob, self.inner.put(name, bytes)).await
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.faults.whole(Operation::GetBlob, self.inner.get(name)).await
    }

    async fn file(&self, name: &str) -> Result<Option<PathBuf>> {
        self.faults.whole(Operation::File, self.inner.file(name)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.faults.whole(Operation::List, self.inner.list(prefix)).await
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.faults.whole(Operation::DeleteBlob, self.inner.delete(name)).await
    }
}
