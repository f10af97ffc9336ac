//! When to commit: at once while commits are few, in step while they are many, so that a launch's thousands of small
//! writes share their commits and a single write waits for nothing.

use std::time::Duration;

/// Commits that may follow each other at once.
const BURST: u32 = 16;
/// Above that, one commit in this time.
const STEP: Duration = Duration::from_millis(2);

/// A bucket of commits that may happen at once.
#[derive(Debug)]
pub(super) struct Pace {
    credit: u32,
    /// Since when the next credit grows; any clock that only goes forward.
    since: Duration,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self { credit: BURST, since: Duration::ZERO }
    }

    /// Counts a commit at `now`; returns how long to let jobs gather before the next.
    pub(super) fn committed(&mut self, now: Duration) -> Duration {
        let grown = (now.saturating_sub(self.since).as_nanos() / STEP.as_nanos()) as u32;
        self.since += STEP * grown;
        self.credit = self.credit.saturating_add(grown).min(BURST);
        if self.credit == BURST {
            self.since = now;
        }
        self.credit = self.credit.saturating_sub(1);
        if self.credit == 0 { STEP } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_commits_wait_for_nothing_and_many_keep_step() {
        let mut pace = Pace::new();
        let mut now = Duration::from_secs(5);
        let mut waits = Vec::new();
        for _ in 0..100 {
            let wait = pace.committed(now);
            waits.push(wait);
            now += wait + Duration::from_micros(10);
        }
        assert!(waits[..14].iter().all(Duration::is_zero));
        assert!(waits[20..].iter().all(|wait| *wait == STEP), "{waits:?}");
        now += Duration::from_secs(1);
        assert!(pace.committed(now).is_zero());
    }
}
