//! How long each kind of data is kept, and why. What is not here is not kept.

use std::time::Duration;

use serde::Serialize;

/// What can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periods {
    /// Uploads of audiences and lists of bad rows, after the work on them was over.
    pub uploads: Duration,
    /// Uploads in parts with which nobody goes on.
    pub parts: Duration,
    /// Exports.
    pub exports: Duration,
    /// Answers to inquiries.
    pub inquiries: Duration,
    /// Snapshots, after a press.
    pub snapshots: Duration,
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

impl Default for Periods {
    fn default() -> Self {
        Self { uploads: DAY * 7, parts: DAY, exports: DAY * 30, inquiries: DAY, snapshots: DAY * 90 }
    }
}

/// How long answers to requests with an `Idempotency-Key` are kept.
pub const IDEMPOTENCY: Duration = DAY;

/// A kind of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Devices by user.
    Directory,
    /// Lists of audiences as they were uploaded, and lists of their bad rows.
    Uploads,
    /// Files of imports.
    Imports,
    /// What has arrived of uploads.
    UploadsInParts,
    /// Frozen audiences.
    Snapshots,
    /// What became of devices, by place in a snapshot.
    Records,
    /// Files of outcomes.
    Exports,
    /// What was found out about a person.
    Inquiries,
    /// Receipts of erasures.
    Erasures,
    /// People who must not be sent to.
    LateList,
    /// The same as a bitmap for each snapshot.
    LateListBySnapshot,
    /// Answers to requests with an `Idempotency-Key`.
    Idempotency,
    /// Who did what.
    Audit,
}

impl Kind {
    /// All, in the order of the documentation's table.
    pub const ALL: [Kind; 13] = [
        Kind::Directory,
        Kind::Uploads,
        Kind::Imports,
        Kind::UploadsInParts,
        Kind::Snapshots,
        Kind::Records,
        Kind::Exports,
        Kind::Inquiries,
        Kind::Erasures,
        Kind::LateList,
        Kind::LateListBySnapshot,
        Kind::Idempotency,
        Kind::Audit,
    ];

    /// As the documentation and answers write it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Directory => "directory",
            Kind::Uploads => "uploads",
            Kind::Imports => "imports",
            Kind::UploadsInParts => "uploads_in_parts",
            Kind::Snapshots => "snapshots",
            Kind::Records => "records",
            Kind::Exports => "exports",
            Kind::Inquiries => "inquiries",
            Kind::Erasures => "erasures",
            Kind::LateList => "late_list",
            Kind::LateListBySnapshot => "late_list_by_snapshot",
            Kind::Idempotency => "idempotency",
            Kind::Audit => "audit",
        }
    }

    /// The key of the configuration that says how long, where one does.
    pub const fn key(self) -> Option<&'static str> {
        Some(match self {
            Kind::Uploads => "retention.uploads_days",
            Kind::UploadsInParts => "uploads.age_s_max",
            Kind::Snapshots => "retention.snapshots_days",
            Kind::Exports => "retention.exports_days",
            Kind::Inquiries => "retention.inquiries_days",
            _ => return None,
        })
    }

    /// How long it is kept from its end on; `None`: until what `until` says.
    pub const fn kept(self, periods: &Periods) -> Option<Duration> {
        Some(match self {
            Kind::Uploads => periods.uploads,
            Kind::UploadsInParts => periods.parts,
            Kind::Snapshots => periods.snapshots,
            Kind::Exports => periods.exports,
            Kind::Inquiries => periods.inquiries,
            Kind::Idempotency => IDEMPOTENCY,
            _ => return None,
        })
    }

    /// What ends it.
    pub const fn until(self) -> &'static str {
        match self {
            Kind::Directory => "the user or the device is deleted, or the provider calls the key dead",
            Kind::Uploads => {
                "that long after the audience was frozen or refused, and a day longer; at once when somebody is erased"
            }
            Kind::Imports => "the import is over",
            Kind::UploadsInParts => {
                "the upload is whole, refused or deleted, or nobody goes on with it for that long"
            }
            Kind::Snapshots => {
                "no audience names it and that long has passed since a press; and a day longer"
            }
            Kind::Exports => {
                "that long after it was written, and a day longer; at once when it names somebody who is erased"
            }
            Kind::Inquiries => "that long after it was asked; at once when the person is erased",
            Kind::LateList => "somebody is taken off it",
            Kind::LateListBySnapshot => "the snapshot goes",
            Kind::Idempotency => "that long after the answer",
            Kind::Records | Kind::Erasures | Kind::Audit => "for ever",
        }
    }

    /// What it is needed for.
    pub const fn why(self) -> &'static str {
        match self {
            Kind::Directory => "to reach people's devices",
            Kind::Uploads => "to look into what was uploaded, and why rows were refused",
            Kind::Imports => "to be read into the directory",
            Kind::UploadsInParts => "to go on after a broken connection",
            Kind::Snapshots => "to send, and to tell afterwards what became of whom",
            Kind::Records => "to prove what was sent; names nobody without its snapshot",
            Kind::Exports => "to be fetched",
            Kind::Inquiries => "to be read or handed over",
            Kind::Erasures => "to prove that somebody was forgotten",
            Kind::LateList => "to leave people out who must not be sent to",
            Kind::LateListBySnapshot => "to leave them out of what was frozen before",
            Kind::Idempotency => "to carry a request out once",
            Kind::Audit => "to tell who did what",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_once_under_the_name_that_is_stored() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        let mut all = Kind::ALL.to_vec();
        all.dedup();
        assert_eq!(all.len(), Kind::ALL.len());
    }

    #[test]
    fn what_can_be_set_has_a_period() {
        let periods = Periods::default();
        assert!(Kind::ALL.iter().all(|kind| kind.key().is_none() || kind.kept(&periods).is_some()));
    }
}
