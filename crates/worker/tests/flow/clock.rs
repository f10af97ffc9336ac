//! The machine's clocks and tasks, for tests that need real sockets; time can be skipped where it would only pass.
#![allow(clippy::disallowed_methods, reason = "this is what the arguments are made of")]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use model::runtime::{BoxFuture, Clock, Runtime, SeededRandomness, Spawner};
use model::{Monotonic, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Real time, and what was skipped.
#[derive(Debug)]
pub(crate) struct SkippingClock {
    start: Instant,
    skipped: watch::Sender<Duration>,
}

impl SkippingClock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), skipped: watch::Sender::new(Duration::ZERO) }
    }

    /// Moves both clocks on. What is on its way to a simulator does not notice, so skip when nothing is.
    pub(crate) fn skip(&self, by: Duration) {
        self.skipped.send_modify(|skipped| *skipped += by);
    }
}

impl Clock for SkippingClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Timestamp(since.as_micros() as u64) + *self.skipped.borrow()
    }

    fn monotonic(&self) -> Monotonic {
        // A machine that has run for an hour: moments before the test's start have a place.
        let elapsed = self.start.elapsed() + *self.skipped.borrow() + Duration::from_secs(3_600);
        Monotonic(elapsed.as_nanos() as u64)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture {
        let mut skipped = self.skipped.subscribe();
        let until = self.start.elapsed() + *skipped.borrow_and_update() + duration;
        let start = self.start;
        Box::pin(async move {
            loop {
                let left = until.saturating_sub(start.elapsed() + *skipped.borrow_and_update());
                if left.is_zero() {
                    return;
                }
                tokio::select! {
                    () = tokio::time::sleep(left) => {}
                    Ok(()) = skipped.changed() => {}
                }
            }
        })
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
pub(crate) fn runtime(seed: u64) -> (Runtime, Arc<SkippingClock>) {
    let clock = Arc::new(SkippingClock::new());
    let randomness = Arc::new(SeededRandomness::new(seed));
    (Runtime { clock: clock.clone(), randomness, spawner: Arc::new(TokioSpawner) }, clock)
}

/// A role that can be killed.
pub(crate) fn role(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(task)
}
