//! An audience: an uploaded list, its life from upload to frozen snapshot, and the report of what became of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::device::{DeviceError, Platform, check_app, is_label};
use crate::id::{AudienceId, Digest};
use crate::left_out::LeftOutList;
use crate::selection::{Control, Sample};
use crate::time::Timestamp;

/// How an upload is written, once it is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UploadFormat {
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object a line.
    Ndjson,
    /// Endpoints as Amazon Pinpoint exports them: one JSON object a line, or CSV with the same names.
    Pinpoint,
    /// One key a line and nothing else: [`Defaults`] say the rest.
    Tokens,
    /// One user id a line and nothing else.
    Users,
    /// Apache Parquet with the columns of a CSV file.
    Parquet,
}

impl UploadFormat {
    /// All, in the order in which messages list them.
    pub const ALL: [UploadFormat; 6] = [
        UploadFormat::Csv,
        UploadFormat::Ndjson,
        UploadFormat::Pinpoint,
        UploadFormat::Tokens,
        UploadFormat::Users,
        UploadFormat::Parquet,
    ];

    /// As it is written in a query and on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            UploadFormat::Csv => "csv",
            UploadFormat::Ndjson => "ndjson",
            UploadFormat::Pinpoint => "pinpoint",
            UploadFormat::Tokens => "tokens",
            UploadFormat::Users => "users",
            UploadFormat::Parquet => "parquet",
        }
    }
}

/// How the bytes of an upload are packed, as far as the sender said. What they begin with decides; a sender who said
/// something else is told so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    /// Nothing was said.
    #[default]
    None,
    /// RFC 1952, one member or several.
    Gzip,
    /// RFC 8878, one frame or several.
    Zstd,
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
#[serde(rename_all = "snake_case")]
pub enum BadRows {
    /// It is refused as a whole.
    #[default]
    RejectAll,
    /// They are counted and left out, unless they are too many.
    AcceptValid {
        /// Bad rows among a million rows beyond which the upload is refused after all.
        share_ppm_max: u32,
    },
}

/// The share of bad rows that is taken when nobody says another.
pub const BAD_SHARE_PPM_DEFAULT: u32 = 10_000;
/// Every row.
pub const PPM: u32 = 1_000_000;

/// A choice that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRowsError {
    /// Not a name of a choice.
    #[error("bad_rows is neither reject_all nor accept_valid")]
    Name,
    /// Not a share.
    #[error("bad_share_max is not a share from 0 to 1, for example 0.01")]
    Share,
    /// A share where no row may be bad.
    #[error("bad_share_max goes with bad_rows=accept_valid only")]
    ShareOfNone,
}

impl BadRows {
    /// The choice that people write as `reject_all`, or `accept_valid` with the largest share of bad rows.
    pub fn named(name: &str, share_max: Option<f64>) -> Result<Self, BadRowsError> {
        match (name, share_max) {
            ("reject_all", None) => Ok(BadRows::RejectAll),
            ("reject_all", Some(_)) => Err(BadRowsError::ShareOfNone),
            ("accept_valid", None) => Ok(BadRows::AcceptValid { share_ppm_max: BAD_SHARE_PPM_DEFAULT }),
            ("accept_valid", Some(share)) if (0.0..=1.0).contains(&share) => {
                Ok(BadRows::AcceptValid { share_ppm_max: (share * f64::from(PPM)).round() as u32 })
            }
            ("accept_valid", Some(_)) => Err(BadRowsError::Share),
            _ => Err(BadRowsError::Name),
        }
    }

    /// Whether `bad` of `rows` are too many.
    pub const fn refuses(self, bad: u64, rows: u64) -> bool {
        match self {
            BadRows::RejectAll => bad > 0,
            BadRows::AcceptValid { share_ppm_max } => {
                bad as u128 * PPM as u128 > rows as u128 * share_ppm_max as u128
            }
        }
    }
}

/// What holds for every row that does not say it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Defaults {
    /// The provider.
    pub platform: Option<Platform>,
    /// App of APNs devices: the topic.
    pub apns_app: Option<String>,
    /// App of FCM devices: the project.
    pub fcm_app: Option<String>,
    /// Language tag.
    pub locale: Option<String>,
    /// Market.
    pub market: Option<String>,
}

impl Defaults {
    /// Checks what is given as a row's would be.
    pub fn check(&self) -> Result<(), DeviceError> {
        for (app, platform) in [(&self.apns_app, Platform::Apns), (&self.fcm_app, Platform::Fcm)] {
            app.as_deref().map_or(Ok(()), |app| check_app(platform, app))?;
        }
        let checks =
            [(&self.locale, &b"-_"[..], DeviceError::Locale), (&self.market, b".-_", DeviceError::Market)];
        let fault = checks
            .into_iter()
            .find(|(text, others, _)| text.as_deref().is_some_and(|text| !is_label(text, others)));
        fault.map_or(Ok(()), |(_, _, error)| Err(error))
    }

    /// The app of devices of `platform`.
    pub fn app(&self, platform: Platform) -> Option<&str> {
        match platform {
            Platform::Apns => self.apns_app.as_deref(),
            Platform::Fcm => self.fcm_app.as_deref(),
        }
    }
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
    /// How the sender said that it is packed.
    #[serde(default)]
    pub packing: Packing,
    /// What to do with rows that cannot be read.
    #[serde(default)]
    pub bad_rows: BadRows,
    /// What rows take that do not say it.
    #[serde(default)]
    pub defaults: Defaults,
}

/// Where an audience stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum AudienceState {
    /// Made; nothing uploaded yet.
    Empty,
    /// Uploaded, or to be drawn from another audience; a resolver will take it.
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
    /// It is a part of another audience, and takes no upload.
    #[serde(default)]
    pub sample: Option<Sample>,
    /// Who is held back when it is frozen.
    #[serde(default)]
    pub control: Option<Control>,
    /// Whether devices of APNs' sandbox come in: those of builds that no store gave out.
    #[serde(default)]
    pub sandbox: bool,
    /// The upload, once there is one.
    pub upload: Option<Upload>,
    /// Where it stands.
    #[serde(flatten)]
    pub state: AudienceState,
    /// What became of the rows, once resolved or failed.
    pub report: Option<AudienceReport>,
    /// Made.
    pub created_at: Timestamp,
    /// When a resolver was last at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worked_at: Option<Timestamp>,
}

impl Audience {
    /// The snapshot, once frozen.
    pub const fn snapshot(&self) -> Option<Digest> {
        match self.state {
            AudienceState::Frozen { snapshot, .. } => Some(snapshot),
            _ => None,
        }
    }

    /// The names of its blobs besides the snapshot: the upload, and the lists of bad rows and of who was left out.
    pub fn blobs(&self) -> impl Iterator<Item = &str> {
        let report = self.report.as_ref();
        let lists = [
            report.and_then(|report| report.read.bad_rows_blob.as_deref()),
            report.and_then(|report| report.left_out_list.as_ref()).map(|list| list.blob.as_str()),
        ];
        self.upload.iter().map(|upload| upload.blob.as_str()).chain(lists.into_iter().flatten())
    }
}

/// A bad row: where, and why. The row itself is not kept, it may hold a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRow {
    /// Line in the unpacked upload, from 1; of a Parquet file the row.
    pub line: u64,
    /// Offset of the row's first byte in the unpacked upload; 0 in a Parquet file.
    pub byte: u64,
    /// What is wrong as a word that never changes, for example `apns_key`.
    pub reason: String,
    /// What is wrong.
    pub cause: String,
}

/// Most bad rows that a report shows.
pub const BAD_ROWS_MAX: usize = 20;

/// What reading an upload showed. Rows are those read, those that are bad and those left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReadReport {
    /// Rows, bad ones and those left out too, without header and empty lines.
    pub rows: u64,
    /// Rows that could not be read.
    pub bad_rows: u64,
    /// How many for which reason, by words that never change.
    pub bad_by_reason: BTreeMap<String, u64>,
    /// The first of them, at most [`BAD_ROWS_MAX`].
    pub first_bad_rows: Vec<BadRow>,
    /// The blob that lists them: each a [`BadRow`] as a line of JSON, packed by zstd.
    pub bad_rows_blob: Option<String>,
    /// Rows that are no devices to send to, though nothing is wrong with them, by reason: opted out, an e-mail address...
    pub left_out: BTreeMap<String, u64>,
    /// Bytes, unpacked.
    pub unpacked_bytes: u64,
}

/// What became of an upload's rows. It adds up: of a list of users `rows` are `bad_rows`, those left out while reading,
/// `duplicate_users`, those `not_in` and `users`; of a list of devices `bad_rows`, those left out while reading and
/// `found_devices`. These are in any case those `not_in_devices`, `duplicate_devices` and `devices`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudienceReport {
    /// What reading it showed.
    #[serde(flatten)]
    pub read: ReadReport,
    /// Rows whose user had stood in the list before.
    pub duplicate_users: u64,
    /// Users the directory does not know.
    pub unknown_users: u64,
    /// Users who are not in the snapshot, by reason: `unknown`, `no_device`, `opted_out`, `blocked`, `erased`, `held_back`, `not_chosen`;
    /// and `duplicate_key`, whose every device others have. Of an audience of devices the devices, by reason of their user.
    #[serde(default)]
    pub not_in: BTreeMap<String, u64>,
    /// The devices of these users, by reason.
    #[serde(default)]
    pub not_in_devices: BTreeMap<String, u64>,
    /// Devices of all users listed, or all devices listed.
    #[serde(default)]
    pub found_devices: u64,
    /// The list of those who are not in, if there are any.
    #[serde(default)]
    pub left_out_list: Option<LeftOutList>,
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
                sample: None,
                control: None,
                sandbox: false,
                upload: None,
                state,
                report: Some(AudienceReport::default()),
                created_at: Timestamp(3),
                worked_at: None,
            };
            let json = serde_json::to_string(&audience).unwrap();
            assert_eq!(serde_json::from_str::<Audience>(&json).unwrap(), audience, "{json}");
        }
    }

    #[test]
    fn reports_show_what_was_read_beside_what_became_of_it() {
        let read =
            ReadReport { rows: 7, bad_by_reason: [("user".into(), 2)].into(), ..ReadReport::default() };
        let report = AudienceReport { read, users: 3, ..AudienceReport::default() };
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["rows"], &json["bad_by_reason"]["user"]), (&7.into(), &2.into()));
        assert_eq!(serde_json::from_value::<AudienceReport>(json).unwrap(), report);
    }

    #[test]
    fn shares_of_bad_rows_are_read_and_judged_to_the_row() {
        let accept = |share_ppm_max| Ok(BadRows::AcceptValid { share_ppm_max });
        assert_eq!(BadRows::named("reject_all", None), Ok(BadRows::RejectAll));
        assert_eq!(BadRows::named("accept_valid", None), accept(BAD_SHARE_PPM_DEFAULT));
        assert_eq!(BadRows::named("accept_valid", Some(0.25)), accept(250_000));
        assert_eq!(BadRows::named("accept_valid", Some(1.0)), accept(PPM));
        assert_eq!(BadRows::named("accept_valid", Some(1.5)), Err(BadRowsError::Share));
        assert_eq!(BadRows::named("accept_valid", Some(f64::NAN)), Err(BadRowsError::Share));
        assert_eq!(BadRows::named("reject_all", Some(0.5)), Err(BadRowsError::ShareOfNone));
        assert_eq!(BadRows::named("skip", None), Err(BadRowsError::Name));
        let quarter = BadRows::AcceptValid { share_ppm_max: 250_000 };
        assert!(!quarter.refuses(1, 4) && quarter.refuses(2, 7) && !quarter.refuses(u64::MAX / 4, u64::MAX));
        assert!(BadRows::RejectAll.refuses(1, 1_000_000_000) && !BadRows::RejectAll.refuses(0, 0));
    }
}
