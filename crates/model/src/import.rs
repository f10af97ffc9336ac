//! An import: an uploaded file of devices for the directory, or of people for the late list, and what became of its rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::audience::{ReadReport, Upload};
use crate::id::ImportId;
use crate::suppression::Cause;
use crate::time::Timestamp;

/// What the rows of an import are taken into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// Devices, into the directory.
    #[default]
    Directory,
    /// People, onto the late list, for this cause.
    LateList(Cause),
}

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
    /// Every good row is in the directory, or on the late list.
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
    /// What it is taken into.
    #[serde(default)]
    pub into: Destination,
    /// The file; its blob is deleted once the import is over, for it holds keys or user ids.
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
    /// Devices that were not known; people who were not on the late list.
    pub added: u64,
    /// Devices that were known and changed; people who are on the list for a stronger cause now.
    pub changed: u64,
    /// Devices that were known as they are; a row that repeats another counts here or under `changed`, or not at all
    /// when they stand close together. Rows of people who were on the list as asked, or stood in the file before.
    pub unchanged: u64,
    /// The late list's version that has everybody of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_list_version: Option<u64>,
    /// Good rows by platform name.
    pub by_platform: BTreeMap<String, u64>,
}

impl ImportState {
    /// Whether nothing more will happen.
    pub const fn is_over(&self) -> bool {
        matches!(self, ImportState::Done { .. } | ImportState::Failed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_import_is_taken_into_is_the_directory_unless_it_is_said() {
        let json = |into| serde_json::to_string(&into).unwrap();
        assert_eq!(json(Destination::Directory), "\"directory\"");
        assert_eq!(json(Destination::LateList(Cause::OptedOut)), "{\"late_list\":\"opted_out\"}");
        for into in [Destination::Directory, Destination::LateList(Cause::Blocked)] {
            assert_eq!(serde_json::from_str::<Destination>(&json(into)).unwrap(), into);
        }
        let old = r#"{"id":"imp_00000000000000000000000000000001","state":"uploaded","report":null,"created_at":"2026-01-01T00:00:00Z",
            "upload":{"blob":"b","bytes":1,"digest":"DIGEST","format":"csv"}}"#;
        let old = old.replace("DIGEST", &crate::Digest([1; 32]).to_string());
        assert_eq!(serde_json::from_str::<Import>(&old).unwrap().into, Destination::Directory);
    }
}
