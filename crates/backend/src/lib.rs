//! The seam between the stages and what they meet through: a store of rows, queues, blobs and the device directory.
//! A few small, batch-first traits and one error; what the rows say is in [`rows`], the same for every backend.

pub mod blobs;
#[cfg(feature = "contract")]
pub mod contract;
pub mod directory;
pub mod error;
#[cfg(feature = "fault")]
pub mod fault;
pub mod queues;
pub mod rows;
pub mod store;

use std::sync::Arc;

pub use blobs::Blobs;
pub use directory::Directory;
pub use error::{Error, ErrorKind, Result};
pub use queues::{Delivery, Fifo, Outgoing, Queue, Queues};
pub use store::{Change, Expect, Key, Page, Row, Store, Write};

/// The four parts of a backend, as every role receives them.
#[derive(Clone)]
pub struct Backend {
    /// Rows with conditional writes.
    pub store: Arc<dyn Store>,
    /// Queues.
    pub queues: Arc<dyn Queues>,
    /// Uploads, snapshots, manifests, exports.
    pub blobs: Arc<dyn Blobs>,
    /// All known devices by user.
    pub directory: Arc<dyn Directory>,
}
