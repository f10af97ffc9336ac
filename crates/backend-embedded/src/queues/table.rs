//! The statements on the tables of messages. Times are microseconds since the epoch. A message is in flight while
//! `nonce` is not 0 and `visible_at` lies ahead.

use backend::queues::{DEDUPLICATION, RECEIVES_MAX};
use backend::{Delivery, Fifo, Outgoing, Queue};
use model::Timestamp;
use rusqlite::{Connection, params};

use super::receipt::Receipt;

/// What one look at a queue gave.
#[derive(Default)]
pub(super) struct Received {
    pub(super) deliveries: Vec<Delivery>,
    /// Whether messages went to the dead letters instead.
    pub(super) any_died: bool,
    /// When the next message becomes visible, if nothing happens before.
    pub(super) next_visible: Option<Timestamp>,
}

pub(super) fn send(
    database: &Connection,
    queue: Queue,
    messages: &[Outgoing],
    now: Timestamp,
) -> rusqlite::Result<()> {
    if queue.is_fifo() {
        let sql = "DELETE FROM deduplications WHERE queue = ?1 AND until <= ?2";
        database.prepare_cached(sql)?.execute(params![queue.name(), micros(now)])?;
    }
    let mut insert = database.prepare_cached(
        "INSERT INTO messages (queue, visible_at, receives, nonce, grp, body) VALUES (?1, ?2, 0, 0, ?3, ?4)",
    )?;
    for message in messages {
        let group = match &message.fifo {
            Some(fifo) if !remember(database, queue, fifo, now)? => continue,
            fifo => fifo.as_ref().map(|fifo| &fifo.group),
        };
        let visible_at = micros(now + message.delay);
        insert.execute(params![queue.name(), visible_at, group, message.body])?;
    }
    Ok(())
}

/// Whether this deduplication id is new.
fn remember(database: &Connection, queue: Queue, fifo: &Fifo, now: Timestamp) -> rusqlite::Result<bool> {
    let sql = "INSERT INTO deduplications VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    let until = micros(now + DEDUPLICATION);
    let inserted = database.prepare_cached(sql)?.execute(params![queue.name(), fifo.deduplication, until])?;
    Ok(inserted == 1)
}

// A select and an update by id for each message: `UPDATE ... IN (SELECT ...) RETURNING` says the same in one statement and costs
// twice, because it builds two temporary tables.

const VISIBLE: &str = "SELECT id, receives, body FROM messages
    WHERE queue = ?1 AND visible_at <= ?2 ORDER BY visible_at, id LIMIT ?3";

/// Only the first of each group can be received, so none is while another of its group is in flight.
const VISIBLE_FIFO: &str = "SELECT id, receives, body FROM messages AS one
    WHERE queue = ?1 AND visible_at <= ?2 AND NOT EXISTS (
        SELECT 1 FROM messages AS before
        WHERE before.queue = one.queue AND before.grp = one.grp AND before.id < one.id
    ) ORDER BY id LIMIT ?3";

pub(super) fn receive(
    database: &Connection,
    queue: Queue,
    max: usize,
    now: Timestamp,
    nonce: i64,
) -> rusqlite::Result<Received> {
    let mut received = Received::default();
    loop {
        let left = max - received.deliveries.len();
        let mut has_died = false;
        for (id, receives, body) in visible(database, queue, left, now)? {
            match queue.dead() {
                Some(dead) if receives >= RECEIVES_MAX => {
                    bury(database, id, dead, now)?;
                    has_died = true;
                }
                _ => {
                    hide(database, id, now + queue.visibility(), nonce)?;
                    let receipt = Receipt { id, nonce }.to_string();
                    received.deliveries.push(Delivery { receipt, body, receives: receives + 1 });
                }
            }
        }
        received.any_died |= has_died;
        // What died made room for another message, or freed its group.
        if !has_died {
            break;
        }
    }
    if received.deliveries.is_empty() {
        received.next_visible = next_visible(database, queue, now)?;
    }
    Ok(received)
}

/// Id, receives so far, body.
type Visible = (i64, u32, String);

fn visible(
    database: &Connection,
    queue: Queue,
    max: usize,
    now: Timestamp,
) -> rusqlite::Result<Vec<Visible>> {
    let mut select = database.prepare_cached(if queue.is_fifo() { VISIBLE_FIFO } else { VISIBLE })?;
    let rows = select.query_map(params![queue.name(), micros(now), max as i64], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })?;
    rows.collect()
}

fn hide(database: &Connection, id: i64, until: Timestamp, nonce: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE messages SET visible_at = ?2, receives = receives + 1, nonce = ?3 WHERE id = ?1";
    database.prepare_cached(sql)?.execute(params![id, micros(until), nonce]).map(drop)
}

fn bury(database: &Connection, id: i64, dead: Queue, now: Timestamp) -> rusqlite::Result<()> {
    let sql = "UPDATE messages SET queue = ?2, visible_at = ?3, receives = 0, nonce = 0 WHERE id = ?1";
    database.prepare_cached(sql)?.execute(params![id, dead.name(), micros(now)]).map(drop)
}

fn next_visible(database: &Connection, queue: Queue, now: Timestamp) -> rusqlite::Result<Option<Timestamp>> {
    let sql = "SELECT min(visible_at) FROM messages WHERE queue = ?1 AND visible_at > ?2";
    let next: Option<i64> =
        database.prepare_cached(sql)?.query_row(params![queue.name(), micros(now)], |row| row.get(0))?;
    Ok(next.map(|micros| Timestamp(micros.cast_unsigned())))
}

/// When the earliest message is or becomes visible.
pub(super) fn earliest(database: &Connection, queue: Queue) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT min(visible_at) FROM messages WHERE queue = ?1";
    database.prepare_cached(sql)?.query_row([queue.name()], |row| row.get(0))
}

pub(super) fn delete(
    database: &Connection,
    queue: Queue,
    receipt: Receipt,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let sql = "DELETE FROM messages WHERE id = ?1 AND queue = ?2 AND nonce = ?3 AND visible_at > ?4";
    let Receipt { id, nonce } = receipt;
    database.prepare_cached(sql)?.execute(params![id, queue.name(), nonce, micros(now)]).map(drop)
}

pub(super) fn extend(
    database: &Connection,
    queue: Queue,
    receipt: Receipt,
    now: Timestamp,
    until: Timestamp,
) -> rusqlite::Result<()> {
    let sql =
        "UPDATE messages SET visible_at = ?5 WHERE id = ?1 AND queue = ?2 AND nonce = ?3 AND visible_at > ?4";
    let Receipt { id, nonce } = receipt;
    let mut update = database.prepare_cached(sql)?;
    update.execute(params![id, queue.name(), nonce, micros(now), micros(until)]).map(drop)
}

pub(super) fn give_back(
    database: &Connection,
    queue: Queue,
    receipt: Receipt,
    now: Timestamp,
    visible_at: Timestamp,
) -> rusqlite::Result<()> {
    let sql = "UPDATE messages SET visible_at = ?5, receives = receives - 1, nonce = 0
        WHERE id = ?1 AND queue = ?2 AND nonce = ?3 AND visible_at > ?4";
    let Receipt { id, nonce } = receipt;
    let mut update = database.prepare_cached(sql)?;
    update.execute(params![id, queue.name(), nonce, micros(now), micros(visible_at)]).map(drop)
}

pub(super) fn depth(database: &Connection, queue: Queue) -> rusqlite::Result<u64> {
    let sql = "SELECT count(*) FROM messages WHERE queue = ?1";
    let messages: i64 = database.prepare_cached(sql)?.query_row([queue.name()], |row| row.get(0))?;
    Ok(messages.cast_unsigned())
}

const fn micros(at: Timestamp) -> i64 {
    at.as_micros() as i64
}
