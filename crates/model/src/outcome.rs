//! What happened to a device in a launch: data, never an error.

use serde::{Deserialize, Serialize};

use crate::reason::Reason;

/// The six classes; every device of a wave ends in exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Class {
    /// No request for it reached the provider.
    NotSent = 0,
    /// The launch's not-after had passed.
    Expired = 1,
    /// It was on the late list.
    Suppressed = 2,
    /// A request left and was never answered.
    Unknown = 3,
    /// The provider said no.
    Rejected = 4,
    /// The provider said yes.
    Accepted = 5,
}

impl Class {
    /// In the order in which tables show them.
    pub const ALL: [Class; 6] =
        [Class::Accepted, Class::Rejected, Class::Expired, Class::Suppressed, Class::NotSent, Class::Unknown];

    /// `accepted`, `rejected`, `expired`, `suppressed`, `not_sent` or `unknown`.
    pub const fn name(self) -> &'static str {
        match self {
            Class::NotSent => "not_sent",
            Class::Expired => "expired",
            Class::Suppressed => "suppressed",
            Class::Unknown => "unknown",
            Class::Rejected => "rejected",
            Class::Accepted => "accepted",
        }
    }

    const fn from_code(code: u16) -> Option<Class> {
        Some(match code {
            0 => Class::NotSent,
            1 => Class::Expired,
            2 => Class::Suppressed,
            3 => Class::Unknown,
            4 => Class::Rejected,
            5 => Class::Accepted,
            _ => return None,
        })
    }
}

/// Class, reason, and whether an earlier attempt may have arrived. Two bytes: class in bits 13 to 15, *resent* in bit
/// 12, the reason's code below.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Outcome(u16);

const RESENT: u16 = 1 << 12;
const REASON_MASK: u16 = RESENT - 1;

impl Outcome {
    /// Accepted at the first attempt.
    pub const ACCEPTED: Outcome = Outcome::new(Class::Accepted, Reason::None);

    /// An outcome of the first attempt.
    pub const fn new(class: Class, reason: Reason) -> Self {
        Self((class as u16) << 13 | reason.code())
    }

    /// The same, marked *resent*: an earlier attempt may have arrived.
    #[must_use]
    pub const fn resent(self) -> Self {
        Self(self.0 | RESENT)
    }

    /// The same with the mark as given.
    #[must_use]
    pub const fn with_resent(self, is_resent: bool) -> Self {
        if is_resent { self.resent() } else { Self(self.0 & !RESENT) }
    }

    /// Class.
    pub fn class(self) -> Class {
        Class::from_code(self.0 >> 13).expect("every way to make an outcome checks its class")
    }

    /// Reason; `Reason::None` when the class says it all.
    pub fn reason(self) -> Reason {
        Reason::from_code(self.0 & REASON_MASK).expect("every way to make an outcome checks its reason")
    }

    /// Whether an earlier attempt may have arrived.
    pub const fn is_resent(self) -> bool {
        self.0 & RESENT != 0
    }

    /// Whether a late retry may still change it.
    pub fn is_transient(self) -> bool {
        matches!(self.class(), Class::Rejected | Class::NotSent) && self.reason().is_transient()
    }

    /// The stored form.
    pub const fn code(self) -> u16 {
        self.0
    }

    /// From the stored form; `None` for a code that nobody writes.
    pub fn from_code(code: u16) -> Option<Self> {
        let is_known =
            Class::from_code(code >> 13).is_some() && Reason::from_code(code & REASON_MASK).is_some();
        is_known.then_some(Self(code))
    }

    /// What is known of a device when two attempts are put together: the more telling class wins, a final rejection
    /// over a transient one, silence over the loss of a worker, *resent* stays. Commutative, associative and idempotent.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let is_resent = self.is_resent() || other.is_resent();
        let rank = |outcome: Self| {
            // That a request left is known of silence, and not of a worker that was lost.
            let is_supposed = outcome.class() == Class::Unknown
                && matches!(outcome.reason(), Reason::WorkerLost | Reason::AttemptsExhausted);
            (outcome.class(), !is_supposed, !outcome.is_transient(), outcome.0 & REASON_MASK)
        };
        let known = if rank(self) >= rank(other) { self } else { other };
        known.with_resent(is_resent)
    }
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let resent = if self.is_resent() { ", resent" } else { "" };
        write!(f, "{}({}{resent})", self.class().name(), self.reason())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_outcome() -> impl Strategy<Value = Outcome> {
        (0_u16..6, 0..Reason::ALL.len(), any::<bool>()).prop_map(|(class, reason, is_resent)| {
            let class = Class::from_code(class).unwrap();
            Outcome::new(class, Reason::ALL[reason]).with_resent(is_resent)
        })
    }

    proptest! {
        #[test]
        fn joining_is_commutative_associative_and_idempotent(
            a in any_outcome(), b in any_outcome(), c in any_outcome()
        ) {
            prop_assert_eq!(a.join(b), b.join(a));
            prop_assert_eq!(a.join(b).join(c), a.join(b.join(c)));
            prop_assert_eq!(a.join(a), a);
        }

        #[test]
        fn a_code_reads_back(outcome in any_outcome()) {
            prop_assert_eq!(Outcome::from_code(outcome.code()), Some(outcome));
        }
    }

    #[test]
    fn silence_tells_more_than_the_loss_of_a_worker() {
        let silence = Outcome::new(Class::Unknown, Reason::TimedOut);
        for lost in [Reason::WorkerLost, Reason::AttemptsExhausted] {
            let lost = Outcome::new(Class::Unknown, lost);
            assert_eq!((silence.join(lost), lost.join(silence)), (silence, silence));
        }
    }

    #[test]
    fn an_answer_tells_more_than_silence() {
        let unknown = Outcome::new(Class::Unknown, Reason::WorkerLost).resent();
        assert_eq!(unknown.join(Outcome::ACCEPTED), Outcome::ACCEPTED.resent());
    }

    #[test]
    fn codes_nobody_writes_are_refused() {
        assert_eq!(Outcome::from_code(7 << 13), None);
        assert_eq!(Outcome::from_code(REASON_MASK), None);
    }
}
