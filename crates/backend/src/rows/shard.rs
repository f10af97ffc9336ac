//! A shard's row: who holds it, and what became of its devices. One row, so that recording is conditional on the
//! claim and truth is "plan minus records".

use std::time::Duration;

use model::{LaunchId, Timestamp};
use report::ShardRecord;

use crate::error::{Error, ErrorKind, Result};
use crate::store::{Expect, Key, Row, Store, Write, query_all};

/// Who may send a shard, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The worker.
    pub owner: u128,
    /// 1 for the first claim, one more with each that follows and each time it is given back.
    pub epoch: u32,
    /// Times the shard was claimed for sending and not given back.
    pub attempts: u32,
    /// The claim is good until then, on the wall clock.
    pub lease_until: Timestamp,
    /// Whether a request may have left, under this or an earlier claim, of which the record says nothing.
    pub is_started: bool,
}

/// The row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardRow {
    /// The last claim.
    pub claim: Claim,
    /// What is known of its devices ([`ShardRecord`]'s stored form), once something is.
    pub record: Option<Vec<u8>>,
    /// Whether the record waits for more: it holds what earlier epochs knew, and the last claim's is still to come.
    pub is_open: bool,
}

/// How a shard stands to whoever would claim it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Every device has an outcome.
    Recorded,
    /// A claim keeps others out until this moment, the clocks' error included.
    Held(Timestamp),
    /// Whoever claims it first has it.
    Free(Before),
}

/// What earlier claims left; nothing for a shard that was never claimed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// The last epoch; 0 before the first claim.
    pub epoch: u32,
    /// Attempts so far.
    pub attempts: u32,
    /// See [`Claim::is_started`].
    pub is_started: bool,
    /// End of the last lease; zero when it was given back or never claimed.
    pub lease_until: Timestamp,
}

impl Standing {
    /// How a shard with this row stands at `now`, given the clocks' error.
    pub fn of(row: Option<&ShardRow>, now: Timestamp, clock_error: Duration) -> Self {
        let Some(row) = row else { return Standing::Free(Before::default()) };
        let Claim { epoch, attempts, is_started, lease_until, .. } = row.claim;
        if row.is_recorded() {
            Standing::Recorded
        } else if row.is_held(now, clock_error) {
            Standing::Held(lease_until + clock_error)
        } else {
            Standing::Free(Before { epoch, attempts, is_started, lease_until })
        }
    }
}

/// Row bytes before the record.
const HEAD_BYTES: usize = 34;
const FORMAT: u8 = 1;

impl ShardRow {
    /// Whether every device has an outcome.
    pub const fn is_recorded(&self) -> bool {
        self.record.is_some() && !self.is_open
    }

    /// Whether this claim keeps others out at `now`, given the clocks' error.
    pub fn is_held(&self, now: Timestamp, clock_error: Duration) -> bool {
        !self.is_recorded()
            && self.claim.lease_until > Timestamp(0)
            && self.claim.lease_until + clock_error > now
    }

    /// The record, once something is known.
    pub fn read_record(&self) -> Result<Option<ShardRecord>> {
        let read = |bytes: &Vec<u8>| ShardRecord::decode(bytes).map_err(damaged);
        self.record.as_ref().map(read).transpose()
    }

    /// Adds what `record` knows. It closes the row unless a claim came after every epoch that is known.
    pub fn take(&mut self, record: &ShardRecord) -> Result<()> {
        let record = match self.read_record()? {
            Some(mut known) => {
                known.merge(record).map_err(damaged)?;
                known
            }
            None => record.clone(),
        };
        self.is_open = record.epoch() < self.claim.epoch;
        self.record = Some(record.encode());
        Ok(())
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let claim = &self.claim;
        let record = self.record.as_deref().unwrap_or_default();
        let mut bytes = Vec::with_capacity(HEAD_BYTES + record.len());
        bytes.push(FORMAT);
        bytes.push(
            u8::from(claim.is_started) | u8::from(self.record.is_some()) << 1 | u8::from(self.is_open) << 2,
        );
        bytes.extend_from_slice(&claim.owner.to_le_bytes());
        bytes.extend_from_slice(&claim.epoch.to_le_bytes());
        bytes.extend_from_slice(&claim.attempts.to_le_bytes());
        bytes.extend_from_slice(&claim.lease_until.as_micros().to_le_bytes());
        bytes.extend_from_slice(record);
        bytes
    }

    /// Reads a stored row.
    pub fn decode(row: &Row) -> Result<Self> {
        Self::parse(&row.body).ok_or_else(|| {
            let place = format!("row {}/{} is no shard row", row.key.partition, row.key.sort);
            Error::new(ErrorKind::Storage, "store.read", place)
        })
    }

    fn parse(body: &[u8]) -> Option<Self> {
        let (&[format, flags], rest) = body.split_first_chunk()?;
        let (owner, rest) = rest.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (attempts, rest) = rest.split_first_chunk()?;
        let (lease_until, record) = rest.split_first_chunk()?;
        let claim = Claim {
            owner: u128::from_le_bytes(*owner),
            epoch: u32::from_le_bytes(*epoch),
            attempts: u32::from_le_bytes(*attempts),
            lease_until: Timestamp(u64::from_le_bytes(*lease_until)),
            is_started: flags & 1 != 0,
        };
        let record = (flags & 2 != 0).then(|| record.to_vec());
        (format == FORMAT).then_some(Self { claim, record, is_open: flags & 4 != 0 })
    }
}

fn damaged(error: report::Error) -> Error {
    Error::new(ErrorKind::Storage, "store.read", format!("a shard's record cannot be used: {error}"))
        .with_source(error)
}

/// A shard's place: launch, slice and number; spread over partitions by slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShardName {
    /// Launch.
    pub launch: LaunchId,
    /// `Plan::slice_of` its number.
    pub slice: u16,
    /// Number in the plan.
    pub shard: u32,
    /// 0: the burst; above: a late retry, whose row is apart.
    pub attempt: u8,
}

impl ShardName {
    /// Its row.
    pub fn key(&self) -> Key {
        Key::new(partition(self.launch, self.slice, self.attempt > 0), self.sort())
    }

    fn sort(&self) -> String {
        match self.attempt {
            0 => format!("{:08}", self.shard),
            attempt => format!("{:08}-{attempt:03}", self.shard),
        }
    }
}

fn partition(launch: LaunchId, slice: u16, is_late: bool) -> String {
    let kind = if is_late { "late" } else { "shards" };
    format!("{kind}/{launch}/{slice:05}")
}

/// Puts a shard's row if `expect` holds.
pub fn put(name: &ShardName, row: &ShardRow, expect: Expect) -> Write {
    Write::put(name.key(), expect, row.encode())
}

/// A stored shard row with its number, attempt and version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredShard {
    /// Number in the plan.
    pub shard: u32,
    /// 0: the burst.
    pub attempt: u8,
    /// The row's version.
    pub version: u64,
    /// The row.
    pub row: ShardRow,
}

/// Every burst row (or late-retry row) of a slice, by number.
pub async fn of_slice(
    store: &dyn Store,
    launch: LaunchId,
    slice: u16,
    is_late: bool,
) -> Result<Vec<StoredShard>> {
    let rows = query_all(store, &partition(launch, slice, is_late)).await?;
    rows.iter().map(stored).collect()
}

/// A row that came with others, or with a conflict.
pub fn stored(row: &Row) -> Result<StoredShard> {
    let (shard, attempt) = row.key.sort.split_once('-').unwrap_or((&row.key.sort, "0"));
    let (Ok(shard), Ok(attempt)) = (shard.parse(), attempt.parse()) else {
        let place = format!("row {}/{} is no shard's", row.key.partition, row.key.sort);
        return Err(Error::new(ErrorKind::Storage, "store.read", place));
    };
    Ok(StoredShard { shard, attempt, version: row.version, row: ShardRow::decode(row)? })
}

/// Rows of given shards, in order.
pub async fn get(store: &dyn Store, names: &[ShardName]) -> Result<Vec<Option<StoredShard>>> {
    let keys: Vec<Key> = names.iter().map(ShardName::key).collect();
    let mut found = Vec::with_capacity(keys.len());
    for chunk in keys.chunks(100) {
        for row in store.get(chunk).await? {
            found.push(row.as_ref().map(stored).transpose()?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_row_reads_back() {
        let claim = Claim { owner: 7, epoch: 2, attempts: 3, lease_until: Timestamp(99), is_started: true };
        for (record, is_open) in [(None, false), (Some(vec![]), false), (Some(vec![1, 2, 3]), true)] {
            let row = ShardRow { claim: claim.clone(), record, is_open };
            let stored = Row { key: Key::new("p", "s"), version: 1, body: row.encode() };
            assert_eq!(ShardRow::decode(&stored).unwrap(), row);
        }
    }

    fn record(epoch: u32) -> ShardRecord {
        let outcome = model::Outcome::ACCEPTED;
        ShardRecord::uniform(LaunchId(1), 4, 10, epoch, "w", outcome).unwrap()
    }

    #[test]
    fn evidence_of_an_older_epoch_leaves_the_row_open() {
        let claim = Claim { owner: 7, epoch: 2, attempts: 2, lease_until: Timestamp(99), is_started: true };
        let mut row = ShardRow { claim, record: None, is_open: false };
        row.take(&record(1)).unwrap();
        assert!(row.is_open && !row.is_recorded() && row.is_held(Timestamp(98), Duration::ZERO));
        row.take(&record(2)).unwrap();
        assert!(row.is_recorded() && !row.is_held(Timestamp(98), Duration::ZERO));
        assert_eq!(row.read_record().unwrap().unwrap().parts().len(), 2);
        row.take(&record(1)).unwrap();
        assert!(row.is_recorded());
    }

    #[test]
    fn a_lease_holds_until_the_clocks_error_has_passed_too() {
        let claim = Claim { owner: 7, epoch: 2, attempts: 3, lease_until: Timestamp(99), is_started: true };
        let row = ShardRow { claim, record: None, is_open: false };
        let error = Duration::from_micros(5);
        let standing = |now| Standing::of(Some(&row), Timestamp(now), error);
        assert_eq!(standing(103), Standing::Held(Timestamp(104)));
        let before = Before { epoch: 2, attempts: 3, is_started: true, lease_until: Timestamp(99) };
        assert_eq!(standing(104), Standing::Free(before));
        assert_eq!(Standing::of(None, Timestamp(1), error), Standing::Free(Before::default()));
    }

    #[test]
    fn a_foreign_row_is_an_error() {
        let stored = Row { key: Key::new("p", "s"), version: 1, body: vec![9; 40] };
        assert_eq!(ShardRow::decode(&stored).unwrap_err().kind, ErrorKind::Storage);
    }
}
