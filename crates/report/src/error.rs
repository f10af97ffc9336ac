//! What can be wrong with stored or received figures.

/// Bytes that cannot be read, or figures that do not belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not what it should be, at this byte.
    #[error("{what} is damaged at byte {at}")]
    Damaged {
        /// What was read.
        what: &'static str,
        /// Offset of the byte.
        at: usize,
    },
    /// Written by a newer Fanfare, or not by Fanfare at all.
    #[error("{what} has version {found}, this program reads {known}")]
    Version {
        /// What was read.
        what: &'static str,
        /// Its version.
        found: u8,
        /// Ours.
        known: u8,
    },
    /// Two records of different launches, shards or attempts cannot be merged.
    #[error("records are not of the same launch, shard and attempt")]
    OtherShard,
    /// A part whose positions, outcomes and devices do not fit each other, or a shard above
    /// [`SHARD_DEVICES_MAX`](crate::record::SHARD_DEVICES_MAX).
    #[error("{outcomes} outcomes do not fit {positions} positions in a shard of {devices} devices")]
    Misfit {
        /// Outcomes of the part.
        outcomes: u32,
        /// Positions of the part.
        positions: u32,
        /// Devices of the shard.
        devices: u32,
    },
}
