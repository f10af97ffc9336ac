//! Closing a shard that nobody will send: claim and record in one conditional write, so that no worker can have it too.

use backend::rows::shard::{self, Claim, ShardName, ShardRow, StoredShard};
use backend::store::{Expect, Written};
use model::OutcomeRuns;
use model::{Outcome, Timestamp};
use report::{Part, Positions, ShardRecord};

use crate::Dispatcher;
use crate::error::{Error, Result};
use crate::known::Known;

/// A shard to close.
#[derive(Debug)]
pub(crate) struct Closing {
    pub(crate) name: ShardName,
    /// Its row as it was judged.
    pub(crate) row: Option<StoredShard>,
    /// The devices of the attempt: all in the burst.
    pub(crate) positions: Positions,
    /// Devices of the shard.
    pub(crate) devices: u32,
    /// For each device of which the record says less.
    pub(crate) outcome: Outcome,
}

/// Writes of one call: a bulk close after an abort must not hold the store's writer for long.
const WRITES_MAX: usize = 500;

impl Dispatcher {
    /// Closes shards; gives back, in order, whether each is recorded now. One whose row changed meanwhile is not, and is
    /// judged again at the next look.
    pub(crate) async fn close(&self, known: &Known, closings: &[Closing]) -> Result<Vec<bool>> {
        let mut closed = Vec::with_capacity(closings.len());
        for chunk in closings.chunks(WRITES_MAX) {
            let writes = chunk.iter().map(|closing| self.closing_write(known, closing));
            let written = self.backend.store.write(writes.collect::<Result<_>>()?).await?;
            closed.extend(written.iter().map(|written| matches!(written, Written::Done(_))));
        }
        Ok(closed)
    }

    fn closing_write(&self, known: &Known, closing: &Closing) -> Result<backend::Write> {
        let (launch, shard) = (known.id(), closing.name.shard);
        let before = closing.row.as_ref().map(|stored| &stored.row.claim);
        let epoch = before.map_or(0, |claim| claim.epoch) + 1;
        let claim = Claim {
            owner: 0,
            epoch,
            attempts: before.map_or(0, |claim| claim.attempts),
            lease_until: Timestamp(0),
            is_started: before.is_some_and(|claim| claim.is_started),
        };
        let part = Part {
            worker: self.config.name.clone(),
            outcomes: OutcomeRuns::uniform(closing.outcome, closing.positions.count()),
            positions: closing.positions.clone(),
            ..Part::default()
        };
        let record = ShardRecord::new(launch, shard, closing.name.attempt, closing.devices, epoch, part)
            .map_err(|source| Error::Record { launch, shard, source })?;
        let known = closing.row.as_ref().and_then(|stored| stored.row.record.clone());
        let mut row = ShardRow { claim, is_open: known.is_some(), record: known };
        row.take(&record)?;
        let expect = closing.row.as_ref().map_or(Expect::Absent, |stored| Expect::Version(stored.version));
        Ok(shard::put(&closing.name, &row, expect))
    }
}
