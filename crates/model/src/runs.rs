//! The outcomes of a shard's devices in order, run-length coded: usually under a kilobyte for 2,000 devices.

use crate::outcome::Outcome;

/// Outcomes of consecutive devices as bytes: per run the outcome's code (u16, little endian) and the run's length
/// (LEB128).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutcomeRuns {
    bytes: Vec<u8>,
    devices: u32,
}

/// Bytes that are not a run-length coded list of outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("outcome runs are damaged at byte {at}")]
pub struct RunsError {
    at: usize,
}

impl OutcomeRuns {
    /// Codes `outcomes`, one per device.
    pub fn encode(outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        let mut runs = Self::default();
        let mut open: Option<(Outcome, u32)> = None;
        for outcome in outcomes {
            open = match open {
                Some((same, length)) if same == outcome => Some((same, length + 1)),
                other => {
                    runs.close(other);
                    Some((outcome, 1))
                }
            };
        }
        runs.close(open);
        runs
    }

    /// All `devices` of a shard with the same outcome.
    pub fn uniform(outcome: Outcome, devices: u32) -> Self {
        let mut runs = Self::default();
        runs.close((devices > 0).then_some((outcome, devices)));
        runs
    }

    fn close(&mut self, run: Option<(Outcome, u32)>) {
        let Some((outcome, length)) = run else { return };
        self.bytes.extend_from_slice(&outcome.code().to_le_bytes());
        let mut rest = length;
        while rest >= 0x80 {
            self.bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.bytes.push(rest as u8);
        self.devices += length;
    }

    /// Reads stored bytes, checking every code and length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RunsError> {
        let mut at = 0;
        let mut devices: u32 = 0;
        while at < bytes.len() {
            let (_, length, next) = read_run(bytes, at).ok_or(RunsError { at })?;
            devices = devices.checked_add(length).ok_or(RunsError { at })?;
            at = next;
        }
        Ok(Self { bytes: bytes.to_vec(), devices })
    }

    /// The stored form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of devices.
    pub const fn devices(&self) -> u32 {
        self.devices
    }

    /// Each run: outcome and number of devices.
    pub fn runs(&self) -> impl Iterator<Item = (Outcome, u32)> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let (outcome, length, next) = read_run(&self.bytes, at)?;
            at = next;
            Some((outcome, length))
        })
    }

    /// Each device's outcome, in order.
    pub fn iter(&self) -> impl Iterator<Item = Outcome> + '_ {
        self.runs().flat_map(|(outcome, length)| std::iter::repeat_n(outcome, length as usize))
    }

    /// Device by device what is known of two records of the same shard; see [`Outcome::join`]. Records of different
    /// length are not of the same shard: the longer one's tail stays as it is.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        if self == other {
            return self.clone();
        }
        let (mut ours, mut theirs) = (self.iter(), other.iter());
        Self::encode(std::iter::from_fn(|| match (ours.next(), theirs.next()) {
            (Some(a), Some(b)) => Some(a.join(b)),
            (a, b) => a.or(b),
        }))
    }
}

fn read_run(bytes: &[u8], at: usize) -> Option<(Outcome, u32, usize)> {
    let code = u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]);
    let outcome = Outcome::from_code(code)?;
    let mut length: u32 = 0;
    for (index, byte) in bytes.get(at + 2..)?.iter().take(5).enumerate() {
        let bits = u32::from(byte & 0x7f);
        length |= bits.checked_shl(7 * index as u32).filter(|shifted| shifted >> (7 * index) == bits)?;
        if byte & 0x80 == 0 {
            return (length > 0).then_some((outcome, length, at + 3 + index));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Class, Reason};
    use proptest::prelude::*;

    fn outcomes() -> impl Strategy<Value = Vec<Outcome>> {
        let outcome = prop_oneof![
            5 => Just(Outcome::ACCEPTED),
            1 => Just(Outcome::new(Class::Rejected, Reason::Unregistered)),
            1 => Just(Outcome::new(Class::Unknown, Reason::TimedOut).resent()),
        ];
        proptest::collection::vec(outcome, 0..400)
    }

    proptest! {
        #[test]
        fn runs_give_back_what_was_coded(list in outcomes()) {
            let runs = OutcomeRuns::encode(list.iter().copied());
            let read = OutcomeRuns::from_bytes(runs.as_bytes()).unwrap();
            prop_assert_eq!(read.devices() as usize, list.len());
            prop_assert_eq!(read.iter().collect::<Vec<_>>(), list);
        }

        #[test]
        fn rubbish_is_an_error_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(runs) = OutcomeRuns::from_bytes(&bytes) {
                prop_assert_eq!(runs.runs().map(|(_, length)| length).sum::<u32>(), runs.devices());
            }
        }

        #[test]
        fn joining_is_commutative_and_idempotent(a in outcomes(), b in outcomes()) {
            let (a, b) = (OutcomeRuns::encode(a), OutcomeRuns::encode(b));
            prop_assert_eq!(a.join(&b), b.join(&a));
            prop_assert_eq!(a.join(&b).join(&b), a.join(&b));
        }
    }

    #[test]
    fn a_shard_of_one_outcome_is_a_few_bytes() {
        assert_eq!(OutcomeRuns::uniform(Outcome::ACCEPTED, 2_000).as_bytes().len(), 4);
    }
}
