//! What always holds, judged from figures: what a report, a test or the demo names when it does not.

use serde::{Deserialize, Serialize};

/// The invariants of the service, by their names in the architecture document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Invariant {
    /// One live launch per wave, for ever.
    I1,
    /// Conservation: every device of the wave in exactly one class.
    I2,
    /// Nobody twice, except devices marked *resent*.
    I3,
    /// An abort stops.
    I4,
    /// Nothing untested goes.
    I5,
    /// Every change has an actor, a time and the hash before it.
    I6,
    /// A crash loses nothing.
    I7,
    /// A rehearsal cannot reach a phone.
    I8,
}

impl Invariant {
    /// `I1` to `I8`.
    pub const fn name(self) -> &'static str {
        match self {
            Invariant::I1 => "I1",
            Invariant::I2 => "I2",
            Invariant::I3 => "I3",
            Invariant::I4 => "I4",
            Invariant::I5 => "I5",
            Invariant::I6 => "I6",
            Invariant::I7 => "I7",
            Invariant::I8 => "I8",
        }
    }

    /// What it promises, in a few words.
    pub const fn promise(self) -> &'static str {
        match self {
            Invariant::I1 => "one live launch per wave",
            Invariant::I2 => "every device in exactly one class",
            Invariant::I3 => "nobody twice, except the resent",
            Invariant::I4 => "an abort stops",
            Invariant::I5 => "nothing untested goes",
            Invariant::I6 => "every change has an actor",
            Invariant::I7 => "a crash loses nothing",
            Invariant::I8 => "a rehearsal cannot reach a phone",
        }
    }
}

/// A finding that an invariant does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokenInvariant {
    /// Which.
    pub invariant: Invariant,
    /// What was found, with the figures.
    pub detail: String,
}

impl BrokenInvariant {
    /// A finding.
    pub fn new(invariant: Invariant, detail: impl Into<String>) -> Self {
        Self { invariant, detail: detail.into() }
    }
}

impl std::fmt::Display for BrokenInvariant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}): {}", self.invariant.name(), self.invariant.promise(), self.detail)
    }
}

/// Findings, at most so many of them kept and all of them counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Findings {
    /// The first of them.
    pub kept: Vec<BrokenInvariant>,
    /// How many more there were.
    pub more: u64,
}

/// Findings kept: enough to see what is wrong, few enough to read.
pub const FINDINGS_KEPT_MAX: usize = 50;

impl Findings {
    /// Adds one.
    pub fn add(&mut self, invariant: Invariant, detail: impl FnOnce() -> String) {
        if self.kept.len() < FINDINGS_KEPT_MAX {
            self.kept.push(BrokenInvariant::new(invariant, detail()));
        } else {
            self.more += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_beyond_the_bound_are_counted() {
        let mut findings = Findings::default();
        (0..FINDINGS_KEPT_MAX + 3).for_each(|shard| findings.add(Invariant::I2, || format!("shard {shard}")));
        assert_eq!((findings.kept.len(), findings.more), (FINDINGS_KEPT_MAX, 3));
        assert_eq!(findings.kept[0].to_string(), "I2 (every device in exactly one class): shard 0");
    }
}
