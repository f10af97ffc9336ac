//! The snapshot file: an audience's devices, packed, grouped and frozen.
//!
//! [`SnapshotBuilder`] writes it from devices in any order, [`Snapshot`] verifies and reads it, [`Users`] reads the
//! file of user ids that stands beside it and that a sender never loads. [`SnapshotFile`] and [`UsersFile`] are the same on
//! disk, to be walked through; [`compare`] walks through two at once. `docs/decisions/006-snapshot-file.md` has
//! the format's reasons, the module `layout` its bytes.

mod build;
mod compare;
mod error;
mod file;
mod hash;
mod key;
mod layout;
mod range;
mod snapshot;
mod stored;
mod users;
mod window;

pub use build::{DeviceFields, Duplicate, Limits, SnapshotBuilder};
pub use compare::{Compared, Found, compare};
pub use error::Error;
pub use file::{TEMPORARY_PREFIX, snapshot_path, users_path};
pub use key::{KeyKind, hex_into};
pub use range::{DeviceRef, Range};
pub use snapshot::{Position, Snapshot};
pub use stored::{SnapshotFile, UsersFile, UsersReader};
pub use users::Users;
