//! Faults over a store.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Faults, Operation};
use crate::error::Result;
use crate::store::{Key, Page, Row, Store, Transacted, Write, Written};

pub(super) struct Faulty {
    pub(super) inner: Arc<dyn Store>,
    pub(super) faults: Faults,
}

#[async_trait]
impl Store for Faulty {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        self.faults.whole(Operation::Get, self.inner.get(keys)).await
    }

    async fn query(&self, partition: &str, after: &str, limit: u32, is_descending: bool) -> Result<Page> {
        self.faults.whole(Operation::Query, self.inner.query(partition, after, limit, is_descending)).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<Vec<Written>> {
        let mut decision = self.faults.decide(Operation::Write);
        let mut part = writes.clone();
        part.truncate(decision.draw.below(writes.len()));
        let (whole, part) = (self.inner.write(writes), self.inner.write(part));
        self.faults.around(Operation::Write, decision, whole, Some(part)).await
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<Transacted> {
        self.faults.whole(Operation::Transact, self.inner.transact(writes)).await
    }
}
