//! An export: the outcomes of a launch, device by device, as a file.

use serde::{Deserialize, Serialize};

use crate::id::{Digest, ExportId, LaunchId};
use crate::time::Timestamp;

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object a line.
    Ndjson,
}

/// What an export holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportWhat {
    /// Every device with its outcome; keys as hashes.
    #[default]
    Outcomes,
    /// Devices whose key the provider called dead, with the key: for whoever owns the list that they came from.
    DeadDevices,
}

/// Where an export stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum ExportState {
    /// Asked for; a resolver will take it.
    Asked,
    /// A resolver is at it.
    Writing {
        /// Devices written so far.
        devices: u64,
    },
    /// The file is there.
    Done {
        /// Name of its blob.
        blob: String,
        /// Bytes.
        bytes: u64,
        /// Devices in it.
        devices: u64,
        /// BLAKE3 of the bytes.
        digest: Digest,
        /// When.
        at: Timestamp,
    },
    /// It cannot be written.
    Failed {
        /// Why.
        why: String,
    },
}

/// An export as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// Identifier.
    pub id: ExportId,
    /// The launch, which was over when this was asked for.
    pub launch: LaunchId,
    /// What of it.
    #[serde(default)]
    pub what: ExportWhat,
    /// How it is to be written.
    pub format: ExportFormat,
    /// Where it stands.
    #[serde(flatten)]
    pub state: ExportState,
    /// Asked for.
    pub created_at: Timestamp,
}

impl ExportState {
    /// Whether nothing more will happen.
    pub const fn is_over(&self) -> bool {
        matches!(self, ExportState::Done { .. } | ExportState::Failed { .. })
    }
}
