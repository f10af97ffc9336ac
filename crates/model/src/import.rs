//! An import of devices into the directory: an uploaded file, and what became of its rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::audience::{ReadReport, Upload};
use crate::id::ImportId;
use crate::time::Timestamp;

/// Where an import stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum ImportState {
    /// Uploaded; a resolver will take it.
    Uploaded,
    /// A resolver is at it.
    Importing {
        /// Rows read so far.
        rows: u64,
    },
    /// Every good row is in the directory.
    Done {
        /// When.
        at: Timestamp,
    },
    /// Nothing of it was taken, or not all: import again.
    Failed {
        /// Why, with the place.
        why: String,
    },
}

/// An import as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// Identifier.
    pub id: ImportId,
    /// The file; its blob is deleted once the import is over, for it holds keys.
    pub upload: Upload,
    /// Where it stands.
    #[serde(flatten)]
    pub state: ImportState,
    /// What became of the rows, once it is over.
    pub report: Option<ImportReport>,
    /// Uploaded; devices whose row tells no time count as registered then.
    pub created_at: Timestamp,
    /// When a resolver was last at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worked_at: Option<Timestamp>,
}

/// What became of an import's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReport {
    /// What reading it showed.
    #[serde(flatten)]
    pub read: ReadReport,
    /// Devices that were not known.
    pub added: u64,
    /// Devices that were known and changed.
    pub changed: u64,
    /// Devices that were known as they are; a row that repeats another counts here or under `changed`, or not at all
    /// when they stand close together.
    pub unchanged: u64,
    /// Good rows by platform name.
    pub by_platform: BTreeMap<String, u64>,
}

impl ImportState {
    /// Whether nothing more will happen.
    pub const fn is_over(&self) -> bool {
        matches!(self, ImportState::Done { .. } | ImportState::Failed { .. })
    }
}
