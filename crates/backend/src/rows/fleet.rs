//! What workers say of themselves: heartbeats (what they hold, whether they are warm) and progress by launch.

use model::{CampaignId, Digest, LaunchId, Platform, Timestamp};
use serde::{Deserialize, Serialize};

use super::{decode, encode};
use crate::error::Result;
use crate::store::{Expect, Key, Store, Write, query_all};

/// A connection pool as a worker has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Provider.
    pub platform: Platform,
    /// Topic or project.
    pub app: String,
    /// Connections wanted.
    pub connections: u32,
    /// Connections that can take requests at once.
    pub warm: u32,
    /// Why the last one failed; empty when none did.
    pub last_error: String,
}

/// A worker's heartbeat, written at least every 500 ms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The worker.
    pub worker: String,
    /// When it was written.
    pub at: Timestamp,
    /// Since when it runs.
    pub started_at: Timestamp,
    /// Version of the binary.
    pub version: String,
    /// Snapshots it holds, verified.
    pub snapshots: Vec<Digest>,
    /// The version of the late list that it holds for each; 0 where none is named.
    #[serde(default)]
    pub late_list: Vec<(Digest, u64)>,
    /// Snapshots it wants but could not load, with the reason.
    pub failed: Vec<(Digest, String)>,
    /// Its pools.
    pub pools: Vec<Pool>,
    /// What these snapshots take of its memory, in bytes.
    pub snapshot_bytes: u64,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// The kernel's clock error, in microseconds.
    pub clock_error_us: u64,
}

/// How old a heartbeat may be to count as ready.
pub const HEARTBEAT_AGE_MAX: std::time::Duration = std::time::Duration::from_millis(1_000);
/// The largest clock error of a ready worker.
pub const CLOCK_ERROR_US_MAX: u64 = 50_000;

impl Heartbeat {
    /// The version of the late list that it holds for `snapshot`.
    pub fn late_list_of(&self, snapshot: Digest) -> u64 {
        let held = self.late_list.iter().find(|(digest, _)| *digest == snapshot);
        held.map_or(0, |(_, version)| *version)
    }

    /// Whether this worker can send `snapshot` at once: alive, loaded, late list of this version or a later one, every
    /// pool warm, clock good.
    pub fn is_ready(&self, snapshot: Digest, late_list: u64, now: Timestamp) -> bool {
        let is_alive = now.since(self.at) <= HEARTBEAT_AGE_MAX;
        let is_loaded = self.snapshots.contains(&snapshot) && self.late_list_of(snapshot) >= late_list;
        let is_warm = !self.pools.is_empty() && self.pools.iter().all(|pool| pool.warm > 0);
        is_alive && is_loaded && is_warm && self.clock_error_us <= CLOCK_ERROR_US_MAX
    }
}

const WORKERS: &str = "workers";

/// Puts a heartbeat.
pub fn put_heartbeat(heartbeat: &Heartbeat) -> Write {
    Write::put(Key::new(WORKERS, heartbeat.worker.clone()), Expect::Anything, encode(heartbeat))
}

/// Takes a worker off the list, when it stops.
pub fn delete_heartbeat(worker: &str) -> Write {
    Write::delete(Key::new(WORKERS, worker), Expect::Anything)
}

/// Every worker's last heartbeat.
pub async fn heartbeats(store: &dyn Store) -> Result<Vec<Heartbeat>> {
    query_all(store, WORKERS).await?.iter().map(decode).collect()
}

/// A campaign whose snapshot workers should hold, because somebody is about to launch it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The campaign.
    pub campaign: CampaignId,
    /// Its snapshot.
    pub snapshot: Digest,
    /// When it was asked for.
    pub at: Timestamp,
}

const WANTED: &str = "wanted";

/// Asks workers to hold a campaign's snapshot.
pub fn put_wanted(wanted: &Wanted) -> Write {
    Write::put(Key::new(WANTED, wanted.campaign.to_string()), Expect::Anything, encode(wanted))
}

/// Lets workers drop it.
pub fn delete_wanted(campaign: CampaignId) -> Write {
    Write::delete(Key::new(WANTED, campaign.to_string()), Expect::Anything)
}

/// Every snapshot that workers should hold.
pub async fn wanted(store: &dyn Store) -> Result<Vec<Wanted>> {
    query_all(store, WANTED).await?.iter().map(decode).collect()
}

fn progress_partition(launch: LaunchId) -> String {
    format!("progress/{launch}")
}

/// Puts a worker's progress of a launch (`report::Progress`'s stored form).
pub fn put_progress(launch: LaunchId, worker: &str, progress: Vec<u8>) -> Write {
    Write::put(Key::new(progress_partition(launch), worker), Expect::Anything, progress)
}

/// The last progress of each worker.
pub async fn progress(store: &dyn Store, launch: LaunchId) -> Result<Vec<Vec<u8>>> {
    let rows = query_all(store, &progress_partition(launch)).await?;
    Ok(rows.into_iter().map(|row| row.body).collect())
}
