//! A launch as it looks now: the newest progress of every worker, merged.

use std::collections::BTreeMap;

use model::{Market, Platform, Timestamp};

use crate::curve::Curve;
use crate::latencies::Latencies;
use crate::progress::Progress;
use crate::tally::{Counts, Tally};

/// The newest progress of each worker. Taking in is idempotent and its order does not matter: figures are cumulative,
/// so a worker's newer ones replace its older ones, and different workers' add up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    workers: BTreeMap<String, Progress>,
}

impl Live {
    /// Takes in what a worker published.
    pub fn take(&mut self, progress: Progress) {
        match self.workers.get(&progress.worker) {
            Some(known) if !is_newer(&progress, known) => {}
            _ => {
                self.workers.insert(progress.worker.clone(), progress);
            }
        }
    }

    /// Takes in what another reader has.
    pub fn merge(&mut self, other: &Live) {
        other.workers.values().cloned().for_each(|progress| self.take(progress));
    }

    /// Each worker's newest progress, by name.
    pub fn workers(&self) -> impl Iterator<Item = &Progress> {
        self.workers.values()
    }

    /// The newest time of them; `None` before any worker published.
    pub fn updated_at(&self) -> Option<Timestamp> {
        self.workers().map(|progress| progress.updated_at).max()
    }

    /// All outcomes of one provider.
    pub fn tally(&self, platform: Platform) -> Tally {
        let mut tally = Tally::default();
        self.workers().for_each(|progress| tally.merge(&progress.by_platform[platform.index()]));
        tally
    }

    /// Classes of one provider.
    pub fn counts(&self, platform: Platform) -> Counts {
        self.tally(platform).counts()
    }

    /// Classes of everything.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        Platform::ALL.iter().for_each(|platform| total.merge(&self.counts(*platform)));
        total
    }

    /// Classes by provider and market; [`OTHER_MARKETS`](crate::progress::OTHER_MARKETS) are those too small to tell.
    pub fn by_market(&self) -> BTreeMap<(Platform, Market), Counts> {
        let mut cells: BTreeMap<(Platform, Market), Counts> = BTreeMap::new();
        for (key, counts) in self.workers().flat_map(|progress| &progress.by_market) {
            cells.entry(key.clone()).or_default().merge(counts);
        }
        cells
    }

    /// Latencies of one provider's accepted answers.
    pub fn latencies_at(&self, platform: Platform) -> Latencies {
        let mut latencies = Latencies::default();
        self.workers().for_each(|progress| latencies.merge(&progress.latencies[platform.index()]));
        latencies
    }

    /// Latencies of all accepted answers.
    pub fn latencies(&self) -> Latencies {
        let mut latencies = Latencies::default();
        Platform::ALL.iter().for_each(|platform| latencies.merge(&self.latencies_at(*platform)));
        latencies
    }

    /// Accepted answers per 100 ms since the press.
    pub fn curve(&self) -> Curve {
        Curve::of(&self.latencies())
    }

    /// Shards recorded. One that was taken over may count twice: final figures come from the records.
    pub fn shards_recorded(&self) -> u64 {
        self.workers().map(|progress| u64::from(progress.shards_recorded)).sum()
    }

    /// Shards claimed and not yet recorded.
    pub fn shards_in_flight(&self) -> u64 {
        self.workers().map(|progress| u64::from(progress.shards_in_flight)).sum()
    }

    /// Requests written.
    pub fn requests(&self) -> u64 {
        self.workers().map(|progress| progress.requests).fold(0, u64::saturating_add)
    }

    /// Requests written and not yet answered.
    pub fn requests_in_flight(&self) -> u64 {
        self.workers().map(|progress| progress.requests_in_flight).fold(0, u64::saturating_add)
    }

    /// First byte of the first request, in microseconds since the press.
    pub fn first_write_us(&self) -> Option<u64> {
        self.workers().filter_map(|progress| progress.first_write_us).min()
    }

    /// Last answer so far, in microseconds since the press.
    pub fn last_answer_us(&self) -> Option<u64> {
        self.workers().filter_map(|progress| progress.last_answer_us).max()
    }

    /// The worst clock error of the workers, in microseconds.
    pub fn clock_error_us(&self) -> u64 {
        self.workers().map(|progress| progress.clock_error_us).max().unwrap_or(0)
    }
}

/// Later wins; of two with the same time the one whose bytes are greater, so that every reader keeps the same.
fn is_newer(one: &Progress, two: &Progress) -> bool {
    match one.updated_at.cmp(&two.updated_at) {
        std::cmp::Ordering::Equal => one.encode() > two.encode(),
        order => order.is_gt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::tests::any_progress;
    use model::{LaunchId, Outcome};
    use proptest::prelude::*;

    fn any_live() -> impl Strategy<Value = Live> {
        proptest::collection::vec(any_progress(), 0..5).prop_map(|items| {
            let mut live = Live::default();
            items.into_iter().for_each(|progress| live.take(progress));
            live
        })
    }

    fn merged(a: &Live, b: &Live) -> Live {
        let mut merged = a.clone();
        merged.merge(b);
        merged
    }

    proptest! {
        #[test]
        fn merging_is_commutative_associative_and_idempotent(a in any_live(), b in any_live(), c in any_live()) {
            prop_assert_eq!(merged(&a, &b), merged(&b, &a));
            prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
            prop_assert_eq!(merged(&a, &a), a);
        }

        #[test]
        fn totals_are_the_sum_of_workers_providers_and_markets(live in any_live()) {
            let mut by_worker = Counts::default();
            live.workers().flat_map(|one| &one.by_platform).for_each(|tally| by_worker.merge(&tally.counts()));
            let mut by_market = Counts::default();
            live.by_market().values().for_each(|counts| by_market.merge(counts));
            prop_assert_eq!(live.total(), by_worker);
            prop_assert_eq!(live.total(), by_market);
            prop_assert_eq!(live.curve().count(), live.latencies().count());
        }
    }

    #[test]
    fn an_older_item_of_the_same_worker_changes_nothing() {
        let mut older = Progress::new(LaunchId(1), "w", Timestamp(1));
        older.add(Platform::Apns, "us", Outcome::ACCEPTED, 5);
        let mut newer = older.clone();
        newer.updated_at = Timestamp(2);
        newer.add(Platform::Apns, "us", Outcome::ACCEPTED, 5);
        let mut live = Live::default();
        live.take(newer);
        live.take(older);
        assert_eq!(live.total().accepted, 10);
    }
}
