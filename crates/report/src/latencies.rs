//! Latencies as an HDR histogram of microseconds with two significant digits: a shard's fit in a few hundred bytes, and
//! merging loses nothing. Bucket layout and quantiles are those of HdrHistogram (hdrhistogram.org) with a lowest value
//! of 1; minimum and maximum are exact. Only the octaves in use have memory.

use serde::{Deserialize, Serialize};

use crate::codec::{Reader, Writer};
use crate::error::Error;

/// The longest latency with a bucket of its own, in microseconds: 71 minutes. Longer ones count in the last bucket;
/// `max_us` stays exact.
pub const TRACKED_US_MAX: u64 = (1 << 32) - 1;
/// Bits of a value that its bucket keeps: 8, so a bucket is at most 1/128 of its value wide.
const BITS: u32 = 8;
/// Buckets per octave.
const OCTAVE: usize = 1 << (BITS - 1);
const BUCKETS: usize = bucket_of(TRACKED_US_MAX) + 1;
/// Coarsening beyond one bucket per octave saves nothing.
const COARSENING_MAX: u8 = (BITS - 1) as u8;
const KIND: u8 = b'L';
const VERSION: u8 = 1;

/// How many of the answers took how long, from the press to the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latencies {
    /// Bucket of `counts[0]`; a multiple of `OCTAVE`.
    first: usize,
    /// The octaves between the shortest and the longest latency.
    counts: Vec<u64>,
    min_us: u64,
    max_us: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { first: 0, counts: Vec::new(), min_us: u64::MAX, max_us: 0 }
    }
}

impl Latencies {
    /// Counts one answer.
    #[inline]
    pub fn record(&mut self, us: u64) {
        self.record_n(us, 1);
    }

    /// Counts `n` answers of the same latency.
    #[inline]
    pub fn record_n(&mut self, us: u64, n: u64) {
        if n == 0 {
            return;
        }
        self.min_us = self.min_us.min(us);
        self.max_us = self.max_us.max(us);
        self.add(bucket_of(us.min(TRACKED_US_MAX)), n);
    }

    /// Counts answers. Those read together have the same latency, and such a row costs as much as one.
    pub fn record_all(&mut self, answers: impl IntoIterator<Item = u64>) {
        let (mut row_us, mut row) = (0, 0);
        for us in answers {
            if us != row_us {
                self.record_n(row_us, row);
                (row_us, row) = (us, 0);
            }
            row += 1;
        }
        self.record_n(row_us, row);
    }

    #[inline]
    fn add(&mut self, bucket: usize, n: u64) {
        let slot = self.slot(bucket);
        *slot = slot.saturating_add(n);
    }

    #[inline]
    fn slot(&mut self, bucket: usize) -> &mut u64 {
        if bucket.wrapping_sub(self.first) >= self.counts.len() {
            self.cover(bucket);
        }
        &mut self.counts[bucket - self.first]
    }

    #[cold]
    fn cover(&mut self, bucket: usize) {
        let octave = bucket / OCTAVE * OCTAVE;
        if self.counts.is_empty() {
            self.first = octave;
        }
        if octave < self.first {
            let missing = self.first - octave;
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = octave;
        }
        let end = (octave + OCTAVE - self.first).max(self.counts.len());
        self.counts.resize(end, 0);
    }

    /// Counts what `other` counted.
    pub fn merge(&mut self, other: &Latencies) {
        other.buckets().for_each(|(bucket, n)| self.add(bucket, n));
        self.keep_bounds_of(other);
    }

    /// The larger count of each bucket: for two accounts of the *same* answers, where merging would count twice.
    /// Commutative, associative and idempotent.
    pub fn join(&mut self, other: &Latencies) {
        for (bucket, n) in other.buckets() {
            let slot = self.slot(bucket);
            *slot = (*slot).max(n);
        }
        self.keep_bounds_of(other);
    }

    fn keep_bounds_of(&mut self, other: &Latencies) {
        self.min_us = self.min_us.min(other.min_us);
        self.max_us = self.max_us.max(other.max_us);
    }

    fn buckets(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let counted = self.counts.iter().enumerate().filter(|(_, n)| **n > 0);
        counted.map(|(index, n)| (self.first + index, *n))
    }

    /// Each range of latencies that occurs, in microseconds and with both ends in it, and its answers; by rising
    /// latency.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
        self.buckets().map(|(bucket, n)| {
            let lowest = lowest_of(bucket);
            let highest = highest_of(bucket);
            let is_last = bucket == BUCKETS - 1;
            let highest = if is_last { self.max_us } else { highest.min(self.max_us) };
            (lowest.max(self.min_us).min(highest), highest, n)
        })
    }

    /// Answers counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().copied().fold(0, u64::saturating_add)
    }

    /// Whether nothing was counted.
    pub const fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The shortest latency, exact; `None` when nothing was counted.
    pub fn min_us(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.min_us)
    }

    /// The longest latency, exact; `None` when nothing was counted.
    pub fn max_us(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.max_us)
    }

    /// The latency within which a share `quantile` (0 to 1) of the answers came: the upper end of its bucket, so never
    /// too low, at most 1/128 too high, and never above the exact maximum.
    pub fn quantile_us(&self, quantile: f64) -> Option<u64> {
        let rank = ((quantile.clamp(0.0, 1.0) * self.count() as f64).ceil() as u64).max(1);
        let mut seen: u64 = 0;
        for (_, highest, n) in self.ranges() {
            seen = seen.saturating_add(n);
            if seen >= rank {
                return Some(highest);
            }
        }
        self.max_us()
    }

    /// Answers that took at most `us`, give or take those of the bucket of `us`, which all count.
    pub fn within(&self, us: u64) -> u64 {
        let within = self.ranges().take_while(|(lowest, _, _)| *lowest <= us);
        within.map(|(_, _, n)| n).fold(0, u64::saturating_add)
    }

    /// The figures that people ask for.
    pub fn quantiles(&self) -> Quantiles {
        let at = |quantile| self.quantile_us(quantile).unwrap_or(0);
        Quantiles {
            count: self.count(),
            min_us: self.min_us().unwrap_or(0),
            p50_us: at(0.5),
            p95_us: at(0.95),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.max_us().unwrap_or(0),
        }
    }

    /// The stored form: shortest, longest, then per bucket in use the distance from the one before and its count.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_coarsened(0)
    }

    /// The stored form in at most `bytes_max`, with buckets two, four, ... times as wide where it would be longer;
    /// one bucket per octave is the end of it (under 400 bytes, whatever was counted).
    pub fn encode_within(&self, bytes_max: usize) -> Vec<u8> {
        let mut bytes = self.encode();
        for coarsening in 1..=COARSENING_MAX {
            if bytes.len() <= bytes_max {
                break;
            }
            bytes = self.encode_coarsened(coarsening);
        }
        bytes
    }

    fn encode_coarsened(&self, coarsening: u8) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.byte(KIND);
        writer.byte(VERSION);
        writer.byte(coarsening);
        if !self.is_empty() {
            writer.number(self.min_us);
            writer.number(self.max_us - self.min_us);
        }
        let mut buckets = self.buckets().peekable();
        let mut before = 0;
        while let Some((bucket, mut n)) = buckets.next() {
            let coarse = bucket >> coarsening;
            while let Some((_, more)) = buckets.next_if(|(next, _)| next >> coarsening == coarse) {
                n = n.saturating_add(more);
            }
            writer.number((coarse - before) as u64);
            writer.number(n);
            before = coarse;
        }
        writer.bytes
    }

    /// Reads the stored form. Answers of a widened bucket count at its upper end.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new("latencies", bytes);
        reader.head(KIND, VERSION)?;
        let coarsening = reader.byte()?;
        if coarsening > COARSENING_MAX {
            return Err(reader.damaged());
        }
        let mut latencies = Self::default();
        if reader.is_at_end() {
            return Ok(latencies);
        }
        let min_us = reader.number()?;
        let max_us = min_us.checked_add(reader.number()?).ok_or(reader.damaged())?;
        let mut coarse: Option<u64> = None;
        while !reader.is_at_end() {
            let distance = reader.number()?;
            let is_repeated = coarse.is_some() && distance == 0;
            let next = coarse.unwrap_or(0).checked_add(distance).filter(|next| *next < BUCKETS as u64);
            let next = next.filter(|_| !is_repeated).ok_or(reader.damaged())?;
            coarse = Some(next);
            let n = reader.number()?;
            latencies.restore(next as usize, coarsening, n, (min_us, max_us)).ok_or(reader.damaged())?;
        }
        latencies.is_within(min_us, max_us).then_some(()).ok_or(reader.damaged())?;
        Ok(Self { min_us, max_us, ..latencies })
    }

    fn restore(&mut self, coarse: usize, coarsening: u8, n: u64, bounds: (u64, u64)) -> Option<()> {
        let lowest = coarse << coarsening;
        let highest = (lowest | ((1 << coarsening) - 1)).min(BUCKETS - 1);
        if n == 0 || lowest >= BUCKETS {
            return None;
        }
        let longest = bucket_of(bounds.1.min(TRACKED_US_MAX));
        let bucket = highest.min(longest).max(lowest);
        self.add(bucket, n);
        Some(())
    }

    /// Whether every bucket in use lies between those of the bounds, and the longest's is in use.
    fn is_within(&self, min_us: u64, max_us: u64) -> bool {
        let shortest = bucket_of(min_us.min(TRACKED_US_MAX));
        let longest = bucket_of(max_us.min(TRACKED_US_MAX));
        let ends = (self.buckets().next(), self.buckets().last());
        matches!(ends, (Some((first, _)), Some((last, _))) if first >= shortest && last == longest)
    }
}

/// The bucket of a value up to `TRACKED_US_MAX`: values below 256 have one each, every later octave has 128.
#[inline]
const fn bucket_of(us: u64) -> usize {
    let shift = (u64::BITS - BITS).saturating_sub((us | 1).leading_zeros());
    shift as usize * OCTAVE + (us >> shift) as usize
}

const fn lowest_of(bucket: usize) -> u64 {
    let shift = (bucket / OCTAVE).saturating_sub(1);
    ((bucket - shift * OCTAVE) as u64) << shift
}

const fn highest_of(bucket: usize) -> u64 {
    lowest_of(bucket + 1) - 1
}

/// Latencies in the words of a report, in microseconds; all zero when nothing was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantiles {
    /// Answers.
    pub count: u64,
    /// The first.
    pub min_us: u64,
    /// Half of them came within this.
    pub p50_us: u64,
    /// 95 %.
    pub p95_us: u64,
    /// 99 %.
    pub p99_us: u64,
    /// 99.9 %.
    pub p999_us: u64,
    /// The last.
    pub max_us: u64,
}

#[cfg(test)]
mod tests;
