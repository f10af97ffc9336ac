//! What became of a launch's devices in the end: each shard's record, changed by its late retries.

use std::collections::BTreeMap;

use model::{LaunchId, OutcomeRuns};
use report::ShardRecord;
use report::record::settle;

use super::shard;
use crate::error::Result;
use crate::store::Store;

/// The final outcomes of a slice's recorded shards, by number: one for each device, in the order of the shard.
pub async fn of_slice(store: &dyn Store, launch: LaunchId, slice: u16) -> Result<BTreeMap<u32, OutcomeRuns>> {
    let mut late: BTreeMap<u32, Vec<ShardRecord>> = BTreeMap::new();
    for stored in shard::of_slice(store, launch, slice, true).await? {
        if let Some(record) = stored.row.read_record()? {
            late.entry(stored.shard).or_default().push(record);
        }
    }
    let mut outcomes = BTreeMap::new();
    for stored in shard::of_slice(store, launch, slice, false).await? {
        let record = stored.row.read_record()?.filter(|_| stored.row.is_recorded());
        let Some(burst) = record else { continue };
        let late: Vec<&ShardRecord> = late.get(&stored.shard).into_iter().flatten().collect();
        outcomes.insert(stored.shard, settle(&burst, &late));
    }
    Ok(outcomes)
}
