//! Brings the ledgers of all threads together: totals, and how often each device key arrived. Runs when somebody
//! asks, on the thread that asks.

use std::io::{self, Write};

use hdrhistogram::Histogram;
use model::Platform;
use model::time::Timestamp;

use crate::fingerprint::Fingerprint;
use crate::ledger::{CURVE_STEP_US, Counts, Ledger, bits};
use crate::report::{Connections, KeyCount, Latencies, Report, Stats};

/// Every request of every thread, sorted by key.
#[derive(Debug)]
pub(crate) struct Account {
    entries: Vec<(u128, u8)>,
}

impl Account {
    /// Sorts what the ledgers hold. `miscount` > 0 leaves out as many arrivals, < 0 counts as many twice.
    pub(crate) fn of(ledgers: &[Ledger], miscount: i64) -> Self {
        let mut entries = Vec::with_capacity(ledgers.iter().map(Ledger::len).sum());
        entries.extend(ledgers.iter().flat_map(Ledger::entries));
        entries.sort_unstable();
        let many = (miscount.unsigned_abs() as usize).min(entries.len());
        if miscount > 0 {
            entries.drain(..many);
        } else {
            entries.extend_from_within(..many);
            entries.sort_unstable();
        }
        Self { entries }
    }

    /// Each key once, ascending.
    pub(crate) fn keys(&self) -> impl Iterator<Item = KeyCount> {
        self.entries.chunk_by(|one, other| one.0 == other.0).map(|requests| {
            let with = |bit: u8| saturated(requests.iter().filter(|(_, outcome)| outcome & bit != 0).count());
            let received = with(bits::RECEIVED);
            KeyCount {
                key: Fingerprint(requests[0].0),
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

    fn with(&self, bit: u8) -> u64 {
        self.entries.iter().filter(|(_, outcome)| outcome & bit != 0).count() as u64
    }
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
    let received = account.with(bits::RECEIVED);
    let unanswered =
        |(_, outcome): &&(u128, u8)| outcome & (bits::ACCEPTED | bits::ANSWERED) == bits::ACCEPTED;
    let keys = |is_wanted: fn(&KeyCount) -> bool| account.keys().filter(is_wanted).count() as u64;
    let first_arrival_us = ledgers.iter().filter_map(|ledger| ledger.first_arrival_us).min();
    let last_answer_us = ledgers.iter().map(|ledger| ledger.last_answer_us).max().unwrap_or(0);
    let elapsed_us = first_arrival_us.map_or(0, |first| last_answer_us.saturating_sub(first));
    Report {
        provider: Some(provider),
        arrived: account.entries.len() as u64,
        refused: account.entries.len() as u64 - received,
        received,
        processed: account.with(bits::PROCESSED),
        accepted: account.with(bits::ACCEPTED),
        answered: account.with(bits::ANSWERED),
        accepted_unanswered: account.entries.iter().filter(unanswered).count() as u64,
        distinct: keys(|key| key.received > 0),
        received_twice: keys(|key| key.received > 1),
        processed_twice: keys(|key| key.processed > 1),
        accepted_twice: keys(|key| key.accepted > 1),
        latency: latencies(ledgers),
        start_unix_us: start.as_micros(),
        first_arrival_us,
        last_answer_us,
        arrivals_from_us: first_arrival_us.unwrap_or(0) / CURVE_STEP_US * CURVE_STEP_US,
        arrivals_per_100ms: curve(ledgers, first_arrival_us.unwrap_or(0)),
        per_second: ratio(stats.requests as f64 * 1e6, elapsed_us as f64),
        cpu_us_per_request: ratio(stats.cpu_us as f64, stats.requests as f64),
        stats,
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
    all.goaways += counts.goaways;
    all.violations += counts.violations;
    all.handshakes_failed += counts.handshakes_failed;
}
