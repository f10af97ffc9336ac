//! An export: a file of devices, with the outcomes of a launch, or as an audience has them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{AudienceId, Digest, ExportId, LaunchId};
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

/// What an export holds. Keys are shown as hashes, but for dead ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Subject {
    /// Every device of a launch with its outcome.
    Outcomes {
        /// The launch, which was over when this was asked for.
        launch: LaunchId,
    },
    /// Devices whose key the provider called dead, with the key: for whoever owns the list that they came from.
    DeadDevices {
        /// The launch, which was over when this was asked for.
        launch: LaunchId,
    },
    /// Every device of an audience.
    Members {
        /// The audience.
        audience: AudienceId,
        /// Its snapshot.
        snapshot: Digest,
    },
    /// Devices that one audience has and another has not.
    Difference {
        /// The audience.
        audience: AudienceId,
        /// Its snapshot.
        snapshot: Digest,
        /// The one that it is compared with, usually an earlier one.
        against: AudienceId,
        /// The snapshot of that.
        against_snapshot: Digest,
    },
}

impl Subject {
    /// The launch of which outcomes are told.
    pub const fn launch(&self) -> Option<LaunchId> {
        match self {
            Subject::Outcomes { launch } | Subject::DeadDevices { launch } => Some(*launch),
            Subject::Members { .. } | Subject::Difference { .. } => None,
        }
    }

    /// The snapshots that it is made of, unless a launch says that.
    pub fn snapshots(&self) -> impl Iterator<Item = Digest> {
        let snapshots = match self {
            Subject::Outcomes { .. } | Subject::DeadDevices { .. } => [None, None],
            Subject::Members { snapshot, .. } => [Some(*snapshot), None],
            Subject::Difference { snapshot, against_snapshot, .. } => {
                [Some(*snapshot), Some(*against_snapshot)]
            }
        };
        snapshots.into_iter().flatten()
    }
}

/// What changed from one snapshot to another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// In all.
    pub all: Change,
    /// By market. A device that stayed counts where it is now.
    pub by_market: BTreeMap<String, Change>,
    /// By platform name.
    pub by_platform: BTreeMap<String, Change>,
}

/// What changed among people and their devices. A device is the same when platform, app and key are; a person is in a market
/// who has a device there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// People.
    pub users: Moves,
    /// Devices.
    pub devices: Moves,
}

/// Who came, went and stayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moves {
    /// In the audience, and not in the one that it is compared with.
    pub came: u64,
    /// The other way round.
    pub went: u64,
    /// In both.
    pub stayed: u64,
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
        /// Of a difference what it is in numbers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        difference: Option<Difference>,
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
    /// What of.
    #[serde(flatten)]
    pub subject: Subject,
    /// How it is to be written.
    pub format: ExportFormat,
    /// Where it stands.
    #[serde(flatten)]
    pub state: ExportState,
    /// Asked for.
    pub created_at: Timestamp,
    /// When a resolver was last at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worked_at: Option<Timestamp>,
}

impl ExportState {
    /// Whether nothing more will happen.
    pub const fn is_over(&self) -> bool {
        matches!(self, ExportState::Done { .. } | ExportState::Failed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_reads_back_whatever_it_is_of() {
        let (audience, snapshot, against) = (AudienceId(1), Digest([1; 32]), AudienceId(2));
        let launch = LaunchId(3);
        let done = ExportState::Done {
            blob: "b".into(),
            bytes: 1,
            devices: 2,
            digest: snapshot,
            at: Timestamp(4),
            difference: Some(Difference::default()),
        };
        for subject in [
            Subject::Outcomes { launch },
            Subject::DeadDevices { launch },
            Subject::Members { audience, snapshot },
            Subject::Difference { audience, snapshot, against, against_snapshot: Digest([2; 32]) },
        ] {
            for state in [ExportState::Asked, ExportState::Writing { devices: 7 }, done.clone()] {
                let (format, created_at) = (ExportFormat::Csv, Timestamp(5));
                let export = Export { id: ExportId(6), subject, format, state, created_at, worked_at: None };
                let json = serde_json::to_string(&export).unwrap();
                assert_eq!(serde_json::from_str::<Export>(&json).unwrap(), export, "{json}");
            }
        }
    }
}
