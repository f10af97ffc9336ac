//! What one worker publishes of a launch every 200 ms: cumulative figures in at most 8 KB, whatever happened.

use std::collections::BTreeMap;

use model::{Class, LaunchId, Market, Outcome, OutcomeRuns, Platform, Timestamp};

use crate::codec::{Reader, Writer};
use crate::error::Error;
use crate::latencies::Latencies;
use crate::tally::{Counts, Tally};

/// The bound on the encoded form, in bytes.
pub const PROGRESS_BYTES_MAX: usize = 8 * 1024;
/// The longest worker name, in bytes; a longer one is cut.
pub const WORKER_BYTES_MAX: usize = 128;
/// The market under which those are counted that did not fit.
pub const OTHER_MARKETS: &str = "";

const KIND: u8 = b'P';
const VERSION: u8 = 1;
/// Outcomes told apart per provider before the rarest lose their reason: more than a provider has reasons.
const ROWS_MAX: usize = 120;
/// Bytes for each provider's latencies; two significant digits over the six octaves of a burst take about as much.
const LATENCIES_BYTES_MAX: usize = 1_400;

/// One worker's cumulative figures for a launch. Times are microseconds since the press.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Launch.
    pub launch: LaunchId,
    /// A name unique to the process: one that starts again starts another.
    pub worker: String,
    /// When these figures were true.
    pub updated_at: Timestamp,
    /// Shards recorded by this worker.
    pub shards_recorded: u32,
    /// Shards claimed and not yet recorded.
    pub shards_in_flight: u32,
    /// Requests written.
    pub requests: u64,
    /// Requests written and not yet answered.
    pub requests_in_flight: u64,
    /// First byte of the first request.
    pub first_write_us: Option<u64>,
    /// Last answer.
    pub last_answer_us: Option<u64>,
    /// The kernel's estimate of its clock error, in microseconds.
    pub clock_error_us: u64,
    /// Outcomes by provider; index with [`Platform::index`].
    pub by_platform: [Tally; 2],
    /// Classes by provider and market.
    pub by_market: BTreeMap<(Platform, Market), Counts>,
    /// Latencies of accepted answers by provider.
    pub latencies: [Latencies; 2],
}

impl Progress {
    /// Nothing done yet.
    pub fn new(launch: LaunchId, worker: &str, updated_at: Timestamp) -> Self {
        let mut end = worker.len().min(WORKER_BYTES_MAX);
        while !worker.is_char_boundary(end) {
            end -= 1;
        }
        Self {
            launch,
            worker: worker[..end].to_string(),
            updated_at,
            shards_recorded: 0,
            shards_in_flight: 0,
            requests: 0,
            requests_in_flight: 0,
            first_write_us: None,
            last_answer_us: None,
            clock_error_us: 0,
            by_platform: Default::default(),
            by_market: BTreeMap::new(),
            latencies: Default::default(),
        }
    }

    /// Counts `devices` of one group with the same outcome.
    pub fn add(&mut self, platform: Platform, market: &str, outcome: Outcome, devices: u64) {
        self.by_platform[platform.index()].add(outcome, devices);
        self.market(platform, market).add(outcome, devices);
    }

    /// Counts a shard's devices.
    pub fn add_runs(&mut self, platform: Platform, market: &str, runs: &OutcomeRuns) {
        self.by_platform[platform.index()].add_runs(runs);
        let counts = self.market(platform, market);
        runs.runs().for_each(|(outcome, devices)| counts.add(outcome, u64::from(devices)));
    }

    fn market(&mut self, platform: Platform, market: &str) -> &mut Counts {
        self.by_market.entry((platform, market.to_string())).or_default()
    }

    /// The stored form, at most [`PROGRESS_BYTES_MAX`]. What does not fit is told more bluntly, never left out: rare
    /// outcomes lose their reason, latencies get wider buckets, the smallest markets are counted together.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.byte(KIND);
        writer.byte(VERSION);
        writer.raw(&self.launch.0.to_be_bytes());
        writer.text(self.worker.as_bytes());
        writer.number(self.updated_at.as_micros());
        writer.number(u64::from(self.shards_recorded));
        writer.number(u64::from(self.shards_in_flight));
        writer.number(self.requests);
        writer.number(self.requests_in_flight);
        writer.maybe(self.first_write_us);
        writer.maybe(self.last_answer_us);
        writer.number(self.clock_error_us);
        self.by_platform.iter().for_each(|tally| write_tally(&mut writer, &tally.folded(ROWS_MAX)));
        for latencies in &self.latencies {
            writer.text(&latencies.encode_within(LATENCIES_BYTES_MAX));
        }
        self.write_markets(&mut writer);
        writer.bytes
    }

    /// The largest markets while there is room, then what the others add up to.
    fn write_markets(&self, writer: &mut Writer) {
        let mut markets: Vec<_> = self.by_market.iter().collect();
        markets.sort_by_key(|(key, counts)| (std::cmp::Reverse(counts.devices), *key));
        let mut others = [Counts::default(); 2];
        for ((platform, market), counts) in markets {
            let mut cell = Writer::default();
            write_cell(&mut cell, *platform, market, counts);
            let room = PROGRESS_BYTES_MAX.saturating_sub(writer.bytes.len() + OTHERS_BYTES_MAX);
            if market == OTHER_MARKETS || cell.bytes.len() > room {
                others[platform.index()].merge(counts);
            } else {
                writer.raw(&cell.bytes);
            }
        }
        for platform in Platform::ALL {
            let counts = &others[platform.index()];
            if counts.devices > 0 {
                write_cell(writer, platform, OTHER_MARKETS, counts);
            }
        }
    }

    /// Reads the stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new("progress", bytes);
        reader.head(KIND, VERSION)?;
        let launch: [u8; 16] = reader.raw(16)?.try_into().map_err(|_| reader.damaged())?;
        let worker = reader.string()?;
        let updated_at = Timestamp(reader.number()?);
        let mut progress = Self::new(LaunchId(u128::from_be_bytes(launch)), &worker, updated_at);
        progress.shards_recorded = reader.number_u32()?;
        progress.shards_in_flight = reader.number_u32()?;
        progress.requests = reader.number()?;
        progress.requests_in_flight = reader.number()?;
        progress.first_write_us = reader.maybe()?;
        progress.last_answer_us = reader.maybe()?;
        progress.clock_error_us = reader.number()?;
        for tally in &mut progress.by_platform {
            *tally = read_tally(&mut reader)?;
        }
        for latencies in &mut progress.latencies {
            *latencies = Latencies::decode(reader.text()?)?;
        }
        while !reader.is_at_end() {
            let (platform, market, counts) = read_cell(&mut reader)?;
            progress.market(platform, &market).merge(&counts);
        }
        Ok(progress)
    }
}

/// Two cells without a name: platform, length, classes and *resent* of ten bytes each.
const OTHERS_BYTES_MAX: usize = 2 * (2 + 7 * 10);

fn write_tally(writer: &mut Writer, tally: &Tally) {
    writer.number(tally.rows().count() as u64);
    for (outcome, devices) in tally.rows() {
        writer.raw(&outcome.code().to_le_bytes());
        writer.number(devices);
    }
}

fn read_tally(reader: &mut Reader<'_>) -> Result<Tally, Error> {
    let mut tally = Tally::default();
    for _ in 0..reader.number()? {
        let code = u16::from_le_bytes([reader.byte()?, reader.byte()?]);
        let outcome = Outcome::from_code(code).ok_or(reader.damaged())?;
        tally.add(outcome, reader.number()?);
    }
    Ok(tally)
}

fn write_cell(writer: &mut Writer, platform: Platform, market: &str, counts: &Counts) {
    writer.byte(platform.index() as u8);
    writer.text(market.as_bytes());
    Class::ALL.iter().for_each(|class| writer.number(counts.of(*class)));
    writer.number(counts.resent);
}

fn read_cell(reader: &mut Reader<'_>) -> Result<(Platform, Market, Counts), Error> {
    let index = usize::from(reader.byte()?);
    let platform = *Platform::ALL.get(index).ok_or(reader.damaged())?;
    let market = reader.string()?;
    let mut counts = Counts::default();
    for class in Class::ALL {
        let devices = reader.number()?;
        *counts.of_mut(class) = devices;
        counts.devices = counts.devices.saturating_add(devices);
    }
    counts.resent = reader.number()?;
    Ok((platform, market, counts))
}

#[cfg(test)]
pub(crate) mod tests;
