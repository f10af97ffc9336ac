//! The machine's clocks and tasks, for tests that need real sockets.
#![allow(clippy::disallowed_methods, reason = "this is what the arguments are made of")]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use model::runtime::{BoxFuture, Clock, Runtime, SeededRandomness, Spawner};
use model::{Monotonic, Timestamp};
use tokio::task::JoinHandle;

#[derive(Debug)]
struct RealClock(Instant);

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Timestamp(since.as_micros() as u64)
    }

    fn monotonic(&self) -> Monotonic {
        // A machine that has run for an hour: moments before the test's start have a place.
        Monotonic(self.0.elapsed().as_nanos() as u64) + Duration::from_secs(3_600)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture {
        Box::pin(tokio::time::sleep(duration))
    }
}

#[derive(Debug)]
struct TokioSpawner;

impl Spawner for TokioSpawner {
    fn spawn(&self, _name: &'static str, task: BoxFuture) {
        drop(tokio::spawn(task));
    }
}

/// A run time on the current tokio runtime; what is random follows from `seed`.
pub(crate) fn runtime(seed: u64) -> Runtime {
    Runtime {
        clock: Arc::new(RealClock(Instant::now())),
        randomness: Arc::new(SeededRandomness::new(seed)),
        spawner: Arc::new(TokioSpawner),
    }
}

/// A role that can be killed.
pub(crate) fn role(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(task)
}
