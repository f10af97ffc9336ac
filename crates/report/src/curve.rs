//! Answers per 100 ms since the press: what a live curve and a report draw.

use serde::{Deserialize, Serialize};

use crate::latencies::Latencies;

/// Width of a slot in microseconds.
pub const SLOT_US: u64 = 100_000;
/// Slots at most: ten minutes, twice what 3 M devices take at FCM's default quota. Later answers are counted together.
pub const SLOTS_MAX: usize = 6_000;

/// Accepted answers by slot of 100 ms, from the press.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curve {
    /// Answers of each slot; the last is never zero.
    slots: Vec<u32>,
    /// Answers after the last slot there may be.
    later: u64,
}

impl Curve {
    /// The curve of `latencies`. A bucket that spans several slots is spread evenly over them, so below 12.8 s no answer
    /// is further than a slot from where it belongs.
    pub fn of(latencies: &Latencies) -> Self {
        let mut curve = Self::default();
        latencies.ranges().for_each(|(lowest, highest, n)| curve.spread(lowest, highest, n));
        curve
    }

    /// Counts one answer.
    pub fn record(&mut self, us: u64) {
        self.add(us / SLOT_US, 1);
    }

    fn spread(&mut self, lowest: u64, highest: u64, n: u64) {
        let end_us = SLOTS_MAX as u64 * SLOT_US;
        if lowest >= end_us {
            self.later = self.later.saturating_add(n);
            return;
        }
        let highest = highest.min(end_us);
        let width = u128::from(highest - lowest) + 1;
        let mut told = 0;
        for slot in lowest / SLOT_US..=highest / SLOT_US {
            let end = ((slot + 1) * SLOT_US).min(highest + 1);
            let until = (u128::from(n) * u128::from(end - lowest) / width) as u64;
            self.add(slot, until - told);
            told = until;
        }
    }

    fn add(&mut self, slot: u64, n: u64) {
        if n == 0 {
            return;
        }
        let Some(slot) = usize::try_from(slot).ok().filter(|slot| *slot < SLOTS_MAX) else {
            self.later = self.later.saturating_add(n);
            return;
        };
        if slot >= self.slots.len() {
            self.slots.resize(slot + 1, 0);
        }
        self.slots[slot] = self.slots[slot].saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
    }

    /// Counts what `other` counted.
    pub fn merge(&mut self, other: &Curve) {
        for (slot, n) in other.slots.iter().enumerate() {
            self.add(slot as u64, u64::from(*n));
        }
        self.later = self.later.saturating_add(other.later);
    }

    /// Answers of each slot of 100 ms, from the press; the last is not zero.
    pub fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// Answers later than ten minutes.
    pub const fn later(&self) -> u64 {
        self.later
    }

    /// All answers.
    pub fn count(&self) -> u64 {
        self.slots.iter().map(|n| u64::from(*n)).fold(self.later, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(list: &[u64]) -> Curve {
        let mut curve = Curve::default();
        list.iter().for_each(|us| curve.record(*us));
        curve
    }

    fn merged(a: &Curve, b: &Curve) -> Curve {
        let mut merged = a.clone();
        merged.merge(b);
        merged
    }

    fn list() -> impl Strategy<Value = Vec<u64>> {
        let us = prop_oneof![4 => 0_u64..6_000_000, 1 => 0_u64..900_000_000];
        proptest::collection::vec(us, 0..100)
    }

    proptest! {
        #[test]
        fn merging_is_commutative_and_associative(a in list(), b in list(), c in list()) {
            let (a, b, c) = (of(&a), of(&b), of(&c));
            prop_assert_eq!(merged(&a, &b), merged(&b, &a));
            prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        }

        #[test]
        fn the_curve_of_latencies_is_the_recorded_one_give_or_take_a_slot(list in list()) {
            let mut latencies = Latencies::default();
            list.iter().for_each(|us| latencies.record(*us));
            let (derived, recorded) = (Curve::of(&latencies), of(&list));
            prop_assert_eq!(derived.count(), recorded.count());
            let until = |curve: &Curve, slot: usize| -> u64 {
                curve.slots().iter().take(slot).map(|n| u64::from(*n)).sum()
            };
            for slot in 1..60 {
                prop_assert!(until(&derived, slot) >= until(&recorded, slot - 1));
                prop_assert!(until(&derived, slot) <= until(&recorded, slot + 1));
            }
        }
    }

    #[test]
    fn answers_after_ten_minutes_are_counted_together() {
        let curve = of(&[0, 99_999, 100_000, 600_000_000, u64::MAX]);
        assert_eq!((curve.slots(), curve.later()), (&[2, 1][..], 2));
        let mut latencies = Latencies::default();
        latencies.record(u64::MAX);
        assert_eq!(Curve::of(&latencies).later(), 1);
    }
}
