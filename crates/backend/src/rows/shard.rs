//! A shard's row: who holds it, and what became of its devices. One row, so that recording is conditional on the
//! claim and truth is "plan minus records".

use model::{LaunchId, Timestamp};

use crate::error::{Error, ErrorKind, Result};
use crate::store::{Expect, Key, Row, Store, Write, query_all};

/// Who may send a shard, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The worker.
    pub owner: u128,
    /// 1 for the first claim, one more with each takeover.
    pub epoch: u32,
    /// Times the shard was claimed for sending and not given back untouched.
    pub attempts: u32,
    /// The claim is good until then, on the wall clock.
    pub lease_until: Timestamp,
    /// Whether a request may have left under this or an earlier claim.
    pub is_started: bool,
}

/// The row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardRow {
    /// The last claim.
    pub claim: Claim,
    /// The record (`report::ShardRecord`'s stored form), once there is one.
    pub record: Option<Vec<u8>>,
}

/// Row bytes before the record.
const HEAD_BYTES: usize = 34;
const FORMAT: u8 = 1;

impl ShardRow {
    /// Whether this claim keeps others out at `now`, given the clocks' error.
    pub fn is_held(&self, now: Timestamp, clock_error: std::time::Duration) -> bool {
        self.record.is_none() && self.claim.lease_until + clock_error > now
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let claim = &self.claim;
        let record = self.record.as_deref().unwrap_or_default();
        let mut bytes = Vec::with_capacity(HEAD_BYTES + record.len());
        bytes.push(FORMAT);
        bytes.push(u8::from(claim.is_started) | u8::from(self.record.is_some()) << 1);
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
        (format == FORMAT).then_some(Self { claim, record })
    }
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

fn stored(row: &Row) -> Result<StoredShard> {
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
        for record in [None, Some(vec![]), Some(vec![1, 2, 3])] {
            let row = ShardRow { claim: claim.clone(), record };
            let stored = Row { key: Key::new("p", "s"), version: 1, body: row.encode() };
            assert_eq!(ShardRow::decode(&stored).unwrap(), row);
        }
    }

    #[test]
    fn a_foreign_row_is_an_error() {
        let stored = Row { key: Key::new("p", "s"), version: 1, body: vec![9; 40] };
        assert_eq!(ShardRow::decode(&stored).unwrap_err().kind, ErrorKind::Storage);
    }
}
