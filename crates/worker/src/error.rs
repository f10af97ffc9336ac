//! Why a step of the worker could not be done. It is logged where it is handled; what became of a device is an outcome.

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
    /// There is no such snapshot in the store.
    #[error("snapshot {0} is not stored")]
    NoSnapshot(Digest),
    /// A snapshot that cannot be used, or a shard that it does not have.
    #[error("snapshot {digest} cannot be used")]
    Snapshot {
        /// Which.
        digest: Digest,
        /// Why.
        source: device_map::Error,
    },
    /// A launch whose content makes no message for a locale.
    #[error("launch {launch}: content for {locale} cannot be composed: {fault}")]
    Content {
        /// Launch.
        launch: LaunchId,
        /// Locale.
        locale: String,
        /// The first fault.
        fault: String,
    },
    /// This worker has no pool for the app.
    #[error("no pool for {app}")]
    NoPool {
        /// Topic or project.
        app: String,
    },
    /// The message cannot be sent through its pool.
    #[error("launch {launch}: message for {app} is refused")]
    Push {
        /// Launch.
        launch: LaunchId,
        /// Topic or project.
        app: String,
        /// Why.
        source: push::Error,
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
    /// A blocking thread of the runtime ended early.
    #[error("blocking thread ended early")]
    Thread(#[from] tokio::task::JoinError),
}

/// The result of a step.
pub type Result<T> = std::result::Result<T, Error>;
