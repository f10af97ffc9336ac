//! Shards that were submitted to a pool and that no thread has taken up.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use burst_h2::Nanos;

use crate::work::Work;

/// The queue of a pool's lanes. Locked once per shard, never per request; bounded by the pool's
/// [`devices_max`](crate::PoolConfig::devices_max).
pub(crate) struct Queue<K> {
    shards: Mutex<VecDeque<Waiting<K>>>,
    /// So that a thread can see without a lock that there is nothing.
    length: AtomicUsize,
}

pub(crate) struct Waiting<K> {
    pub(crate) work: Work<K>,
    pub(crate) since: Nanos,
}

impl<K> Queue<K> {
    pub(crate) fn new() -> Self {
        Self { shards: Mutex::new(VecDeque::new()), length: AtomicUsize::new(0) }
    }

    pub(crate) fn push(&self, work: Work<K>, now: Nanos) {
        let mut shards = self.lock();
        shards.push_back(Waiting { work, since: now });
        self.length.store(shards.len(), Ordering::SeqCst);
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.length.load(Ordering::SeqCst) == 0
    }

    pub(crate) fn pop(&self) -> Option<Work<K>> {
        if self.is_empty() {
            return None;
        }
        let mut shards = self.lock();
        let waiting = shards.pop_front();
        self.length.store(shards.len(), Ordering::SeqCst);
        waiting.map(|waiting| waiting.work)
    }

    /// Takes out what `is_wanted` says, in the order of submission.
    pub(crate) fn take(&self, mut is_wanted: impl FnMut(&Waiting<K>) -> bool) -> VecDeque<Waiting<K>> {
        if self.is_empty() {
            return VecDeque::new();
        }
        let mut shards = self.lock();
        let (taken, kept) = shards.drain(..).partition(|waiting| is_wanted(waiting));
        *shards = kept;
        self.length.store(shards.len(), Ordering::SeqCst);
        taken
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiting<K>>> {
        // A queue is whole between any two of its operations.
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
