//! How many devices had which outcome.

use model::{Class, Outcome, OutcomeRuns, Reason};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Devices by class, reason and *resent*. Adding to an outcome already met is a search through the few that occur,
/// the most telling first: accepted ones are found at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By falling code, none of them zero.
    rows: Vec<(Outcome, u64)>,
}

impl Tally {
    /// Counts `devices` more.
    pub fn add(&mut self, outcome: Outcome, devices: u64) {
        if devices == 0 {
            return;
        }
        let place = self.rows.iter().position(|(known, _)| known.code() <= outcome.code());
        match place {
            Some(at) if self.rows[at].0 == outcome => {
                self.rows[at].1 = self.rows[at].1.saturating_add(devices);
            }
            Some(at) => self.rows.insert(at, (outcome, devices)),
            None => self.rows.push((outcome, devices)),
        }
    }

    /// Counts the devices of a shard.
    pub fn add_runs(&mut self, runs: &OutcomeRuns) {
        runs.runs().for_each(|(outcome, devices)| self.add(outcome, u64::from(devices)));
    }

    /// Counts what `other` counted.
    pub fn merge(&mut self, other: &Tally) {
        other.rows().for_each(|(outcome, devices)| self.add(outcome, devices));
    }

    /// Each outcome that occurs and its devices; accepted first, then in the order of falling codes.
    pub fn rows(&self) -> impl Iterator<Item = (Outcome, u64)> + '_ {
        self.rows.iter().copied()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All devices.
    pub fn devices(&self) -> u64 {
        sum(self.rows().map(|(_, devices)| devices))
    }

    /// Devices of one class.
    pub fn of(&self, class: Class) -> u64 {
        sum(self.rows().filter(|(outcome, _)| outcome.class() == class).map(|(_, devices)| devices))
    }

    /// Devices marked *resent*, in whatever class.
    pub fn resent(&self) -> u64 {
        sum(self.rows().filter(|(outcome, _)| outcome.is_resent()).map(|(_, devices)| devices))
    }

    /// Devices by class.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.rows().for_each(|(outcome, devices)| counts.add(outcome, devices));
        counts
    }

    /// Devices of a class by reason, the most frequent first, *resent* or not.
    pub fn reasons(&self, class: Class) -> Vec<(Reason, u64)> {
        let mut reasons: Vec<(Reason, u64)> = Vec::new();
        for (outcome, devices) in self.rows().filter(|(outcome, _)| outcome.class() == class) {
            match reasons.iter_mut().find(|(reason, _)| *reason == outcome.reason()) {
                Some((_, known)) => *known = known.saturating_add(devices),
                None => reasons.push((outcome.reason(), devices)),
            }
        }
        reasons.sort_by_key(|&(reason, devices)| (std::cmp::Reverse(devices), reason));
        reasons
    }

    /// The same devices in at most `rows_max` + 12 rows: the rarest rows lose their reason, never their class or mark.
    #[must_use]
    pub(crate) fn folded(&self, rows_max: usize) -> Tally {
        let mut by_size = self.rows.clone();
        by_size.sort_by_key(|&(outcome, devices)| (std::cmp::Reverse(devices), outcome.code()));
        let mut folded = Tally::default();
        for (index, (outcome, devices)) in by_size.into_iter().enumerate() {
            let blunt = Outcome::new(outcome.class(), Reason::None).with_resent(outcome.is_resent());
            folded.add(if index < rows_max { outcome } else { blunt }, devices);
        }
        folded
    }
}

fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

/// A row of a tally in JSON.
#[derive(Serialize, Deserialize)]
struct Row {
    class: Class,
    reason: Reason,
    is_resent: bool,
    devices: u64,
}

impl Serialize for Tally {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.rows().map(|(outcome, devices)| Row {
            class: outcome.class(),
            reason: outcome.reason(),
            is_resent: outcome.is_resent(),
            devices,
        }))
    }
}

impl<'de> Deserialize<'de> for Tally {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut tally = Tally::default();
        for row in Vec::<Row>::deserialize(deserializer)? {
            tally.add(Outcome::new(row.class, row.reason).with_resent(row.is_resent), row.devices);
        }
        Ok(tally)
    }
}

/// Devices by class; the six classes add up to `devices`, *resent* cuts across them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// All of them.
    pub devices: u64,
    /// The provider said yes.
    pub accepted: u64,
    /// The provider said no.
    pub rejected: u64,
    /// The launch's not-after had passed.
    pub expired: u64,
    /// On the late list.
    pub suppressed: u64,
    /// No request for it reached the provider.
    pub not_sent: u64,
    /// A request left and was never answered.
    pub unknown: u64,
    /// An earlier attempt may have arrived.
    pub resent: u64,
}

impl Counts {
    /// Counts `devices` more.
    pub fn add(&mut self, outcome: Outcome, devices: u64) {
        let class = self.of_mut(outcome.class());
        *class = class.saturating_add(devices);
        self.devices = self.devices.saturating_add(devices);
        if outcome.is_resent() {
            self.resent = self.resent.saturating_add(devices);
        }
    }

    /// Counts what `other` counted.
    pub fn merge(&mut self, other: &Counts) {
        for class in Class::ALL {
            let ours = self.of_mut(class);
            *ours = ours.saturating_add(other.of(class));
        }
        self.devices = self.devices.saturating_add(other.devices);
        self.resent = self.resent.saturating_add(other.resent);
    }

    /// Devices of one class.
    pub const fn of(&self, class: Class) -> u64 {
        match class {
            Class::Accepted => self.accepted,
            Class::Rejected => self.rejected,
            Class::Expired => self.expired,
            Class::Suppressed => self.suppressed,
            Class::NotSent => self.not_sent,
            Class::Unknown => self.unknown,
        }
    }

    pub(crate) const fn of_mut(&mut self, class: Class) -> &mut u64 {
        match class {
            Class::Accepted => &mut self.accepted,
            Class::Rejected => &mut self.rejected,
            Class::Expired => &mut self.expired,
            Class::Suppressed => &mut self.suppressed,
            Class::NotSent => &mut self.not_sent,
            Class::Unknown => &mut self.unknown,
        }
    }

    /// Whether the six classes add up to `devices`.
    pub fn is_conserved(&self) -> bool {
        sum(Class::ALL.iter().map(|&class| self.of(class))) == self.devices
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn any_outcome() -> impl Strategy<Value = Outcome> {
        let class = proptest::sample::select(Class::ALL.to_vec());
        let reason = proptest::sample::select(Reason::ALL.to_vec());
        (class, reason, any::<bool>())
            .prop_map(|(class, reason, is_resent)| Outcome::new(class, reason).with_resent(is_resent))
    }

    pub(crate) fn any_tally() -> impl Strategy<Value = Tally> {
        proptest::collection::vec((any_outcome(), 0_u64..1_000), 0..40).prop_map(|rows| {
            let mut tally = Tally::default();
            rows.into_iter().for_each(|(outcome, devices)| tally.add(outcome, devices));
            tally
        })
    }

    fn merged(a: &Tally, b: &Tally) -> Tally {
        let mut merged = a.clone();
        merged.merge(b);
        merged
    }

    proptest! {
        #[test]
        fn merging_tallies_is_commutative_and_associative(a in any_tally(), b in any_tally(), c in any_tally()) {
            prop_assert_eq!(merged(&a, &b), merged(&b, &a));
            prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
            prop_assert_eq!(merged(&a, &b).devices(), a.devices() + b.devices());
        }

        #[test]
        fn classes_add_up_and_agree_with_the_rows(a in any_tally(), b in any_tally()) {
            let mut counts = a.counts();
            prop_assert!(counts.is_conserved());
            prop_assert_eq!(counts.resent, a.resent());
            for class in Class::ALL {
                prop_assert_eq!(counts.of(class), a.of(class));
                let by_reason: u64 = a.reasons(class).iter().map(|(_, devices)| devices).sum();
                prop_assert_eq!(by_reason, a.of(class));
            }
            counts.merge(&b.counts());
            prop_assert_eq!(counts, merged(&a, &b).counts());
        }

        #[test]
        fn a_tally_reads_back_from_json(tally in any_tally()) {
            let json = serde_json::to_string(&tally).unwrap();
            prop_assert_eq!(serde_json::from_str::<Tally>(&json).unwrap(), tally);
        }

        #[test]
        fn folding_keeps_classes_and_marks(tally in any_tally(), rows_max in 0_usize..9) {
            let folded = tally.folded(rows_max);
            prop_assert_eq!(folded.counts(), tally.counts());
            prop_assert!(folded.rows().count() <= rows_max + 12);
        }
    }

    #[test]
    fn json_of_a_row_is_for_people() {
        let mut tally = Tally::default();
        tally.add(Outcome::new(Class::Rejected, Reason::Unregistered).resent(), 3);
        let json = r#"[{"class":"rejected","reason":"Unregistered","is_resent":true,"devices":3}]"#;
        assert_eq!(serde_json::to_string(&tally).unwrap(), json);
    }
}
