//! What is known of one attempt at one shard. A record is the union of its epochs' parts, so records of the same shard
//! merge in any order, any number of times, and a late one of an older epoch is evidence like any other.

use std::collections::BTreeMap;

use model::{Class, LaunchId, Outcome, OutcomeRuns, Reason};

use crate::codec::{Reader, Writer};
use crate::error::Error;
use crate::latencies::Latencies;
use crate::positions::Positions;

const KIND: u8 = b'S';
const VERSION: u8 = 1;
/// The most devices in a shard: hundreds of times what queueing and claiming need, and few enough to unpack.
pub const SHARD_DEVICES_MAX: u32 = 1 << 20;

/// What the claimant of one epoch did. Times are microseconds since the press.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Who claimed the shard: a name unique to the process.
    pub worker: String,
    /// The devices it was to send to: all of the shard in the burst.
    pub positions: Positions,
    /// Their outcomes, in the order of `positions`.
    pub outcomes: OutcomeRuns,
    /// Requests whose last byte was given to the kernel, every one sent again included.
    pub requests: u64,
    /// Of these, requests that the provider has certainly not processed (REFUSED_STREAM, above GOAWAY's last id, not wholly
    /// written), whether they were written again or not: they make no device *resent*. `None` when the sender does not
    /// count them.
    pub repeated: Option<u64>,
    /// Latencies of the accepted answers.
    pub latencies: Latencies,
    /// First byte of the first request.
    pub first_write_us: Option<u64>,
    /// Last answer, accepted or not.
    pub last_answer_us: Option<u64>,
    /// The kernel's estimate of its clock error at the time, in microseconds.
    pub clock_error_us: u64,
    /// The longest that the provider asked to wait before a rejected device is tried again, in seconds; 0 when it did not.
    pub retry_after_s: u64,
}

impl Part {
    /// Two accounts of the same epoch: the join of what they say, idempotent.
    fn join(&mut self, other: &Part) {
        self.worker = self.worker.as_str().max(&other.worker).to_string();
        let known = spread(&[self, other], |one, two| Known {
            outcome: one.outcome.join(two.outcome),
            is_requested: one.is_requested || two.is_requested,
        });
        (self.positions, self.outcomes) = gather(known);
        self.requests = self.requests.max(other.requests);
        self.repeated = self.repeated.max(other.repeated);
        self.latencies.join(&other.latencies);
        self.first_write_us = earlier(self.first_write_us, other.first_write_us);
        self.last_answer_us = self.last_answer_us.max(other.last_answer_us);
        self.clock_error_us = self.clock_error_us.max(other.clock_error_us);
        self.retry_after_s = self.retry_after_s.max(other.retry_after_s);
    }

    fn write(&self, writer: &mut Writer) {
        writer.text(self.worker.as_bytes());
        self.positions.write(writer);
        writer.text(self.outcomes.as_bytes());
        writer.number(self.requests);
        writer.maybe(self.repeated);
        writer.maybe(self.first_write_us);
        writer.maybe(self.last_answer_us);
        writer.number(self.clock_error_us);
        writer.number(self.retry_after_s);
        writer.text(&self.latencies.encode());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self {
            worker: reader.string()?,
            positions: Positions::read(reader)?,
            outcomes: OutcomeRuns::from_bytes(reader.text()?).map_err(|_| reader.damaged())?,
            requests: reader.number()?,
            repeated: reader.maybe()?,
            first_write_us: reader.maybe()?,
            last_answer_us: reader.maybe()?,
            clock_error_us: reader.number()?,
            retry_after_s: reader.number()?,
            latencies: Latencies::decode(reader.text()?)?,
        })
    }

    fn fits(&self, devices: u32, attempt: u8) -> Result<(), Error> {
        let (outcomes, positions) = (self.outcomes.devices(), self.positions.count());
        let covers = attempt > 0 || positions == devices;
        let fits = outcomes == positions && self.positions.end() <= devices && covers;
        if fits && devices <= SHARD_DEVICES_MAX {
            return Ok(());
        }
        Err(Error::Misfit { outcomes, positions, devices })
    }
}

/// Whether a request of *this* epoch left for the device. Who takes a lost worker's shard over and leaves it, or closes
/// it, sent nothing: the request it speaks of is the lost worker's, whose own record says so if it ever comes.
pub fn is_requested(outcome: Outcome) -> bool {
    match outcome.class() {
        Class::Accepted | Class::Rejected => true,
        Class::Unknown => !matches!(outcome.reason(), Reason::WorkerLost | Reason::AttemptsExhausted),
        Class::Expired | Class::Suppressed | Class::NotSent => false,
    }
}

/// The record of one attempt at one shard: attempt 0 is the burst, later ones are late retries of some of its devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardRecord {
    launch: LaunchId,
    shard: u32,
    attempt: u8,
    devices: u32,
    parts: BTreeMap<u32, Part>,
}

impl ShardRecord {
    /// What the claimant of `epoch` has to say of a shard of `devices` devices.
    pub fn new(
        launch: LaunchId,
        shard: u32,
        attempt: u8,
        devices: u32,
        epoch: u32,
        part: Part,
    ) -> Result<Self, Error> {
        part.fits(devices, attempt)?;
        Ok(Self { launch, shard, attempt, devices, parts: BTreeMap::from([(epoch, part)]) })
    }

    /// A record in which nothing left and every device has the same outcome: for what is closed, aborted or expired
    /// before a request was written.
    pub fn uniform(
        launch: LaunchId,
        shard: u32,
        devices: u32,
        epoch: u32,
        worker: &str,
        outcome: Outcome,
    ) -> Result<Self, Error> {
        let part = Part {
            worker: worker.to_string(),
            positions: Positions::all(devices),
            outcomes: OutcomeRuns::uniform(outcome, devices),
            ..Part::default()
        };
        Self::new(launch, shard, 0, devices, epoch, part)
    }

    /// Launch.
    pub const fn launch(&self) -> LaunchId {
        self.launch
    }

    /// The shard's number in the plan.
    pub const fn shard(&self) -> u32 {
        self.shard
    }

    /// 0 for the burst.
    pub const fn attempt(&self) -> u8 {
        self.attempt
    }

    /// Devices of the shard, whether this attempt was for them or not.
    pub const fn devices(&self) -> u32 {
        self.devices
    }

    /// What each epoch's claimant did.
    pub const fn parts(&self) -> &BTreeMap<u32, Part> {
        &self.parts
    }

    /// The latest epoch that left a part.
    pub fn epoch(&self) -> u32 {
        self.parts.last_key_value().map_or(0, |(epoch, _)| *epoch)
    }

    /// Adds what another record of the same launch, shard and attempt knows. Commutative, associative, idempotent.
    pub fn merge(&mut self, other: &ShardRecord) -> Result<(), Error> {
        let key = |record: &Self| (record.launch, record.shard, record.attempt, record.devices);
        if key(self) != key(other) {
            return Err(Error::OtherShard);
        }
        for (epoch, part) in &other.parts {
            match self.parts.get_mut(epoch) {
                Some(known) if known == part => {}
                Some(known) => known.join(part),
                None => {
                    self.parts.insert(*epoch, part.clone());
                }
            }
        }
        Ok(())
    }

    /// Each device this attempt was for, and what is known of it: a device to which two epochs sent is *resent*.
    pub fn outcomes(&self) -> (Positions, OutcomeRuns) {
        let parts: Vec<&Part> = self.parts.values().collect();
        if let [only] = parts[..] {
            return (only.positions.clone(), only.outcomes.clone());
        }
        gather(self.known())
    }

    /// What is known by position, and whether a request left; `None` for a device this attempt was not for.
    fn known(&self) -> Vec<Option<Known>> {
        let parts: Vec<&Part> = self.parts.values().collect();
        spread(&parts, |known, next| Known {
            outcome: known.outcome.join(next.outcome).with_resent(is_resent(known, next)),
            is_requested: known.is_requested || next.is_requested,
        })
    }

    /// Requests of all epochs.
    pub fn requests(&self) -> u64 {
        self.parts.values().map(|part| part.requests).fold(0, u64::saturating_add)
    }

    /// Requests of all epochs that the provider has certainly not processed; `None` when a sender of any request did not
    /// count them.
    pub fn repeated(&self) -> Option<u64> {
        let senders = self.parts.values().filter(|part| part.requests > 0);
        senders.map(|part| part.repeated).try_fold(0, |sum: u64, part| Some(sum.saturating_add(part?)))
    }

    /// Latencies of the accepted answers of all epochs.
    pub fn latencies(&self) -> Latencies {
        let mut latencies = Latencies::default();
        self.parts.values().for_each(|part| latencies.merge(&part.latencies));
        latencies
    }

    /// First byte of the first request, in microseconds since the press.
    pub fn first_write_us(&self) -> Option<u64> {
        self.parts.values().filter_map(|part| part.first_write_us).min()
    }

    /// Last answer, in microseconds since the press.
    pub fn last_answer_us(&self) -> Option<u64> {
        self.parts.values().filter_map(|part| part.last_answer_us).max()
    }

    /// The worst clock error of the claimants, in microseconds.
    pub fn clock_error_us(&self) -> u64 {
        self.parts.values().map(|part| part.clock_error_us).max().unwrap_or(0)
    }

    /// The longest that a provider asked to wait before devices of this shard are tried again, in seconds.
    pub fn retry_after_s(&self) -> u64 {
        self.parts.values().map(|part| part.retry_after_s).max().unwrap_or(0)
    }

    /// The stored form: usually under 1 KB for 2,000 devices.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.byte(KIND);
        writer.byte(VERSION);
        writer.raw(&self.launch.0.to_be_bytes());
        writer.number(u64::from(self.shard));
        writer.byte(self.attempt);
        writer.number(u64::from(self.devices));
        writer.number(self.parts.len() as u64);
        for (epoch, part) in &self.parts {
            writer.number(u64::from(*epoch));
            part.write(&mut writer);
        }
        writer.bytes
    }

    /// Reads the stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new("shard record", bytes);
        reader.head(KIND, VERSION)?;
        let launch: [u8; 16] = reader.raw(16)?.try_into().map_err(|_| reader.damaged())?;
        let (shard, attempt, devices) = (reader.number_u32()?, reader.byte()?, reader.number_u32()?);
        let mut parts = BTreeMap::new();
        for _ in 0..reader.number()? {
            let epoch = reader.number_u32()?;
            let part = Part::read(&mut reader)?;
            part.fits(devices, attempt)?;
            if parts.last_key_value().is_some_and(|(last, _)| *last >= epoch) {
                return Err(reader.damaged());
            }
            parts.insert(epoch, part);
        }
        reader.end()?;
        if parts.is_empty() {
            return Err(reader.damaged());
        }
        Ok(Self { launch: LaunchId(u128::from_be_bytes(launch)), shard, attempt, devices, parts })
    }
}

/// The final outcome of each device of a shard: the burst's, changed by its late retries in their order. A later
/// attempt's answer, or its silence, replaces an earlier refusal; nothing replaces an acceptance.
pub fn settle(burst: &ShardRecord, late: &[&ShardRecord]) -> OutcomeRuns {
    if late.is_empty() {
        return burst.outcomes().1;
    }
    OutcomeRuns::encode(known_after(burst, late).into_iter().flatten().map(|known| known.outcome))
}

/// Devices of a shard to which at least one recorded request left.
pub(crate) fn requested(burst: &ShardRecord, late: &[&ShardRecord]) -> u64 {
    known_after(burst, late).iter().flatten().filter(|known| known.is_requested).count() as u64
}

fn known_after(burst: &ShardRecord, late: &[&ShardRecord]) -> Vec<Option<Known>> {
    let mut late: Vec<&ShardRecord> = late.to_vec();
    late.sort_by_key(|record| record.attempt);
    let mut settled = burst.known();
    for record in late {
        for (so_far, next) in settled.iter_mut().zip(record.known()) {
            *so_far = match (*so_far, next) {
                (Some(so_far), Some(next)) => Some(follow(so_far, next)),
                (so_far, _) => so_far,
            };
        }
    }
    settled
}

/// The devices that a further attempt would be for.
pub fn retryable(burst: &ShardRecord, late: &[&ShardRecord]) -> Positions {
    let settled = settle(burst, late);
    let transient = settled.iter().zip(0..).filter(|(outcome, _)| outcome.is_transient());
    transient.map(|(_, position)| position).collect()
}

/// What is known of a device.
#[derive(Clone, Copy)]
struct Known {
    outcome: Outcome,
    /// Whether a request left for it.
    is_requested: bool,
}

fn is_resent(one: Known, two: Known) -> bool {
    one.outcome.is_resent() || two.outcome.is_resent() || (one.is_requested && two.is_requested)
}

fn follow(so_far: Known, next: Known) -> Known {
    // Of an attempt whose worker was lost nobody recorded a request, but one may have left after the earlier answer.
    let may_have_left = next.is_requested || next.outcome.class() == Class::Unknown;
    let is_settled = so_far.outcome.class() == Class::Accepted || !may_have_left;
    let outcome = if is_settled { so_far.outcome.join(next.outcome) } else { next.outcome };
    let is_resent = is_resent(so_far, next) || (so_far.is_requested && may_have_left);
    Known { outcome: outcome.with_resent(is_resent), is_requested: so_far.is_requested || next.is_requested }
}

/// Folds the parts' outcomes by position, in their order.
fn spread(parts: &[&Part], fold: impl Fn(Known, Known) -> Known) -> Vec<Option<Known>> {
    let end = parts.iter().map(|part| part.positions.end()).max().unwrap_or(0);
    let mut known: Vec<Option<Known>> = vec![None; end as usize];
    for part in parts {
        for (position, outcome) in part.positions.iter().zip(part.outcomes.iter()) {
            let next = Known { outcome, is_requested: is_requested(outcome) };
            let place = &mut known[position as usize];
            *place = Some(place.map_or(next, |known| fold(known, next)));
        }
    }
    known
}

fn gather(known: Vec<Option<Known>>) -> (Positions, OutcomeRuns) {
    let positions = known.iter().zip(0..).filter(|(known, _)| known.is_some()).map(|(_, at)| at).collect();
    (positions, OutcomeRuns::encode(known.into_iter().flatten().map(|known| known.outcome)))
}

fn earlier(one: Option<u64>, two: Option<u64>) -> Option<u64> {
    [one, two].into_iter().flatten().min()
}

#[cfg(test)]
pub(crate) mod tests;
