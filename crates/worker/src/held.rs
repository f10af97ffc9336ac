//! The shards a worker has claimed and not yet recorded.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use backend::Queue;
use backend::rows::shard::{Before, ShardName, ShardRow};
use model::queued::ShardMessage;
use model::{Monotonic, Platform};
use push::Side;
use report::{Positions, ShardRecord};
use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::launches::{Active, lock};

/// A claimed shard.
pub(crate) struct Held<S> {
    pub(crate) id: u64,
    pub(crate) name: ShardName,
    pub(crate) message: ShardMessage,
    pub(crate) queue: Queue,
    pub(crate) receipt: String,
    pub(crate) active: Arc<Active<S>>,
    /// What went before this claim.
    pub(crate) before: Before,
    /// What was known when it was claimed.
    pub(crate) known: Option<ShardRecord>,
    /// The devices that this attempt is for.
    pub(crate) all: Positions,
    /// Of these, the devices that this claim sends to.
    pub(crate) sent: Positions,
    /// And those of people on the late list, who get nothing.
    pub(crate) suppressed: Vec<u32>,
    pub(crate) row: Mutex<Row>,
    /// End of the lease on the monotonic clock; the engine stops a second before it.
    pub(crate) lease_until: Arc<AtomicU64>,
    /// Room in this worker; given back with the last hold on the shard at the latest.
    pub(crate) permit: Mutex<OwnedSemaphorePermit>,
    /// What was counted of it before it was done.
    pub(crate) counted: Mutex<Option<CountedBefore>>,
}

/// The part of a shard that was counted when it straggled.
pub(crate) struct CountedBefore {
    pub(crate) requests: u32,
    /// By device that was sent to.
    pub(crate) is_counted: Vec<bool>,
}

/// The shard's row as this worker last wrote it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) row: ShardRow,
    pub(crate) version: u64,
    /// When the lease was last renewed.
    pub(crate) renewed_at: Monotonic,
}

impl<S: Side> Held<S> {
    /// The epoch of the claim.
    pub(crate) const fn epoch(&self) -> u32 {
        self.before.epoch + 1
    }

    pub(crate) const fn platform(&self) -> Platform {
        self.message.platform
    }

    pub(crate) const fn is_burst(&self) -> bool {
        self.name.attempt == 0
    }

    /// Whether `row` still has this claim.
    pub(crate) fn is_claim_of(&self, row: &ShardRow, owner: u128) -> bool {
        row.claim.owner == owner && row.claim.epoch == self.epoch()
    }
}

/// All of them.
pub(crate) struct Table<S> {
    held: Mutex<HashMap<u64, Arc<Held<S>>>>,
    /// The names of what is held or being claimed: two deliveries of one shard never meet in this worker.
    names: Mutex<HashSet<ShardName>>,
    next_id: AtomicU64,
    /// Rung when one is let go.
    pub(crate) is_less: Notify,
}

impl<S> Default for Table<S> {
    fn default() -> Self {
        Self {
            held: Mutex::default(),
            names: Mutex::default(),
            next_id: AtomicU64::new(1),
            is_less: Notify::new(),
        }
    }
}

impl<S: Side> Table<S> {
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether nobody else in this worker has the shard; the caller has it from now on.
    pub(crate) fn reserve(&self, name: ShardName) -> bool {
        lock(&self.names).insert(name)
    }

    /// Gives up what [`Table::reserve`] reserved.
    pub(crate) fn release(&self, name: &ShardName) {
        lock(&self.names).remove(name);
    }

    pub(crate) fn insert(&self, held: &Arc<Held<S>>) {
        lock(&self.held).insert(held.id, Arc::clone(held));
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<Held<S>>> {
        lock(&self.held).get(&id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Held<S>>> {
        lock(&self.held).values().cloned().collect()
    }

    pub(crate) fn remove(&self, held: &Held<S>) {
        lock(&self.held).remove(&held.id);
        self.release(&held.name);
        self.is_less.notify_waiters();
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.held).is_empty() && lock(&self.names).is_empty()
    }
}
