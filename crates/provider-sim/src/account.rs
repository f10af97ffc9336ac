//! Brings the ledgers of all threads together: totals, and how often each device key arrived. Runs when somebody
//! asks, on the thread that asks.

use std::io::{self, Write};

use hdrhistogram::Histogram;
use model::Platform;
use model::time::Timestamp;

use crate::fingerprint::Fingerprint;
use crate::ledger::{CURVE_STEP_US, Counts, Ledger, bits};
use crate::report::{Connections, KeyCount, Latencies, Report, Stats};

/// Every request of every thread, sorted by key: fingerprint and outcome bits in one number each.
#[derive(Debug)]
pub(crate) struct Account {
    entries: Vec<u128>,
}

impl Account {
    /// Sorts what the ledgers hold. `miscount` > 0 leaves out as many arrivals, < 0 counts as many twice.
    pub(crate) fn of(ledgers: &[Ledger], miscount: i64) -> Self {
        let mut entries = Vec::with_capacity(ledgers.iter().map(Ledger::len).sum());
        entries.extend(ledgers.iter().flat_map(Ledger::entries));
        entries.sort_unstable();
        let mut account = Self { entries };
        if miscount != 0 {
            account.falsify(miscount);
        }
        account
    }

    /// Chooses among keys that came once, were accepted and answered. Of any other a request more or less could be
    /// explained: it was refused and sent again, or its answer was lost.
    fn falsify(&mut self, miscount: i64) {
        let many = usize::try_from(miscount.unsigned_abs()).unwrap_or(usize::MAX);
        let plain = self.entries.chunk_by(is_same_key).filter_map(|requests| match requests {
            [only] if only & bits::ALL == bits::ALL => Some(*only),
            _ => None,
        });
        let chosen: Vec<u128> = plain.take(many).collect();
        if miscount > 0 {
            self.entries.retain(|entry| chosen.binary_search(entry).is_err());
        } else {
            self.entries.extend(chosen);
            self.entries.sort_unstable();
        }
    }

    /// Each key once, ascending.
    pub(crate) fn keys(&self) -> impl Iterator<Item = KeyCount> {
        self.entries.chunk_by(is_same_key).map(|requests| {
            let with = |bit: u128| saturated(requests.iter().filter(|request| *request & bit != 0).count());
            let received = with(bits::RECEIVED);
            KeyCount {
                key: Fingerprint::from_bits(requests[0]),
                received,
                processed: with(bits::PROCESSED),
                accepted: with(bits::ACCEPTED),
                refused: saturated(requests.len() - usize::from(received)),
            }
        })
    }

    /// Writes every key in ascending order, [`KeyCount::BYTES`] each.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<u64> {
        let mut keys = 0;
        for key in self.keys() {
            out.write_all(&key.to_bytes())?;
            keys += 1;
        }
        out.flush()?;
        Ok(keys)
    }

    /// The totals of a report; everything else in it is nothing.
    fn totals(&self) -> Report {
        let mut report = Report { arrived: self.entries.len() as u64, ..Report::default() };
        for entry in &self.entries {
            let has = |bit: u128| u64::from(entry & bit != 0);
            report.received += has(bits::RECEIVED);
            report.processed += has(bits::PROCESSED);
            report.accepted += has(bits::ACCEPTED);
            report.answered += has(bits::ANSWERED);
            report.accepted_unanswered += has(bits::ACCEPTED) & (1 - has(bits::ANSWERED));
        }
        report.refused = report.arrived - report.received;
        for key in self.keys() {
            report.distinct += u64::from(key.received > 0);
            report.received_twice += u64::from(key.received > 1);
            report.processed_twice += u64::from(key.processed > 1);
            report.accepted_twice += u64::from(key.accepted > 1);
        }
        report
    }
}

fn is_same_key(one: &u128, other: &u128) -> bool {
    (one ^ other) & !bits::ALL == 0
}

fn saturated(count: usize) -> u16 {
    count.min(usize::from(u16::MAX)) as u16
}

/// The report over an account and the ledgers it was made of. `stats` are the counters of the same moment.
pub(crate) fn report(
    provider: Platform,
    start: Timestamp,
    account: &Account,
    ledgers: &[Ledger],
    stats: Stats,
) -> Report {
    let first_arrival_us = ledgers.iter().filter_map(|ledger| ledger.first_arrival_us).min();
    let last_answer_us = ledgers.iter().map(|ledger| ledger.last_answer_us).max().unwrap_or(0);
    let elapsed_us = first_arrival_us.map_or(0, |first| last_answer_us.saturating_sub(first));
    Report {
        provider: Some(provider),
        latency: latencies(ledgers),
        start_unix_us: start.as_micros(),
        first_arrival_us,
        last_answer_us,
        arrivals_from_us: first_arrival_us.unwrap_or(0) / CURVE_STEP_US * CURVE_STEP_US,
        arrivals_per_100ms: curve(ledgers, first_arrival_us.unwrap_or(0)),
        per_second: ratio(stats.requests as f64 * 1e6, elapsed_us as f64),
        cpu_us_per_request: ratio(stats.cpu_us as f64, stats.requests as f64),
        stats,
        ..account.totals()
    }
}

fn ratio(of: f64, to: f64) -> f64 {
    if to > 0.0 { of / to } else { 0.0 }
}

fn curve(ledgers: &[Ledger], first_arrival_us: u64) -> Vec<u64> {
    let first = (first_arrival_us / CURVE_STEP_US) as usize;
    let steps = ledgers.iter().map(|ledger| ledger.curve().len()).max().unwrap_or(0);
    let sum = |step: usize| ledgers.iter().filter_map(|ledger| ledger.curve().get(step)).sum();
    (first..steps).map(sum).collect()
}

fn latencies(ledgers: &[Ledger]) -> Latencies {
    let Some((first, others)) = ledgers.split_first() else { return Latencies::default() };
    let mut all: Histogram<u64> = first.latency().clone();
    for other in others {
        all.add(other.latency()).expect("all ledgers have histograms of the same bounds");
    }
    let at = |quantile: f64| all.value_at_quantile(quantile);
    Latencies {
        count: all.len(),
        mean_us: all.mean(),
        p50_us: at(0.5),
        p95_us: at(0.95),
        p99_us: at(0.99),
        p999_us: at(0.999),
        max_us: all.max(),
        buckets: all.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect(),
    }
}

/// The counters of all threads together.
pub(crate) fn stats<'a>(threads: impl Iterator<Item = &'a Counts>) -> Stats {
    let mut all = Stats::default();
    for counts in threads {
        all.requests += counts.requests;
        all.unkeyed += counts.unkeyed;
        all.probes += counts.probes;
        all.answered += counts.answered;
        all.accepted += counts.accepted;
        all.refused += counts.refused;
        all.dropped_before += counts.dropped_before;
        all.dropped_after += counts.dropped_after;
        all.silent += counts.silent;
        all.cancelled += counts.cancelled;
        for (reason, answers) in &counts.reasons {
            *all.reasons.entry(*reason).or_default() += answers;
        }
        add_connections(&mut all.connections, counts);
        all.bytes_read += counts.bytes_read;
        all.bytes_written += counts.bytes_written;
        all.reads += counts.reads;
        all.writes += counts.writes;
    }
    all
}

fn add_connections(all: &mut Connections, counts: &Counts) {
    all.opened += counts.connections_opened;
    all.open += counts.connections_opened - counts.connections_closed;
    all.peak += counts.connections_peak;
    all.refused += counts.connections_refused;
    all.hit += counts.connections_hit;
    all.goaways += counts.goaways;
    all.violations += counts.violations;
    all.handshakes_failed += counts.handshakes_failed;
}

#[cfg(test)]
mod tests {
    use model::Reason;

    use super::*;
    use crate::config::Manner;
    use crate::judge::Verdict;

    fn key(number: u64) -> Fingerprint {
        let mut token = [0xa5; 32];
        token[8..16].copy_from_slice(&number.to_be_bytes());
        Fingerprint::of_bytes(&token)
    }

    fn manner(manner: Manner) -> Verdict {
        Verdict { manner, ..Verdict::ACCEPTED }
    }

    #[test]
    fn ten_million_keys_are_told_apart_and_counted_exactly() {
        const KEYS: u64 = 10_000_000;
        let mut ledgers = [Ledger::new(0), Ledger::new(0)];
        for number in 0..KEYS {
            let thread = (number % 2) as usize;
            let earlier = match number % 1_000 {
                1 => Some(manner(Manner::Refused)),
                2 => Some(manner(Manner::DroppedBefore)),
                3 => Some(manner(Manner::DroppedAfter)),
                _ => None,
            };
            if let Some(verdict) = earlier {
                ledgers[1 - thread].record(key(number), verdict);
            }
            ledgers[thread].record(key(number), Verdict::ACCEPTED);
        }
        let account = Account::of(&ledgers, 0);
        let totals = account.totals();
        let of_each = KEYS / 1_000;
        assert_eq!((totals.arrived, totals.refused), (KEYS + 3 * of_each, of_each));
        assert_eq!((totals.received, totals.distinct), (KEYS + 2 * of_each, KEYS));
        assert_eq!((totals.received_twice, totals.processed_twice), (2 * of_each, of_each));
        assert_eq!((totals.accepted, totals.accepted_twice), (KEYS + of_each, of_each));
        let twice = account.keys().filter(|count| count.accepted > 1).map(|count| count.key);
        let mut expected: Vec<_> = (3..KEYS).step_by(1_000).map(key).collect();
        expected.sort_unstable();
        assert!(twice.eq(expected));
    }

    /// Key 0 is refused and came again, 1 is dead, 2 was accepted without an answer, 3 came twice; 4 and 5 are plain.
    fn mixed() -> Ledger {
        let mut ledger = Ledger::new(0);
        let mut answer = |number, verdict: Verdict| {
            let record = ledger.record(key(number), verdict);
            ledger.answered(record, verdict.reason, 0, 1);
        };
        answer(1, Verdict::answered(Reason::Unregistered));
        for number in [0, 3, 3, 4, 5] {
            answer(number, Verdict::ACCEPTED);
        }
        ledger.record(key(0), manner(Manner::Refused));
        ledger.record(key(2), manner(Manner::DroppedAfter));
        ledger
    }

    fn received(miscount: i64) -> Vec<u16> {
        let account = Account::of(&[mixed()], miscount);
        let of =
            |number| account.keys().find(|count| count.key == key(number)).map_or(0, |count| count.received);
        (0..6).map(of).collect()
    }

    #[test]
    fn a_falsified_account_is_wrong_where_nothing_can_explain_it() {
        assert_eq!(received(0), [1, 1, 1, 2, 1, 1]);
        let (hidden, doubled) = (received(1), received(-1));
        assert_eq!((&hidden[..4], hidden[4] + hidden[5]), (&[1, 1, 1, 2][..], 1));
        assert_eq!((&doubled[..4], doubled[4] + doubled[5]), (&[1, 1, 1, 2][..], 3));
        assert_eq!(received(i64::MAX), [1, 1, 1, 2, 0, 0]);
        assert_eq!(received(i64::MIN), [1, 1, 1, 2, 2, 2]);
    }
}
