//! What can go wrong with a snapshot; no message shows a key or a user id.

use std::io;
use std::path::{Path, PathBuf};

use model::Digest;
use model::device::DeviceError;

/// Why a snapshot cannot be built or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused: no such file, no permission, disk full.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `open`, `read`, `write` and so on.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file does not begin as this kind of file does.
    #[error("{} is not a {expected} file", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// `snapshot` or `users`.
        expected: &'static str,
    },
    /// The file was written by a later Fanfare.
    #[error("{} has format version {found}, this program reads up to {known}", path.display())]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The highest version known here.
        known: u32,
    },
    /// The header's checksum does not fit the header.
    #[error("the header of {} is damaged", path.display())]
    HeaderDamaged {
        /// The file.
        path: PathBuf,
    },
    /// The file is shorter or longer than it says.
    #[error("{} has {actual} bytes instead of {expected}", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes by its header.
        expected: u64,
        /// Bytes found.
        actual: u64,
    },
    /// The content is whole by its header but is not what was asked for: damaged, or another snapshot.
    #[error("{} has digest {actual} instead of {expected}", path.display())]
    WrongDigest {
        /// The file.
        path: PathBuf,
        /// The digest asked for.
        expected: Digest,
        /// The digest of what was read.
        actual: Digest,
    },
    /// The digest is right and the content contradicts itself: whoever wrote it has a fault.
    #[error("{} contradicts itself: {fault}", path.display())]
    Inconsistent {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        fault: &'static str,
    },
    /// There is not enough memory for the file.
    #[error("no memory for the {bytes} bytes of {}", path.display())]
    Memory {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// A range that its group does not have.
    #[error("group {group} has no devices {start}..{start}+{count}")]
    NoSuchRange {
        /// Index of the group.
        group: u32,
        /// First device.
        start: u32,
        /// Devices.
        count: u32,
    },
    /// A device that cannot stand in a snapshot.
    #[error("device cannot be taken: {0}")]
    Device(#[from] DeviceError),
    /// More of something than a snapshot may have.
    #[error("more than {limit} {what}")]
    TooMany {
        /// `groups`, `devices`, `users` or `bytes of user ids`.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
}

impl Error {
    /// For `map_err`: what was being done to which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { action, path: path.to_owned(), source }
    }

    pub(crate) fn inconsistent(path: &Path, fault: &'static str) -> Error {
        Error::Inconsistent { path: path.to_owned(), fault }
    }
}
