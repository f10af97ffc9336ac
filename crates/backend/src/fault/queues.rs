//! Faults over queues. Messages that shall come again or later are kept here until a receive of their queue.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::{Decision, Fault, Faults, Operation};
use crate::error::Result;
use crate::queues::{Delivery, Outgoing, Queue, Queues};

pub(super) struct Faulty {
    inner: Arc<dyn Queues>,
    faults: Faults,
    kept: Mutex<BTreeMap<Queue, Vec<Delivery>>>,
}

impl Faulty {
    pub(super) fn new(inner: Arc<dyn Queues>, faults: Faults) -> Self {
        Self { inner, faults, kept: Mutex::default() }
    }

    /// Takes out up to `max` of the messages kept for `queue`.
    fn take_kept(&self, queue: Queue, max: usize) -> Vec<Delivery> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.entry(queue).or_default();
        let count = kept.len().min(max);
        kept.drain(..count).collect()
    }

    fn keep(&self, queue: Queue, deliveries: Vec<Delivery>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entry(queue).or_default().extend(deliveries);
    }

    /// Duplicates and reorders what a standard queue gave.
    fn disturb(&self, queue: Queue, mut deliveries: Vec<Delivery>, decision: &mut Decision) -> Vec<Delivery> {
        if queue.is_fifo() || deliveries.is_empty() {
            return deliveries;
        }
        let Decision { shares, draw, .. } = decision;
        let mut again = deliveries.clone();
        again.retain(|_| draw.unit() < shares.duplicate);
        again.iter().for_each(|_| self.faults.count(Operation::Receive, Fault::Duplicate));
        if draw.unit() < shares.reorder {
            self.faults.count(Operation::Receive, Fault::Reorder);
            for last in (1..deliveries.len()).rev() {
                deliveries.swap(last, draw.below(last + 1));
            }
            // At least one comes now, or the wait would have been for nothing.
            again.extend(deliveries.split_off(1 + draw.below(deliveries.len())));
        }
        self.keep(queue, again);
        deliveries
    }
}

#[async_trait]
impl Queues for Faulty {
    async fn send(&self, queue: Queue, messages: Vec<Outgoing>) -> Result<()> {
        let mut decision = self.faults.decide(Operation::Send);
        let mut part = messages.clone();
        part.truncate(decision.draw.below(messages.len()));
        let (whole, part) = (self.inner.send(queue, messages), self.inner.send(queue, part));
        self.faults.around(Operation::Send, decision, whole, Some(part)).await
    }

    async fn receive(&self, queue: Queue, max: usize, wait: Duration) -> Result<Vec<Delivery>> {
        let mut decision = self.faults.decide(Operation::Receive);
        let mut deliveries = if decision.failure.is_none() { self.take_kept(queue, max) } else { Vec::new() };
        if deliveries.len() == max && max > 0 {
            return Ok(deliveries);
        }
        let wait = if deliveries.is_empty() { wait } else { Duration::ZERO };
        let call = self.inner.receive(queue, max - deliveries.len(), wait);
        let this = Decision {
            failure: decision.failure,
            shares: decision.shares,
            draw: super::Draw(decision.draw.bits()),
        };
        let received =
            match self.faults.around(Operation::Receive, this, call, None::<std::future::Pending<_>>).await {
                Ok(received) => received,
                Err(error) => {
                    self.keep(queue, deliveries);
                    return Err(error);
                }
            };
        deliveries.extend(self.disturb(queue, received, &mut decision));
        Ok(deliveries)
    }

    async fn delete(&self, queue: Queue, receipts: Vec<String>) -> Result<()> {
        self.faults.whole(Operation::Delete, self.inner.delete(queue, receipts)).await
    }

    async fn extend(&self, queue: Queue, receipts: Vec<String>, visibility: Duration) -> Result<()> {
        self.faults.whole(Operation::Extend, self.inner.extend(queue, receipts, visibility)).await
    }

    async fn give_back(&self, queue: Queue, receipts: Vec<String>, delay: Duration) -> Result<()> {
        self.faults.whole(Operation::GiveBack, self.inner.give_back(queue, receipts, delay)).await
    }

    async fn depth(&self, queue: Queue) -> Result<u64> {
        self.faults.whole(Operation::Depth, self.inner.depth(queue)).await
    }
}
