//! The way into a sending thread.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use burst_h2::Nanos;
use burst_h2::driver::Waker;

use crate::pool::PoolId;

/// What a thread is told to do besides sending.
pub(crate) enum Order {
    /// Open a connection.
    Open { pool: PoolId, class: usize, address: SocketAddr },
    /// Write no more, hand back what was not written, end when the answers are in, at this moment at the latest.
    Stop { until: Nanos },
}

/// Orders for one thread. There are never more of them than connections wanted, and one to stop.
pub(crate) struct Port {
    orders: Mutex<Vec<Order>>,
    has_orders: AtomicBool,
    /// The thread wants to be woken when a shard is submitted.
    is_hungry: AtomicBool,
    waker: Waker,
}

impl Port {
    pub(crate) fn new(waker: Waker) -> Self {
        Self {
            orders: Mutex::default(),
            has_orders: AtomicBool::new(false),
            is_hungry: AtomicBool::new(false),
            waker,
        }
    }

    pub(crate) fn order(&self, order: Order) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).push(order);
        self.has_orders.store(true, Ordering::Release);
        self.wake();
    }

    /// Orders given since the last time.
    pub(crate) fn take_orders(&self) -> Vec<Order> {
        if !self.has_orders.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        std::mem::take(&mut self.orders.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn wake(&self) {
        // It fails only when the thread is gone, and then nobody needs waking.
        let _ = self.waker.wake();
    }

    /// Wakes the thread if it waits for shards. Called after a shard has been put into a queue.
    pub(crate) fn feed(&self) {
        if self.is_hungry.swap(false, Ordering::SeqCst) {
            self.wake();
        }
    }

    /// The thread will look at the queues once more and then wait to be fed.
    pub(crate) fn hunger(&self) {
        self.is_hungry.store(true, Ordering::SeqCst);
    }
}
