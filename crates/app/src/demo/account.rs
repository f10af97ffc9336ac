//! Two independent accounts of the same burst, compared device by device: what the service's records say, and what
//! the simulators received.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use anyhow::{Context, Result};
use model::Class;
use provider_sim::{Fingerprint, KeyCount};
use report::{BrokenInvariant, Invariant};
use serde::{Deserialize, Serialize};

use super::population::Population;

/// A line of the outcome export, as far as the comparison needs it.
#[derive(Deserialize)]
struct ExportRow<'a> {
    #[serde(borrow)]
    key_hash: &'a str,
    outcome: Class,
    resent: bool,
}

/// What the records say of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Recorded {
    outcome: Class,
    resent: bool,
}

type Places = HashMap<u128, u32, BuildHasherDefault<DigestHasher>>;

/// For keys that are digests already: any part of one is as good a hash as there is.
#[derive(Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
    }

    fn write_u128(&mut self, digest: u128) {
        self.0 = digest as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Every device of the population with what the records say of it.
pub(crate) struct Records {
    /// By the first 16 bytes of the key's BLAKE3 digest: the place in `devices`.
    places: Places,
    /// Fingerprint by the simulators' rule, and what was recorded.
    devices: Vec<(Fingerprint, Option<Recorded>)>,
    /// Lines that name no device of the population, or one for the second time.
    foreign: u64,
}

impl Records {
    /// Nothing recorded yet.
    pub(crate) fn new(population: Population) -> Result<Self> {
        let number = usize::try_from(population.devices)?;
        let places = Places::with_capacity_and_hasher(number, BuildHasherDefault::default());
        let mut records = Self { places, devices: Vec::with_capacity(number), foreign: 0 };
        for (place, device) in population.devices().enumerate() {
            let fingerprint = Fingerprint::of_key(device.platform, &device.key).context("a key is no key")?;
            records.places.insert(key_digest(&device.key), u32::try_from(place)?);
            records.devices.push((fingerprint, None));
        }
        Ok(records)
    }

    /// Takes one line of the outcome export.
    pub(crate) fn take(&mut self, line: &[u8]) -> Result<()> {
        let row: ExportRow<'_> = serde_json::from_slice(line).context("a line of the outcome export")?;
        let digest = u128::from_str_radix(row.key_hash, 16).context("key_hash is no hex")?;
        let slot = self.places.get(&digest).and_then(|place| self.devices.get_mut(*place as usize));
        match slot {
            Some((_, recorded @ None)) => {
                *recorded = Some(Recorded { outcome: row.outcome, resent: row.resent });
            }
            _ => self.foreign += 1,
        }
        Ok(())
    }

    /// Compares with what the simulators received. With late retries a device that was turned away for a while gets a
    /// second request by right: then only requests count on which a simulator acted.
    pub(crate) fn compare(mut self, received: &[KeyCount], has_late_retries: bool) -> Comparison {
        self.places = Places::default();
        self.devices.sort_unstable_by_key(|(fingerprint, _)| *fingerprint);
        let mut arrived: Vec<&KeyCount> = received.iter().collect();
        arrived.sort_unstable_by_key(|count| count.key);
        let mut comparison = Comparison { foreign_rows: self.foreign, ..Comparison::default() };
        let mut arrivals = arrived.into_iter().peekable();
        for (fingerprint, recorded) in self.devices {
            while arrivals.next_if(|count| count.key < fingerprint).is_some() {
                comparison.strangers += 1;
            }
            let count =
                arrivals.next_if(|count| count.key == fingerprint).map_or_else(Count::default, |count| {
                    Count {
                        is_received: count.received > 0,
                        is_twice: if has_late_retries { count.processed > 1 } else { count.received > 1 },
                        is_accepted: count.accepted > 0,
                    }
                });
            comparison.judge(recorded, count);
        }
        comparison.strangers += arrivals.count() as u64;
        comparison
    }
}

/// What a simulator says of one device.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    is_received: bool,
    is_twice: bool,
    is_accepted: bool,
}

/// The first 16 bytes of the BLAKE3 digest of a key's text: how an export names a device without its key.
fn key_digest(key: &str) -> u128 {
    let digest = model::Digest::of(key.as_bytes());
    let (first, _) = digest.0.split_first_chunk().expect("a digest has more than 16 bytes");
    u128::from_be_bytes(*first)
}

/// Where the accounts agree and differ, in devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Comparison {
    /// Received at least once.
    pub(crate) received: u64,
    /// Received more than once.
    pub(crate) received_twice: u64,
    /// Received more than once and not marked *resent*.
    pub(crate) twice_unmarked: u64,
    /// Marked *resent* in the records.
    pub(crate) resent: u64,
    /// By class, in the order of [`Class::ALL`].
    pub(crate) classes: [u64; Class::ALL.len()],
    /// No line in the export.
    pub(crate) unrecorded: u64,
    /// Recorded as accepted, but no request was accepted.
    pub(crate) accepted_not_received: u64,
    /// Recorded as rejected, but no request arrived, or the only one was accepted.
    pub(crate) rejected_otherwise: u64,
    /// Recorded as not sent, expired or suppressed, but a request arrived.
    pub(crate) unsent_received: u64,
    /// Keys received that the population does not have.
    pub(crate) strangers: u64,
    /// Lines of the export for no device, or the second for one.
    pub(crate) foreign_rows: u64,
}

impl Comparison {
    fn judge(&mut self, recorded: Option<Recorded>, count: Count) {
        self.received += u64::from(count.is_received);
        self.received_twice += u64::from(count.is_twice);
        let Some(Recorded { outcome, resent }) = recorded else {
            self.unrecorded += 1;
            self.twice_unmarked += u64::from(count.is_twice);
            return;
        };
        self.resent += u64::from(resent);
        if let Some(place) = Class::ALL.iter().position(|class| *class == outcome) {
            self.classes[place] += 1;
        }
        self.twice_unmarked += u64::from(count.is_twice && !resent);
        match outcome {
            Class::Accepted => self.accepted_not_received += u64::from(!count.is_accepted),
            // Of two requests the first may have been accepted and its answer lost.
            Class::Rejected => {
                self.rejected_otherwise += u64::from(!count.is_received || count.is_accepted && !resent);
            }
            Class::Expired | Class::Suppressed | Class::NotSent => {
                self.unsent_received += u64::from(count.is_received);
            }
            // Whatever happened to it, nobody knows: that is what the word says.
            Class::Unknown => {}
        }
    }

    /// Devices whose recorded outcome is of this class.
    pub(crate) fn outcomes(&self, class: Class) -> u64 {
        Class::ALL.iter().zip(self.classes).find(|(one, _)| **one == class).map_or(0, |(_, devices)| devices)
    }

    /// Which invariants the difference breaks, each with its figures.
    pub(crate) fn broken(&self) -> Vec<BrokenInvariant> {
        use Invariant::{I2, I3};
        let findings = [
            (self.unrecorded, I2, "devices have no outcome"),
            (self.foreign_rows, I2, "outcomes are of no device, or of one that has another"),
            (self.accepted_not_received, I2, "devices are recorded as accepted but were not received"),
            (
                self.rejected_otherwise,
                I2,
                "devices are recorded as rejected but were not received, or were accepted",
            ),
            (self.unsent_received, I2, "devices are recorded as never sent but were received"),
            (self.strangers, I2, "received keys are nobody's"),
            (self.twice_unmarked, I3, "devices received two requests and are not marked resent"),
        ];
        let found = findings.into_iter().filter(|(count, ..)| *count > 0);
        found
            .map(|(count, invariant, what)| BrokenInvariant::new(invariant, format!("{count} {what}")))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Timestamp;

    const PEOPLE: Population = Population { seed: 1, devices: 4, registered_at: Timestamp(0), only: None };

    fn accounts(outcome: &str, resent: bool, received: u16, accepted: u16) -> Comparison {
        let mut records = Records::new(PEOPLE).unwrap();
        let mut counts = Vec::new();
        for device in PEOPLE.devices() {
            let digest = key_digest(&device.key);
            let line = format!(
                "{{\"key_hash\":\"{digest:032x}\",\"outcome\":\"{outcome}\",\"resent\":{resent},\"user\":\"u\"}}"
            );
            records.take(line.as_bytes()).unwrap();
            let key = Fingerprint::of_key(device.platform, &device.key).unwrap();
            counts.push(KeyCount { key, received, processed: received, accepted, refused: 0 });
        }
        counts.reverse();
        counts.retain(|count| count.received > 0);
        records.compare(&counts, false)
    }

    #[test]
    fn accounts_that_agree_break_nothing() {
        for (outcome, resent, received, accepted) in [
            ("accepted", false, 1, 1),
            ("accepted", true, 2, 2),
            ("rejected", false, 1, 0),
            ("rejected", true, 2, 1),
            ("not_sent", false, 0, 0),
            ("unknown", false, 1, 1),
            ("unknown", false, 0, 0),
        ] {
            let comparison = accounts(outcome, resent, received, accepted);
            assert_eq!(comparison.broken(), [], "{outcome}");
        }
    }

    #[test]
    fn a_hidden_arrival_breaks_conservation() {
        assert_eq!(accounts("accepted", false, 0, 0).broken()[0].invariant, Invariant::I2);
        assert_eq!(accounts("rejected", false, 0, 0).broken()[0].invariant, Invariant::I2);
        assert_eq!(accounts("not_sent", false, 1, 1).broken()[0].invariant, Invariant::I2);
    }

    #[test]
    fn a_second_arrival_that_is_not_marked_breaks_nobody_twice() {
        let broken = accounts("accepted", false, 2, 2).broken();
        let detail = "4 devices received two requests and are not marked resent";
        assert_eq!(broken, [BrokenInvariant::new(Invariant::I3, detail)]);
    }

    #[test]
    fn a_late_retry_is_no_second_request_when_the_first_was_turned_away() {
        let records = || {
            let mut records = Records::new(PEOPLE).unwrap();
            for device in PEOPLE.devices() {
                let digest = key_digest(&device.key);
                let line =
                    format!("{{\"key_hash\":\"{digest:032x}\",\"outcome\":\"accepted\",\"resent\":false}}");
                records.take(line.as_bytes()).unwrap();
            }
            records
        };
        let counts: Vec<_> = PEOPLE
            .devices()
            .map(|device| Fingerprint::of_key(device.platform, &device.key).unwrap())
            .map(|key| KeyCount { key, received: 2, processed: 1, accepted: 1, refused: 0 })
            .collect();
        assert_eq!(records().compare(&counts, true).broken(), []);
        assert_eq!(records().compare(&counts, false).broken()[0].invariant, Invariant::I3);
    }

    #[test]
    fn strangers_and_missing_devices_are_noticed() {
        let stranger = KeyCount {
            key: Fingerprint::from_bits(7 << 4),
            received: 1,
            processed: 1,
            accepted: 1,
            refused: 0,
        };
        let comparison = Records::new(PEOPLE).unwrap().compare(&[stranger], false);
        assert_eq!((comparison.strangers, comparison.unrecorded), (1, 4));
        assert_eq!(comparison.broken().len(), 2);
    }
}
