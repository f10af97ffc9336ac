//! The snapshot file: an audience's devices, packed, grouped and frozen.
//!
//! [`SnapshotBuilder`] writes it from devices in any order, [`Snapshot`] verifies and reads it, [`Users`] reads the
//! file of user ids that stands beside it and that a sender never loads. `docs/decisions/006-snapshot-file.md` has
//! the format's reasons, the module `layout` its bytes.

mod build;
mod error;
mod file;
mod hash;
mod key;
mod layout;
mod range;
mod snapshot;
mod users;

pub use build::{DeviceFields, Duplicate, Limits, SnapshotBuilder};
pub use error::Error;
pub use file::{TEMPORARY_PREFIX, snapshot_path, users_path};
pub use key::{KeyKind, hex_into};
pub use range::{DeviceRef, Range};
pub use snapshot::{Position, Snapshot};
pub use users::Users;
