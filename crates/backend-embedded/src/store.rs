//! Rows: conditional writes as one statement each where that decides the condition, reads on a snapshot.

use std::sync::Arc;

use async_trait::async_trait;
use backend::store::{BODY_BYTES_MAX, TRANSACTION_WRITES_MAX, Transacted, Written};
use backend::{Change, Expect, Key, Page, Result, Row, Store, Write};
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params};

use crate::database::Database;
use crate::error::invalid;
use crate::jobs::Survives;

/// Most keys of one read.
const KEYS_MAX: usize = 100;
/// Most rows of one page.
const PAGE_ROWS_MAX: u32 = 1_000;
/// The longest part of a key, in bytes.
const KEY_BYTES_MAX: usize = 512;

/// The rows of a database.
pub(crate) struct Rows {
    database: Arc<Database>,
}

impl Rows {
    pub(crate) const fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

#[async_trait]
impl Store for Rows {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        const GET: &str = "store.get";
        if keys.len() > KEYS_MAX {
            return Err(invalid(GET, format!("{} keys, at most {KEYS_MAX}", keys.len())));
        }
        keys.iter().try_for_each(|key| check_key(GET, key))?;
        self.database.read(GET, |database| {
            let mut select = select(database)?;
            keys.iter().map(|key| read(&mut select, key)).collect()
        })
    }

    async fn query(&self, partition: &str, after: &str, limit: u32, is_descending: bool) -> Result<Page> {
        const QUERY: &str = "store.query";
        if !(1..=PAGE_ROWS_MAX).contains(&limit) {
            return Err(invalid(QUERY, format!("a page of {limit} rows, 1 to {PAGE_ROWS_MAX}")));
        }
        let sql = match (is_descending, after.is_empty()) {
            (false, _) => {
                "SELECT sort, version, body FROM rows WHERE partition = ?1 AND sort > ?2 ORDER BY sort LIMIT ?3"
            }
            (true, false) => {
                "SELECT sort, version, body FROM rows WHERE partition = ?1 AND sort < ?2 ORDER BY sort DESC LIMIT ?3"
            }
            (true, true) => {
                "SELECT sort, version, body FROM rows WHERE partition = ?1 AND ?2 = '' ORDER BY sort DESC LIMIT ?3"
            }
        };
        let mut rows = self.database.read(QUERY, |database| {
            let mut statement = database.prepare_cached(sql)?;
            // One more than asked for tells whether there are more.
            let found = statement.query_map(params![partition, after, limit + 1], |row| {
                let key = Key::new(partition, row.get::<_, String>(0)?);
                Ok(Row { key, version: unsigned(row.get(1)?), body: row.get(2)? })
            })?;
            found.collect::<rusqlite::Result<Vec<Row>>>()
        })?;
        let has_more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        Ok(Page { rows, has_more })
    }

    async fn write(&self, writes: Vec<Write>) -> Result<Vec<Written>> {
        const WRITE: &str = "store.write";
        writes.iter().try_for_each(|write| check_write(WRITE, write))?;
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        let run = move |database: &Connection| writes.iter().map(|write| apply(database, write)).collect();
        self.database.write(WRITE, Survives::Processes, run, |answer| answer).await
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<Transacted> {
        const TRANSACT: &str = "store.transact";
        check_transaction(TRANSACT, &writes)?;
        let run = move |database: &Connection| transact(database, &writes);
        self.database.write(TRANSACT, Survives::Power, run, |answer| answer).await
    }
}

fn check_transaction(operation: &'static str, writes: &[Write]) -> Result<()> {
    if writes.len() > TRANSACTION_WRITES_MAX {
        let message = format!("{} writes, at most {TRANSACTION_WRITES_MAX}", writes.len());
        return Err(invalid(operation, message));
    }
    writes.iter().try_for_each(|write| check_write(operation, write))?;
    let mut keys: Vec<&Key> = writes.iter().map(|write| &write.key).collect();
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            let Key { partition, sort } = pair[0];
            Err(invalid(operation, format!("row {partition}/{sort} is written twice")))
        }
        None => Ok(()),
    }
}

fn check_write(operation: &'static str, write: &Write) -> Result<()> {
    check_key(operation, &write.key)?;
    match &write.change {
        Change::Put(body) if body.len() > BODY_BYTES_MAX => {
            let Key { partition, sort } = &write.key;
            let bytes = body.len();
            let message = format!("row {partition}/{sort} has {bytes} bytes, at most {BODY_BYTES_MAX}");
            Err(invalid(operation, message))
        }
        _ => Ok(()),
    }
}

fn check_key(operation: &'static str, key: &Key) -> Result<()> {
    let fits = |part: &str| (1..=KEY_BYTES_MAX).contains(&part.len());
    if fits(&key.partition) && fits(&key.sort) {
        return Ok(());
    }
    let Key { partition, sort } = key;
    let message = format!("each part of key {partition:?}/{sort:?} must have 1 to {KEY_BYTES_MAX} bytes");
    Err(invalid(operation, message))
}

fn select(database: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
    database.prepare_cached("SELECT version, body FROM rows WHERE partition = ?1 AND sort = ?2")
}

fn read(select: &mut CachedStatement<'_>, key: &Key) -> rusqlite::Result<Option<Row>> {
    let found = select.query_row(params![key.partition, key.sort], |row| {
        Ok(Row { key: key.clone(), version: unsigned(row.get(0)?), body: row.get(1)? })
    });
    found.optional()
}

/// One write by itself.
fn apply(database: &Connection, write: &Write) -> rusqlite::Result<Written> {
    let done = match &write.change {
        Change::Put(body) => put(database, &write.key, write.expect, body)?,
        Change::Delete => delete(database, &write.key, write.expect)?,
        Change::Check => holds(version(database, &write.key)?, write.expect).then_some(0),
    };
    match done {
        Some(version) => Ok(Written::Done(version)),
        None => Ok(Written::Conflict(read(&mut select(database)?, &write.key)?)),
    }
}

/// All writes, or none: conditions first.
fn transact(database: &Connection, writes: &[Write]) -> rusqlite::Result<Transacted> {
    let mut conflicts = Vec::new();
    for (position, write) in writes.iter().enumerate() {
        if !holds(version(database, &write.key)?, write.expect) {
            conflicts.push(position);
        }
    }
    if !conflicts.is_empty() {
        return Ok(Transacted::Conflict(conflicts));
    }
    for write in writes {
        match &write.change {
            Change::Put(body) => put(database, &write.key, Expect::Anything, body)?,
            Change::Delete => delete(database, &write.key, Expect::Anything)?,
            Change::Check => None,
        };
    }
    Ok(Transacted::Done)
}

fn version(database: &Connection, key: &Key) -> rusqlite::Result<Option<u64>> {
    let mut select =
        database.prepare_cached("SELECT version FROM rows WHERE partition = ?1 AND sort = ?2")?;
    let version = select.query_row(params![key.partition, key.sort], |row| row.get(0)).optional()?;
    Ok(version.map(unsigned))
}

fn holds(version: Option<u64>, expect: Expect) -> bool {
    match expect {
        Expect::Anything => true,
        Expect::Absent => version.is_none(),
        Expect::Version(wanted) => version == Some(wanted),
    }
}

/// Puts a row; its new version, or nothing when `expect` does not hold.
fn put(database: &Connection, key: &Key, expect: Expect, body: &[u8]) -> rusqlite::Result<Option<u64>> {
    let Key { partition, sort } = key;
    match expect {
        // An upsert that returns the version would build a temporary table.
        Expect::Anything => match version(database, key)? {
            Some(version) => put(database, key, Expect::Version(version), body),
            None => put(database, key, Expect::Absent, body),
        },
        Expect::Absent => {
            let sql = "INSERT INTO rows (partition, sort, version, body) VALUES (?1, ?2, 1, ?3) ON CONFLICT DO NOTHING";
            let inserted = database.prepare_cached(sql)?.execute(params![partition, sort, body])?;
            Ok((inserted == 1).then_some(1))
        }
        Expect::Version(version) => {
            let sql = "UPDATE rows SET version = version + 1, body = ?3
                WHERE partition = ?1 AND sort = ?2 AND version = ?4";
            let updated =
                database.prepare_cached(sql)?.execute(params![partition, sort, body, signed(version)])?;
            Ok((updated == 1).then_some(version + 1))
        }
    }
}

/// Removes a row; 0, or nothing when `expect` does not hold.
fn delete(database: &Connection, key: &Key, expect: Expect) -> rusqlite::Result<Option<u64>> {
    if !holds(version(database, key)?, expect) {
        return Ok(None);
    }
    let mut delete = database.prepare_cached("DELETE FROM rows WHERE partition = ?1 AND sort = ?2")?;
    delete.execute(params![key.partition, key.sort])?;
    Ok(Some(0))
}

/// SQLite counts with a sign; no version comes near it.
const fn unsigned(version: i64) -> u64 {
    version.cast_unsigned()
}

const fn signed(version: u64) -> i64 {
    version.cast_signed()
}
