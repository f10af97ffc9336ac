//! One thread's account of what arrived: a record for each request, a latency histogram and an arrival curve.
//! Sorting waits until somebody asks.

mod records;

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use model::Reason;

use crate::config::Manner;
use crate::fingerprint::Fingerprint;
use crate::judge::Verdict;
use records::Records;
pub(crate) use records::{NO_RECORD, bits};

/// The longest latency that the histogram tells apart.
const LATENCY_US_MAX: u64 = 3_600_000_000;
/// The arrival curve's step.
pub(crate) const CURVE_STEP_US: u64 = 100_000;
/// Steps of the arrival curve that are kept: a day.
const CURVE_STEPS_MAX: usize = 864_000;

/// What one thread has counted. Cloning copies the account for whoever asked.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    records: Records,
    pub(crate) counts: Counts,
    latency: Histogram<u64>,
    /// Answers written at the same time to requests that arrived at the same time: one histogram entry.
    run: (u64, u64),
    curve: Vec<u64>,
    /// Requests that arrived and are not yet part of the curve.
    pub(crate) arrivals: u64,
    pub(crate) first_arrival_us: Option<u64>,
    pub(crate) last_answer_us: u64,
}

/// Counters of one thread, or of all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) unkeyed: u64,
    pub(crate) probes: u64,
    pub(crate) answered: u64,
    pub(crate) refused: u64,
    pub(crate) dropped_before: u64,
    pub(crate) dropped_after: u64,
    pub(crate) silent: u64,
    pub(crate) cancelled: u64,
    pub(crate) reasons: BTreeMap<Reason, u64>,
    pub(crate) accepted: u64,
    pub(crate) connections_opened: u64,
    pub(crate) connections_refused: u64,
    pub(crate) connections_closed: u64,
    pub(crate) connections_peak: u64,
    pub(crate) connections_hit: u64,
    pub(crate) goaways: u64,
    pub(crate) violations: u64,
    pub(crate) handshakes_failed: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    pub(crate) reads: u64,
    pub(crate) writes: u64,
}

impl Ledger {
    /// Touches memory for `requests_expected`.
    pub(crate) fn new(requests_expected: usize) -> Self {
        let latency =
            Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are constants that fit");
        Self {
            records: Records::new(requests_expected, 0),
            counts: Counts::default(),
            latency,
            run: (0, 0),
            curve: Vec::new(),
            arrivals: 0,
            first_arrival_us: None,
            last_answer_us: 0,
        }
    }

    /// Counts the requests that arrived together since the last call.
    pub(crate) fn arrived(&mut self, now_us: u64) {
        let requests = std::mem::take(&mut self.arrivals);
        if requests == 0 {
            return;
        }
        self.first_arrival_us.get_or_insert(now_us);
        self.counts.requests += requests;
        let step = ((now_us / CURVE_STEP_US) as usize).min(CURVE_STEPS_MAX - 1);
        if step >= self.curve.len() {
            self.curve.resize(step + 1, 0);
        }
        self.curve[step] += requests;
    }

    /// Appends a request of `key`; returns the record's number.
    #[inline]
    pub(crate) fn record(&mut self, key: Fingerprint, verdict: Verdict) -> u32 {
        if verdict != Verdict::ACCEPTED {
            self.count_fault(verdict);
        }
        self.records.push(key, bits_of(verdict))
    }

    fn count_fault(&mut self, verdict: Verdict) {
        match verdict.manner {
            Manner::Answered => {}
            Manner::Refused => self.counts.refused += 1,
            Manner::DroppedBefore => self.counts.dropped_before += 1,
            Manner::DroppedAfter => self.counts.dropped_after += 1,
            Manner::Silent => self.counts.silent += 1,
        }
    }

    /// Notes that the answer to `record` was written.
    #[inline]
    pub(crate) fn answered(&mut self, record: u32, reason: Reason, arrived_us: u64, now_us: u64) {
        self.records.set(record, bits::ANSWERED);
        self.counts.answered += 1;
        match reason {
            Reason::None => self.counts.accepted += 1,
            _ => *self.counts.reasons.entry(reason).or_default() += 1,
        }
        self.last_answer_us = now_us;
        let latency_us = now_us - arrived_us;
        if latency_us != self.run.0 {
            self.end_run();
            self.run.0 = latency_us;
        }
        self.run.1 += 1;
    }

    fn end_run(&mut self) {
        let (latency_us, answers) = self.run;
        if answers > 0 {
            self.latency.saturating_record_n(latency_us.max(1), answers);
        }
        self.run.1 = 0;
    }

    /// The fingerprint of `record`.
    pub(crate) fn key(&self, record: u32) -> Option<Fingerprint> {
        self.records.key(record)
    }

    /// Starts a new account. Answers to older requests are counted, their records are gone.
    pub(crate) fn reset(&mut self, requests_expected: usize) {
        let opened = self.counts.connections_opened - self.counts.connections_closed;
        let records = Records::new(requests_expected, self.records.next());
        *self = Self { records, ..Self::new(0) };
        self.counts.connections_opened = opened;
        self.counts.connections_peak = opened;
    }

    /// A copy for whoever asked.
    pub(crate) fn extract(&mut self) -> Ledger {
        self.end_run();
        self.clone()
    }

    /// Every request: fingerprint and outcome bits in one number.
    pub(crate) fn entries(&self) -> impl Iterator<Item = u128> {
        self.records.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Latencies from arrival to answer, in microseconds. Complete after [`Ledger::extract`].
    pub(crate) fn latency(&self) -> &Histogram<u64> {
        &self.latency
    }

    /// Arrivals per [`CURVE_STEP_US`] since the simulator's start.
    pub(crate) fn curve(&self) -> &[u64] {
        &self.curve
    }
}

fn bits_of(verdict: Verdict) -> u128 {
    let bit = |is_set: bool, bit: u128| if is_set { bit } else { 0 };
    bit(verdict.manner != Manner::Refused, bits::RECEIVED)
        | bit(verdict.is_processed(), bits::PROCESSED)
        | bit(verdict.is_accepted(), bits::ACCEPTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_counted_in_runs_and_complete_when_extracted() {
        let mut ledger = Ledger::new(0);
        for (arrived, now) in [(0, 10), (0, 10), (5, 10), (0, 10)] {
            ledger.answered(NO_RECORD, Reason::None, arrived, now);
        }
        let latency = ledger.extract();
        assert_eq!(
            (latency.latency().len(), latency.latency().count_at(10), latency.latency().count_at(5)),
            (4, 3, 1)
        );
    }
}
