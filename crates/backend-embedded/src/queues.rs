//! Queues as rows of one table. A receipt names a message and one receive of it; it is good until that receive's
//! visibility ends.

mod bells;
mod parcel;
mod receipt;
mod table;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backend::queues::{CALL_MESSAGES_MAX, DELAY_MAX, MESSAGE_BYTES_MAX};
use backend::{Delivery, Outgoing, Queue, Queues, Result};
use model::Timestamp;
use model::runtime::Runtime;
use rusqlite::Connection;

pub(crate) use self::bells::Bells;
use self::parcel::Parcel;
use self::receipt::Receipt;
use self::table::Received;
use crate::database::Database;
use crate::error::invalid;
use crate::jobs::Survives;

/// The longest visibility (SQS: 12 hours).
const VISIBILITY_MAX: Duration = Duration::from_secs(43_200);

/// The queues of a database.
pub(crate) struct Messages {
    database: Arc<Database>,
    runtime: Runtime,
    bells: Arc<Bells>,
}

impl Messages {
    /// `bells` are those that the database rings when another process did something.
    pub(crate) fn new(database: Arc<Database>, bells: Arc<Bells>, runtime: &Runtime) -> Self {
        Self { database, runtime: runtime.clone(), bells }
    }

    fn now(&self) -> Timestamp {
        self.runtime.clock.now()
    }

    /// Takes what is visible now.
    async fn take(&self, queue: Queue, max: usize) -> Result<Received> {
        let now = self.now();
        // Odd, so that it is never 0.
        let nonce = self.runtime.randomness.u64().cast_signed() | 1;
        let run = move |database: &Connection| table::receive(database, queue, max, now, nonce);
        let (database, bells) = (Arc::clone(&self.database), Arc::clone(&self.bells));
        let after = move |received: Received| {
            if let Some(dead) = queue.dead().filter(|_| received.any_died) {
                bells.ring(dead);
            }
            Parcel::new(queue, received, now, database, bells)
        };
        let parcel = self.database.write("queues.receive", Survives::Processes, run, after).await?;
        Ok(parcel.take())
    }

    /// Does `change` to every receipt, then rings: a message may be visible, or a group free.
    async fn each(
        &self,
        operation: &'static str,
        queue: Queue,
        receipts: Vec<String>,
        change: impl Fn(&Connection, Queue, Receipt) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<()> {
        let receipts: Vec<Receipt> =
            receipts.iter().map(|text| Receipt::parse(operation, text)).collect::<Result<_>>()?;
        if receipts.is_empty() {
            return Ok(());
        }
        let run = move |database: &Connection| {
            receipts.iter().try_for_each(|receipt| change(database, queue, *receipt))
        };
        let bells = Arc::clone(&self.bells);
        self.database.write(operation, Survives::Processes, run, move |()| bells.ring(queue)).await
    }
}

#[async_trait]
impl Queues for Messages {
    async fn send(&self, queue: Queue, messages: Vec<Outgoing>) -> Result<()> {
        messages.iter().try_for_each(|message| check(queue, message))?;
        if messages.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let run = move |database: &Connection| table::send(database, queue, &messages, now);
        let bells = Arc::clone(&self.bells);
        self.database.write("queues.send", Survives::Processes, run, move |()| bells.ring(queue)).await
    }

    async fn receive(&self, queue: Queue, max: usize, wait: Duration) -> Result<Vec<Delivery>> {
        if !(1..=CALL_MESSAGES_MAX).contains(&max) {
            let message = format!("{max} messages in one call, 1 to {CALL_MESSAGES_MAX}");
            return Err(invalid("queues.receive", message));
        }
        let clock = &self.runtime.clock;
        let until = clock.monotonic() + wait;
        let _waiting = (!wait.is_zero()).then(|| self.bells.wait(queue));
        loop {
            let mut rung = pin!(self.bells.rung(queue));
            // From here on no ring is missed, also not one during the look at the table.
            rung.as_mut().enable();
            let received = self.take(queue, max).await?;
            let left = until.since(clock.monotonic());
            if !received.deliveries.is_empty() || left.is_zero() {
                return Ok(received.deliveries);
            }
            let nap = received.next_visible.map_or(left, |at| left.min(at.since(self.now())));
            tokio::select! {
                () = rung => {}
                () = clock.sleep(nap) => {}
            }
        }
    }

    async fn delete(&self, queue: Queue, receipts: Vec<String>) -> Result<()> {
        let now = self.now();
        self.each("queues.delete", queue, receipts, move |database, queue, receipt| {
            table::delete(database, queue, receipt, now)
        })
        .await
    }

    async fn extend(&self, queue: Queue, receipts: Vec<String>, visibility: Duration) -> Result<()> {
        check_visibility("queues.extend", visibility)?;
        let now = self.now();
        self.each("queues.extend", queue, receipts, move |database, queue, receipt| {
            table::extend(database, queue, receipt, now, now + visibility)
        })
        .await
    }

    async fn give_back(&self, queue: Queue, receipts: Vec<String>, delay: Duration) -> Result<()> {
        check_visibility("queues.give_back", delay)?;
        let now = self.now();
        self.each("queues.give_back", queue, receipts, move |database, queue, receipt| {
            table::give_back(database, queue, receipt, now, now + delay)
        })
        .await
    }

    async fn depth(&self, queue: Queue) -> Result<u64> {
        self.database.read("queues.depth", |database| table::depth(database, queue))
    }
}

fn check(queue: Queue, message: &Outgoing) -> Result<()> {
    let bytes = message.body.len();
    let fault = if !(1..=MESSAGE_BYTES_MAX).contains(&bytes) {
        format!("a body of {bytes} bytes, 1 to {MESSAGE_BYTES_MAX}")
    } else if message.delay > DELAY_MAX {
        format!("a delay of {:?}, at most {DELAY_MAX:?}", message.delay)
    } else if queue.is_fifo() != message.fifo.is_some() {
        format!("group and deduplication id are for FIFO queues and only for them, this is {}", queue.name())
    } else if queue.is_fifo() && !message.delay.is_zero() {
        "a delay on a FIFO queue".to_owned()
    } else {
        return Ok(());
    };
    Err(invalid("queues.send", fault))
}

fn check_visibility(operation: &'static str, visibility: Duration) -> Result<()> {
    if visibility <= VISIBILITY_MAX {
        return Ok(());
    }
    Err(invalid(operation, format!("a visibility of {visibility:?}, at most {VISIBILITY_MAX:?}")))
}
