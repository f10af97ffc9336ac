//! The real clock, randomness and tasks: the only place besides the drivers where they are touched.
#![allow(clippy::disallowed_methods, reason = "this is what the arguments are made of")]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use model::runtime::{BoxFuture, Clock, Randomness, Runtime, Spawner};
use model::{Monotonic, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use tracing::Instrument as _;

/// The three real ones.
pub(crate) fn real() -> Runtime {
    Runtime {
        clock: Arc::new(SystemClock),
        randomness: Arc::new(SystemRandomness),
        spawner: Arc::new(TokioSpawner),
    }
}

/// The kernel's clocks and tokio's timer.
#[derive(Debug)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Timestamp(since.unwrap_or_default().as_micros() as u64)
    }

    fn monotonic(&self) -> Monotonic {
        let time = clock_gettime(ClockId::Boottime);
        Monotonic(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// The operating system's random bytes.
#[derive(Debug)]
pub(crate) struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn fill(&self, bytes: &mut [u8]) {
        let mut filled = 0;
        while filled < bytes.len() {
            let got = rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty());
            // Interrupted by a signal is the only failure that getrandom(2) knows here: ask again.
            filled += got.unwrap_or(0);
        }
    }
}

/// Tasks on the current tokio runtime.
#[derive(Debug)]
pub(crate) struct TokioSpawner;

impl Spawner for TokioSpawner {
    fn spawn(&self, name: &'static str, task: BoxFuture) {
        tokio::spawn(task.instrument(tracing::debug_span!("task", name)));
    }
}
