//! Where the time of a launch goes: when each stage was reached, in microseconds since the press, as every process saw it.

use crate::codec::{Reader, Writer};
use crate::error::Error;
use crate::latencies::{Latencies, Quantiles};

/// The stages between the press and the record, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The launch is written; once a launch.
    Write,
    /// A slice's trigger came off the FIFO queue; once a slice, like the next two.
    Fifo,
    /// The slice is planned.
    Plan,
    /// Its shards are enqueued.
    Enqueue,
    /// A worker received a shard's message; once a shard, like all that follow.
    Receive,
    /// The shard is claimed.
    Claim,
    /// The first byte of its first request was written.
    FirstByte,
    /// Its last answer came.
    LastAnswer,
    /// Its record is written.
    Record,
}

impl Stage {
    /// All of them, in their order.
    pub const ALL: [Stage; 9] = [
        Stage::Write,
        Stage::Fifo,
        Stage::Plan,
        Stage::Enqueue,
        Stage::Receive,
        Stage::Claim,
        Stage::FirstByte,
        Stage::LastAnswer,
        Stage::Record,
    ];

    /// For people: `write`, `FIFO`, `plan`, `enqueue`, `receive`, `claim`, `first byte`, `last answer` or `record`.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Write => "write",
            Stage::Fifo => "FIFO",
            Stage::Plan => "plan",
            Stage::Enqueue => "enqueue",
            Stage::Receive => "receive",
            Stage::Claim => "claim",
            Stage::FirstByte => "first byte",
            Stage::LastAnswer => "last answer",
            Stage::Record => "record",
        }
    }
}

const KIND: u8 = b'T';
const VERSION: u8 = 1;
/// Bytes for one stage; coarser than a record's, a table shows three digits.
const STAGE_BYTES_MAX: usize = 800;

/// What one process saw of a launch; merged by readers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    reached: [Latencies; Stage::ALL.len()],
}

impl Stages {
    /// A stage was reached `us` microseconds after the press.
    pub fn reach(&mut self, stage: Stage, us: u64) {
        self.reached[stage as usize].record(us);
    }

    /// When a stage was reached.
    pub const fn of(&self, stage: Stage) -> &Latencies {
        &self.reached[stage as usize]
    }

    /// Each stage and its figures, in order.
    pub fn quantiles(&self) -> impl Iterator<Item = (Stage, Quantiles)> + '_ {
        Stage::ALL.iter().map(|&stage| (stage, self.of(stage).quantiles()))
    }

    /// Whether nothing was reached.
    pub fn is_empty(&self) -> bool {
        self.reached.iter().all(Latencies::is_empty)
    }

    /// Adds what another process saw.
    pub fn merge(&mut self, other: &Stages) {
        self.reached.iter_mut().zip(&other.reached).for_each(|(ours, theirs)| ours.merge(theirs));
    }

    /// The stored form, under 8 KB.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.byte(KIND);
        writer.byte(VERSION);
        self.reached.iter().for_each(|stage| writer.text(&stage.encode_within(STAGE_BYTES_MAX)));
        writer.bytes
    }

    /// Reads the stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new("stages", bytes);
        reader.head(KIND, VERSION)?;
        let mut stages = Self::default();
        for stage in &mut stages.reached {
            *stage = Latencies::decode(reader.text()?)?;
        }
        reader.end()?;
        Ok(stages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_read_back_and_merge() {
        let mut one = Stages::default();
        one.reach(Stage::Fifo, 3_000);
        one.reach(Stage::Record, 4_000_000);
        let mut two = Stages::decode(&one.encode()).unwrap();
        assert_eq!(two, one);
        two.merge(&one);
        assert_eq!(two.of(Stage::Fifo).count(), 2);
        assert_eq!(two.quantiles().map(|(stage, _)| stage).collect::<Vec<_>>(), Stage::ALL);
        assert!(Stages::decode(&one.encode()[1..]).is_err());
    }

    #[test]
    fn the_stored_form_keeps_its_bound_whatever_was_seen() {
        let mut stages = Stages::default();
        for us in (0..5_000_000).step_by(997) {
            Stage::ALL.iter().for_each(|&stage| stages.reach(stage, us));
        }
        assert!(stages.encode().len() < 8 * 1_024);
    }
}
