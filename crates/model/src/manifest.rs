//! A snapshot's manifest: what planning needs to know of it, without the map.

use serde::{Deserialize, Serialize};

use crate::device::{Market, Platform};
use crate::id::Digest;

/// The devices of a snapshot that share market, platform, app and locale; contiguous in the file, and a range of
/// them needs exactly one message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Group {
    /// Market.
    pub market: Market,
    /// Provider.
    pub platform: Platform,
    /// APNs topic or FCM project.
    pub app: String,
    /// Language tag.
    pub locale: String,
    /// Devices in it.
    pub devices: u32,
}

/// The small stored object beside a snapshot. A group's index in `groups` is its name in shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The snapshot's digest.
    pub digest: Digest,
    /// Devices in all groups.
    pub devices: u64,
    /// Users with at least one device.
    pub users: u64,
    /// Devices left out because their (platform, app, key) stood in the audience before.
    pub duplicate_devices: u64,
    /// Bytes of the snapshot file.
    pub file_bytes: u64,
    /// In file order: sorted by platform, app, market and locale.
    pub groups: Vec<Group>,
}

impl Manifest {
    /// The first device of each group, counted over the whole snapshot; one more entry than groups, the last is
    /// the number of devices.
    pub fn group_starts(&self) -> Vec<u64> {
        let mut starts = vec![0];
        let mut next = 0;
        for group in &self.groups {
            next += u64::from(group.devices);
            starts.push(next);
        }
        starts
    }
}
