//! An audience: an uploaded list, its life from upload to frozen snapshot, and the report of what became of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{AudienceId, Digest};
use crate::time::Timestamp;

/// How an upload is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UploadFormat {
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object a line.
    Ndjson,
}

/// What the rows of an upload are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UploadRows {
    /// User ids, to be resolved in the directory.
    Users,
    /// Devices outright.
    Devices,
}

/// What becomes of an upload with rows that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BadRows {
    /// It is refused as a whole.
    #[default]
    Reject,
    /// They are counted and left out.
    Skip,
}

/// A stored upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Name of its blob.
    pub blob: String,
    /// Bytes.
    pub bytes: u64,
    /// BLAKE3 of the bytes.
    pub digest: Digest,
    /// How it is written.
    pub format: UploadFormat,
    /// What to do with rows that cannot be read.
    #[serde(default)]
    pub bad_rows: BadRows,
}

/// Where an audience stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum AudienceState {
    /// Made; nothing uploaded yet.
    Empty,
    /// Uploaded; a resolver will take it.
    Uploaded,
    /// A resolver is at it.
    Resolving {
        /// Rows read so far. Stored beside [`Audience::rows`], hence the other name there.
        #[serde(rename = "rows_read")]
        rows: u64,
    },
    /// Frozen into a snapshot.
    Frozen {
        /// The snapshot.
        snapshot: Digest,
        /// When.
        at: Timestamp,
    },
    /// It cannot be resolved; upload again.
    Failed {
        /// Why, with the place.
        why: String,
    },
}

/// An audience as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audience {
    /// Identifier.
    pub id: AudienceId,
    /// For people.
    pub name: String,
    /// What its rows are: stated when it is made, or read off the upload's columns.
    pub rows: Option<UploadRows>,
    /// The upload, once there is one.
    pub upload: Option<Upload>,
    /// Where it stands.
    #[serde(flatten)]
    pub state: AudienceState,
    /// What became of the rows, once resolved or failed.
    pub report: Option<AudienceReport>,
    /// Made.
    pub created_at: Timestamp,
}

impl Audience {
    /// The snapshot, once frozen.
    pub const fn snapshot(&self) -> Option<Digest> {
        match self.state {
            AudienceState::Frozen { snapshot, .. } => Some(snapshot),
            _ => None,
        }
    }
}

/// A bad row: where, and why. The row itself is not kept, it may hold a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRow {
    /// Line in the upload, from 1.
    pub line: u64,
    /// Offset of the row's first byte in the upload.
    pub byte: u64,
    /// What is wrong.
    pub cause: String,
}

/// Most bad rows that a report shows.
pub const BAD_ROWS_MAX: usize = 20;

/// What became of an upload's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudienceReport {
    /// Rows, bad ones too, without header and empty lines.
    pub rows: u64,
    /// Rows that could not be read.
    pub bad_rows: u64,
    /// The first of them.
    pub first_bad_rows: Vec<BadRow>,
    /// Rows whose user had stood in the list before.
    pub duplicate_users: u64,
    /// Users the directory does not know.
    pub unknown_users: u64,
    /// Users with at least one device in the snapshot.
    pub users: u64,
    /// Devices in the snapshot.
    pub devices: u64,
    /// Devices left out because their (platform, app, key) stood in the audience before.
    pub duplicate_devices: u64,
    /// Devices by platform name.
    pub by_platform: BTreeMap<String, u64>,
    /// Devices by market.
    pub by_market: BTreeMap<String, u64>,
    /// Devices by locale.
    pub by_locale: BTreeMap<String, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audience_reads_back_in_every_state() {
        let digest = Digest([7; 32]);
        let states = [
            AudienceState::Empty,
            AudienceState::Uploaded,
            AudienceState::Resolving { rows: 7 },
            AudienceState::Frozen { snapshot: digest, at: Timestamp(1) },
            AudienceState::Failed { why: "w".into() },
        ];
        for state in states {
            let audience = Audience {
                id: AudienceId(1),
                name: "n".into(),
                rows: Some(UploadRows::Users),
                upload: None,
                state,
                report: Some(AudienceReport::default()),
                created_at: Timestamp(3),
            };
            let json = serde_json::to_string(&audience).unwrap();
            assert_eq!(serde_json::from_str::<Audience>(&json).unwrap(), audience, "{json}");
        }
    }
}
