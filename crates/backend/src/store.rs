//! Rows with conditional writes: the ground of every "once".

use async_trait::async_trait;

use crate::error::Result;

/// A row's name. Rows of one partition are ordered by `sort` (bytewise).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// 1 to 512 bytes.
    pub partition: String,
    /// 1 to 512 bytes.
    pub sort: String,
}

impl Key {
    /// The row `sort` of `partition`.
    pub fn new(partition: impl Into<String>, sort: impl Into<String>) -> Self {
        Self { partition: partition.into(), sort: sort.into() }
    }
}

/// A stored row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Name.
    pub key: Key,
    /// 1 when made, one more with each put. A row deleted and made again starts anew.
    pub version: u64,
    /// At most [`BODY_BYTES_MAX`].
    pub body: Vec<u8>,
}

/// The largest body, in bytes (a DynamoDB item is at most 400 KB).
pub const BODY_BYTES_MAX: usize = 350_000;
/// Most writes in one transaction (DynamoDB's limit).
pub const TRANSACTION_WRITES_MAX: usize = 100;

/// What must hold for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Anything,
    /// There is no such row.
    Absent,
    /// The row exists with this version.
    Version(u64),
}

/// What a write does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Makes or replaces the row.
    Put(Vec<u8>),
    /// Removes the row, if it is there.
    Delete,
    /// Only checks the condition.
    Check,
}

/// A conditional write of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which row.
    pub key: Key,
    /// Condition.
    pub expect: Expect,
    /// Effect.
    pub change: Change,
}

impl Write {
    /// Puts `body` under `key` if `expect` holds.
    pub const fn put(key: Key, expect: Expect, body: Vec<u8>) -> Self {
        Self { key, expect, change: Change::Put(body) }
    }

    /// Deletes `key` if `expect` holds.
    pub const fn delete(key: Key, expect: Expect) -> Self {
        Self { key, expect, change: Change::Delete }
    }

    /// Checks `expect` of `key`.
    pub const fn check(key: Key, expect: Expect) -> Self {
        Self { key, expect, change: Change::Check }
    }
}

/// What became of one write of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// Done; the row's new version (0 after a delete or a check).
    Done(u64),
    /// The condition did not hold. The row as it is now, if there is one.
    Conflict(Option<Row>),
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transacted {
    /// All writes were done.
    Done,
    /// None was: these (by position) had conditions that did not hold.
    Conflict(Vec<usize>),
}

/// Part of a partition, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Rows.
    pub rows: Vec<Row>,
    /// Whether there are more behind the last.
    pub has_more: bool,
}

/// Rows by partition and sort key. Every read is consistent: it sees every write acknowledged before it began.
#[async_trait]
pub trait Store: Send + Sync {
    /// Each row or its absence, in the order of `keys` (at most 100).
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>>;

    /// At most `limit` (1 to 1,000) rows of `partition` with a sort key greater than `after`, or lesser when
    /// `is_descending`; an empty `after` starts at the beginning, or the end.
    async fn query(&self, partition: &str, after: &str, limit: u32, is_descending: bool) -> Result<Page>;

    /// Many writes (any number), each by itself. Survives the death of every process; see `transact` for more.
    async fn write(&self, writes: Vec<Write>) -> Result<Vec<Written>>;

    /// All of at most [`TRANSACTION_WRITES_MAX`] writes on different rows, or none. Once acknowledged it survives the
    /// loss of power too.
    async fn transact(&self, writes: Vec<Write>) -> Result<Transacted>;
}

/// Every row of `partition`, page by page.
pub async fn query_all(store: &dyn Store, partition: &str) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    loop {
        let after = rows.last().map_or("", |row| row.key.sort.as_str()).to_owned();
        let page = store.query(partition, &after, 1_000, false).await?;
        rows.extend(page.rows);
        if !page.has_more {
            return Ok(rows);
        }
    }
}
