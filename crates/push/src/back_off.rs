//! How connections that fail slow down the opening of the next ones.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use burst_h2::Nanos;

/// Failures of a pool's connections in a row. Those that were under way when one failed tell nothing new: a moment in
/// which a provider ends a hundred connections is one failure, or the pool would be without any for as long as it may be.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    count: AtomicU32,
    /// When the last one was counted.
    counted_at: AtomicU64,
    /// One of them had answered what was sent to warm it: it takes more than that to show that they work again.
    had_answered: AtomicBool,
}

/// What shows that a connection works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// It has answered what was sent to warm it.
    Answer,
    /// It has done its work, or was there for long.
    Use,
}

impl Failures {
    /// A connection failed that was opened at `opened_at`.
    pub(crate) fn add(&self, opened_at: Nanos, had_answered: bool, now: Nanos) {
        let is_news = |counted_at: Nanos| (opened_at >= counted_at).then_some(now);
        if self.counted_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_news).is_ok() {
            self.count.fetch_add(1, Ordering::Relaxed);
            self.had_answered.fetch_or(had_answered, Ordering::Relaxed);
        }
    }

    /// Whether connections failed since one has worked.
    pub(crate) fn is_any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// A connection works. Whether that ends a row of failures; one opened before the last of them proves nothing.
    pub(crate) fn clear(&self, opened_at: Nanos, proof: Proof) -> bool {
        let is_new = || opened_at >= self.counted_at.load(Ordering::Relaxed);
        let is_enough = || proof == Proof::Use || !self.had_answered.load(Ordering::Relaxed);
        let ends = self.is_any() && is_new() && is_enough();
        if ends {
            self.count.store(0, Ordering::Relaxed);
            self.had_answered.store(false, Ordering::Relaxed);
        }
        ends
    }

    /// Zero as long as connections succeed; then from `min` doubling to `max`.
    pub(crate) fn wait(&self, min: Duration, max: Duration) -> Duration {
        match self.count.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            count => min.saturating_mul(1 << (count - 1).min(16)).min(max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(250);
    const MAX: Duration = Duration::from_secs(2);

    fn wait(failures: &Failures) -> Duration {
        failures.wait(MIN, MAX)
    }

    #[test]
    fn connections_that_fail_together_count_once_and_one_tried_afterwards_again() {
        let failures = Failures::default();
        assert_eq!(wait(&failures), Duration::ZERO);
        for opened_at in [10, 20, 30] {
            failures.add(opened_at, false, 100);
        }
        assert_eq!(wait(&failures), MIN);
        failures.add(100, false, 200);
        failures.add(150, false, 210);
        assert_eq!(wait(&failures), 2 * MIN);
    }

    #[test]
    fn failures_that_do_not_count_do_not_keep_later_ones_from_counting() {
        let failures = Failures::default();
        failures.add(0, false, 100);
        failures.add(50, false, 200);
        failures.add(150, false, 300);
        assert_eq!(wait(&failures), 2 * MIN);
    }

    #[test]
    fn waits_grow_to_the_longest_and_end_with_the_first_success() {
        let failures = Failures::default();
        (0..100).for_each(|at| failures.add(at, false, at));
        assert_eq!(wait(&failures), MAX);
        assert!(failures.clear(100, Proof::Answer) && !failures.clear(100, Proof::Answer));
        assert_eq!(wait(&failures), Duration::ZERO);
    }

    #[test]
    fn a_connection_that_was_there_before_the_failure_proves_nothing() {
        let failures = Failures::default();
        failures.add(10, false, 20);
        assert!(!failures.clear(19, Proof::Use) && failures.clear(20, Proof::Use));
    }

    #[test]
    fn an_answer_is_not_enough_after_failures_of_connections_that_had_answered() {
        let failures = Failures::default();
        failures.add(10, true, 20);
        failures.add(20, false, 30);
        assert!(!failures.clear(40, Proof::Answer));
        assert_eq!(wait(&failures), 2 * MIN);
        assert!(failures.clear(40, Proof::Use));
        failures.add(50, false, 60);
        assert!(failures.clear(60, Proof::Answer), "what was before is forgotten");
    }
}
