//! What a stage needs from the outside world besides its stores: time, randomness and tasks.
//! They are arguments everywhere, so that the whole flow can run under one seed in simulated time.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::time::{Monotonic, Timestamp};

/// A future that owns what it needs.
pub type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// Wall clock, monotonic clock and sleeping.
pub trait Clock: Send + Sync + Debug {
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// A clock that never goes back and counts time spent suspended (`CLOCK_BOOTTIME`).
    fn monotonic(&self) -> Monotonic;
    /// Resolves once `duration` has passed.
    fn sleep(&self, duration: Duration) -> BoxFuture;
}

/// A source of random bytes; the real one is the operating system's.
pub trait Randomness: Send + Sync + Debug {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);

    /// A random 128-bit number.
    fn u128(&self) -> u128 {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        u128::from_le_bytes(bytes)
    }

    /// A random 64-bit number.
    fn u64(&self) -> u64 {
        self.u128() as u64
    }
}

/// Starts a task. Whoever spawns owns the task's end: every task takes a shutdown signal.
pub trait Spawner: Send + Sync + Debug {
    /// Runs `task` to its end under `name`, which appears in logs.
    fn spawn(&self, name: &'static str, task: BoxFuture);
}

/// The three of them, as every role receives them.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub randomness: Arc<dyn Randomness>,
    /// Tasks.
    pub spawner: Arc<dyn Spawner>,
}

/// A clock that stands still until it is told to move: for tests and for simulated time.
#[derive(Debug, Default)]
pub struct ManualClock {
    state: Arc<Mutex<ManualTime>>,
}

#[derive(Debug, Default)]
struct ManualTime {
    elapsed: Duration,
    epoch: Timestamp,
    sleepers: Vec<Waker>,
}

impl ManualClock {
    /// A clock whose wall time starts at `epoch` and whose monotonic time starts at zero.
    pub fn new(epoch: Timestamp) -> Self {
        let state = ManualTime { epoch, ..ManualTime::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Moves both clocks on and wakes whoever has slept long enough.
    pub fn advance(&self, by: Duration) {
        let sleepers = {
            let mut state = lock(&self.state);
            state.elapsed += by;
            std::mem::take(&mut state.sleepers)
        };
        sleepers.into_iter().for_each(Waker::wake);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let state = lock(&self.state);
        state.epoch + state.elapsed
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(lock(&self.state).elapsed.as_nanos() as u64)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture {
        let until = lock(&self.state).elapsed + duration;
        Box::pin(ManualSleep { state: Arc::clone(&self.state), until })
    }
}

struct ManualSleep {
    state: Arc<Mutex<ManualTime>>,
    until: Duration,
}

impl Future for ManualSleep {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        if state.elapsed >= self.until {
            return Poll::Ready(());
        }
        state.sleepers.push(context.waker().clone());
        Poll::Pending
    }
}

/// Random bytes that follow from a seed (SplitMix64): for tests, the demo and simulated time; never for secrets.
#[derive(Debug)]
pub struct SeededRandomness {
    state: Mutex<u64>,
}

impl SeededRandomness {
    /// The same seed gives the same bytes.
    pub fn new(seed: u64) -> Self {
        Self { state: Mutex::new(seed) }
    }
}

impl Randomness for SeededRandomness {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = lock(&self.state);
        for chunk in bytes.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            chunk.copy_from_slice(&mix(*state).to_le_bytes()[..chunk.len()]);
        }
    }
}

/// SplitMix64's finalizer: a bijection of 64-bit numbers that spreads neighbours apart.
pub const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A poisoned lock only says that another thread panicked; the data behind these locks stays whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_sleep_ends_when_its_time_has_come() {
        let clock = ManualClock::new(Timestamp::from_secs(7));
        let mut sleep = clock.sleep(Duration::from_secs(2));
        let mut context = Context::from_waker(Waker::noop());
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        clock.advance(Duration::from_secs(1));
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        clock.advance(Duration::from_secs(1));
        assert!(sleep.as_mut().poll(&mut context).is_ready());
        assert_eq!(clock.now(), Timestamp::from_secs(9));
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let (one, two) = (SeededRandomness::new(3), SeededRandomness::new(3));
        assert_eq!(one.u128(), two.u128());
        assert_ne!(one.u64(), SeededRandomness::new(4).u64());
    }
}
