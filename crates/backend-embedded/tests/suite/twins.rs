//! Two backends on one folder, as two processes have it: calls go to the one and the other in turn, and the contract holds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use backend::blobs::{Growing, Stored};
use backend::contract::{Harness, Time};
use backend::directory::{DeadDevice, Holdings, Imported, UserIds};
use backend::store::{Transacted, Written};
use backend::{
    Backend, Blobs, Delivery, Directory, Expect, Key, Outgoing, Page, Queue, Queues, Result, Row, Store,
    Write,
};
use backend_embedded::{Place, open};
use model::Device;

use crate::support::runtime;

struct Twins {
    backends: [Backend; 2],
    calls: AtomicUsize,
}

impl Twins {
    fn next(&self) -> &Backend {
        &self.backends[self.calls.fetch_add(1, Ordering::Relaxed) % 2]
    }
}

/// A fresh folder that is open twice.
pub(crate) async fn twins() -> Harness {
    let (runtime, clock) = runtime();
    let folder = tempfile::tempdir().unwrap();
    let embedded = [0, 1].map(|_| open(&Place::of(folder.path()), &runtime).unwrap());
    // From now on both look closely.
    let write = Write::put(Key::new("twins", "lively"), Expect::Absent, Vec::new());
    embedded[0].backend.store.transact(vec![write]).await.unwrap();
    let backends = [embedded[0].backend.clone(), embedded[1].backend.clone()];
    let twins = Arc::new(Twins { backends, calls: AtomicUsize::new(0) });
    let backend = Backend {
        store: twins.clone(),
        queues: twins.clone(),
        blobs: twins.clone(),
        directory: twins.clone(),
    };
    Harness { backend, time: Time::Manual(clock), gaps: &[], keep: Box::new((embedded, folder)) }
}

#[async_trait]
impl Store for Twins {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        self.next().store.get(keys).await
    }

    async fn query(&self, partition: &str, after: &str, limit: u32, is_descending: bool) -> Result<Page> {
        self.next().store.query(partition, after, limit, is_descending).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<Vec<Written>> {
        self.next().store.write(writes).await
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<Transacted> {
        self.next().store.transact(writes).await
    }
}

#[async_trait]
impl Queues for Twins {
    async fn send(&self, queue: Queue, messages: Vec<Outgoing>) -> Result<()> {
        self.next().queues.send(queue, messages).await
    }

    async fn receive(&self, queue: Queue, max: usize, wait: Duration) -> Result<Vec<Delivery>> {
        self.next().queues.receive(queue, max, wait).await
    }

    async fn delete(&self, queue: Queue, receipts: Vec<String>) -> Result<()> {
        self.next().queues.delete(queue, receipts).await
    }

    async fn extend(&self, queue: Queue, receipts: Vec<String>, visibility: Duration) -> Result<()> {
        self.next().queues.extend(queue, receipts, visibility).await
    }

    async fn give_back(&self, queue: Queue, receipts: Vec<String>, delay: Duration) -> Result<()> {
        self.next().queues.give_back(queue, receipts, delay).await
    }

    async fn depth(&self, queue: Queue) -> Result<u64> {
        self.next().queues.depth(queue).await
    }
}

#[async_trait]
impl Blobs for Twins {
    fn staging(&self) -> &Path {
        self.backends[0].blobs.staging()
    }

    async fn put_file(&self, name: &str, file: &Path) -> Result<Stored> {
        self.next().blobs.put_file(name, file).await
    }

    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<Stored> {
        self.next().blobs.put(name, bytes).await
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.next().blobs.get(name).await
    }

    async fn file(&self, name: &str) -> Result<Option<PathBuf>> {
        self.next().blobs.file(name).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.next().blobs.list(prefix).await
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.next().blobs.delete(name).await
    }

    async fn grow(&self, name: &str) -> Result<Option<Box<dyn Growing>>> {
        self.next().blobs.grow(name).await
    }

    async fn grown(&self, name: &str) -> Result<Option<u64>> {
        self.next().blobs.grown(name).await
    }

    async fn growing(&self) -> Result<Vec<String>> {
        self.next().blobs.growing().await
    }
}

#[async_trait]
impl Directory for Twins {
    async fn import(&self, devices: Vec<Device>) -> Result<Imported> {
        self.next().directory.import(devices).await
    }

    async fn holdings(&self, users: Arc<UserIds>) -> Result<Holdings> {
        self.next().directory.holdings(users).await
    }

    async fn knows(&self, users: &[String]) -> Result<Vec<bool>> {
        self.next().directory.knows(users).await
    }

    async fn delete_users(&self, users: &[String]) -> Result<u64> {
        self.next().directory.delete_users(users).await
    }

    async fn erase_users(&self, users: &[String]) -> Result<u64> {
        self.next().directory.erase_users(users).await
    }

    async fn prune(&self, dead: Vec<DeadDevice>) -> Result<u64> {
        self.next().directory.prune(dead).await
    }

    async fn count(&self) -> Result<(u64, u64)> {
        self.next().directory.count().await
    }
}
