//! The statements on the tables of messages. Times are microseconds since the epoch. A message is in flight while
//! `nonce` is not 0 and `visible_at` lies ahead.

use backend::queues::{DEDUPLICATION, RECEIVES_MAX};
use backend::{Delivery, Fifo, Outgoing, Queue};
use model::Timestamp;
use rusqlite::{Connection, params};

use super::receipt::Receipt;

/// What one look at a queue gave.
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

const RECEIVE: &str = "UPDATE messages SET visible_at = ?4, receives = receives + 1, nonce = ?5 WHERE id IN (
        SELECT id FROM messages WHERE queue = ?1 AND visible_at <= ?2 ORDER BY visible_at, id LIMIT ?3
    ) RETURNING id, receives, body";

/// Only the first of each group can be received, so none is while another of its group is in flight.
const RECEIVE_FIFO: &str =
    "UPDATE messages SET visible_at = ?4, receives = receives + 1, nonce = ?5 WHERE id IN (
        SELECT id FROM messages AS one WHERE queue = ?1 AND visible_at <= ?2 AND NOT EXISTS (
            SELECT 1 FROM messages AS before
            WHERE before.queue = one.queue AND before.grp = one.grp AND before.id < one.id
        ) ORDER BY id LIMIT ?3
    ) RETURNING id, receives, body";

pub(super) fn receive(
    database: &Connection,
    queue: Queue,
    max: usize,
    now: Timestamp,
    nonce: i64,
) -> rusqlite::Result<Received> {
    let mut received = Received { deliveries: Vec::new(), any_died: false, next_visible: None };
    loop {
        let left = max - received.deliveries.len();
        let mut taken = take(database, queue, left, now, nonce)?;
        taken.sort_unstable_by_key(|(id, ..)| *id);
        let mut has_died = false;
        for (id, receives, body) in taken {
            match queue.dead() {
                Some(dead) if receives > RECEIVES_MAX => {
                    bury(database, id, dead, now)?;
                    has_died = true;
                }
                _ => {
                    let receipt = Receipt { id, nonce }.to_string();
                    received.deliveries.push(Delivery { receipt, body, receives });
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

type Taken = (i64, u32, String);

fn take(
    database: &Connection,
    queue: Queue,
    max: usize,
    now: Timestamp,
    nonce: i64,
) -> rusqlite::Result<Vec<Taken>> {
    let mut update = database.prepare_cached(if queue.is_fifo() { RECEIVE_FIFO } else { RECEIVE })?;
    let until = micros(now + queue.visibility());
    let rows = update.query_map(params![queue.name(), micros(now), max as i64, until, nonce], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })?;
    rows.collect()
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
