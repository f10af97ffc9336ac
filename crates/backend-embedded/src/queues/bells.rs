//! Waking those who wait for messages: one bell a queue, rung by calls of this process, and by the database's watcher when another
//! process did something.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use backend::Queue;
use rusqlite::Connection;
use tokio::sync::Notify;

use super::table;
use crate::database::Watcher;

/// The bells of all queues.
pub(crate) struct Bells([Bell; Queue::ALL.len()]);

#[derive(Default)]
struct Bell {
    rung: Notify,
    waiting: AtomicUsize,
    /// When the earliest message becomes visible, at the last look.
    earliest: Mutex<Option<i64>>,
}

impl Bells {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| Bell::default()))
    }

    fn of(&self, queue: Queue) -> &Bell {
        let position = Queue::ALL.iter().position(|one| *one == queue);
        &self.0[position.expect("Queue::ALL has every queue")]
    }

    /// Resolves when the bell of `queue` rings after this call.
    pub(super) fn rung(&self, queue: Queue) -> tokio::sync::futures::Notified<'_> {
        self.of(queue).rung.notified()
    }

    /// A message of `queue` may have become visible.
    pub(super) fn ring(&self, queue: Queue) {
        self.of(queue).rung.notify_waiters();
    }

    /// Counts somebody who waits, until the value is dropped. To be made before the look at the table: what another process sends
    /// after that look is then seen, and the call that looks makes the writer think again how long it sleeps.
    pub(super) fn wait(&self, queue: Queue) -> Waiting<'_> {
        let bell = self.of(queue);
        bell.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(bell)
    }
}

/// Somebody who waits.
pub(super) struct Waiting<'a>(&'a Bell);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Watcher for Bells {
    fn is_waiting(&self) -> bool {
        self.0.iter().any(|bell| bell.waiting.load(Ordering::Relaxed) > 0)
    }

    fn look(&self, database: &Connection) -> rusqlite::Result<()> {
        for (queue, bell) in Queue::ALL.into_iter().zip(&self.0) {
            if bell.waiting.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let earliest = table::earliest(database, queue)?;
            let mut last = bell.earliest.lock().unwrap_or_else(PoisonError::into_inner);
            let has_changed = *last != earliest;
            *last = earliest;
            // A group of a FIFO queue may have become free without a change of the earliest.
            if has_changed || (queue.is_fifo() && earliest.is_some()) {
                bell.rung.notify_waiters();
            }
        }
        Ok(())
    }
}
