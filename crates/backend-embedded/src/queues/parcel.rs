//! Received messages on their way to a caller who may have gone: then they go back, or they would stay hidden for nothing.

use std::sync::Arc;

use backend::Queue;
use model::Timestamp;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::bells::Bells;
use super::receipt::Receipt;
use super::table::{self, Received};
use crate::database::Database;
use crate::jobs::{Call, Survives};

/// See the module.
pub(super) struct Parcel {
    queue: Queue,
    received: Received,
    received_at: Timestamp,
    database: Arc<Database>,
    bells: Arc<Bells>,
}

impl Parcel {
    pub(super) const fn new(
        queue: Queue,
        received: Received,
        received_at: Timestamp,
        database: Arc<Database>,
        bells: Arc<Bells>,
    ) -> Self {
        Self { queue, received, received_at, database, bells }
    }

    /// Hands over what is in it.
    pub(super) fn take(mut self) -> Received {
        std::mem::take(&mut self.received)
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        let deliveries = std::mem::take(&mut self.received.deliveries);
        let parse = |receipt: &String| Receipt::parse("queues.receive", receipt).ok();
        let receipts: Vec<Receipt> = deliveries.iter().filter_map(|one| parse(&one.receipt)).collect();
        if receipts.is_empty() {
            return;
        }
        let (queue, at, bells) = (self.queue, self.received_at, Arc::clone(&self.bells));
        // Nobody waits for the answer.
        let (reply, _) = oneshot::channel();
        self.database.submit(Box::new(Call {
            operation: "queues.receive",
            survives: Survives::Processes,
            run: move |database: &Connection| {
                receipts.iter().try_for_each(|receipt| table::give_back(database, queue, *receipt, at, at))
            },
            after: move |()| bells.ring(queue),
            value: None,
            reply,
        }));
    }
}
