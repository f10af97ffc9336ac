//! Faults over blobs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use super::{Faults, Operation};
use crate::blobs::{Blobs, Growing, Stored};
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

    async fn grow(&self, name: &str) -> Result<Option<Box<dyn Growing>>> {
        let inner = self.faults.whole(Operation::Grow, self.inner.grow(name)).await?;
        let faults = self.faults.clone();
        Ok(inner.map(|inner| Box::new(FaultyGrowing { inner, faults }) as Box<dyn Growing>))
    }

    async fn grown(&self, name: &str) -> Result<Option<u64>> {
        self.faults.whole(Operation::Grown, self.inner.grown(name)).await
    }

    async fn growing(&self) -> Result<Vec<String>> {
        self.faults.whole(Operation::Growing, self.inner.growing()).await
    }
}

struct FaultyGrowing {
    inner: Box<dyn Growing>,
    faults: Faults,
}

#[async_trait]
impl Growing for FaultyGrowing {
    fn bytes(&self) -> u64 {
        self.inner.bytes()
    }

    async fn append(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.faults.whole(Operation::Append, self.inner.append(bytes)).await
    }

    async fn cut(&mut self, bytes: u64) -> Result<()> {
        self.faults.whole(Operation::Cut, self.inner.cut(bytes)).await
    }

    async fn sync(&mut self) -> Result<()> {
        self.faults.whole(Operation::Sync, self.inner.sync()).await
    }

    async fn file(&mut self) -> Result<PathBuf> {
        self.faults.whole(Operation::GrowingFile, self.inner.file()).await
    }

    async fn keep(self: Box<Self>, name: &str) -> Result<Stored> {
        let Self { inner, faults } = *self;
        faults.whole(Operation::Keep, inner.keep(name)).await
    }

    async fn discard(self: Box<Self>) -> Result<()> {
        let Self { inner, faults } = *self;
        faults.whole(Operation::Discard, inner.discard()).await
    }
}
