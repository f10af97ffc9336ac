//! Why a step of the dispatcher could not be done. It is logged by the loop that took the step, which takes it again.

use model::{Digest, LaunchId};

/// A failed step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call on the backend failed.
    #[error("backend call failed")]
    Backend(#[from] backend::Error),
    /// A launch's snapshot has no manifest.
    #[error("launch {launch}: snapshot {snapshot} has no manifest")]
    NoManifest {
        /// Launch.
        launch: LaunchId,
        /// Its snapshot.
        snapshot: Digest,
    },
    /// The manifest does not give the plan that the launch was made with.
    #[error("launch {launch}: the plan has {shards} shards of {devices} devices, not those of the press")]
    OtherPlan {
        /// Launch.
        launch: LaunchId,
        /// Shards of the plan made now.
        shards: usize,
        /// Devices of the plan made now.
        devices: u64,
    },
    /// A record that does not fit its shard.
    #[error("launch {launch}: record of shard {shard} does not fit")]
    Record {
        /// Launch.
        launch: LaunchId,
        /// Shard.
        shard: u32,
        /// In which way.
        source: report::Error,
    },
}

/// The result of a step.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether the launch can never be planned: whoever meets this stops it. A store that fails may be mended.
    pub(crate) const fn is_final(&self) -> bool {
        matches!(self, Error::NoManifest { .. } | Error::OtherPlan { .. })
    }
}
