//! The list of those whom an audience's snapshot does not have, and why: a line of JSON each, or a row of CSV.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use crate::csv::{write_field, write_fields};
use crate::device::Platform;

/// The list as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutList {
    /// The blob: each a [`LeftOutRow`] as a line of JSON, packed by zstd.
    pub blob: String,
    /// Lines.
    pub rows: u64,
    /// It has not everybody: it ends where `uploads.left_out_listed_max` says.
    pub is_cut: bool,
}

/// Somebody who is not in the snapshot; or a device, when it has a platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutRow<'a> {
    /// The user id as it was uploaded.
    #[serde(borrow)]
    pub user: Cow<'a, str>,
    /// Why, as a word that never changes.
    #[serde(borrow)]
    pub reason: Cow<'a, str>,
    /// What device, unless the user as a whole is left out.
    #[serde(flatten, borrow, skip_serializing_if = "Option::is_none")]
    pub device: Option<LeftOutDevice<'a>>,
    /// Of a duplicate: who has the device instead, and whether the user is in the snapshot all the same.
    #[serde(flatten, borrow, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept<'a>>,
}

/// A device that is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutDevice<'a> {
    /// Provider.
    pub platform: Platform,
    /// APNs topic or FCM project.
    #[serde(borrow)]
    pub app: Cow<'a, str>,
    /// Market.
    #[serde(borrow)]
    pub market: Cow<'a, str>,
    /// Language tag.
    #[serde(borrow)]
    pub locale: Cow<'a, str>,
    /// The hash of the key, as exports show it.
    #[serde(borrow)]
    pub key_hash: Cow<'a, str>,
}

/// What became of a duplicate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept<'a> {
    /// The user who has the device in the snapshot.
    #[serde(borrow)]
    pub kept_by: Cow<'a, str>,
    /// Whether the one who lost it is in the snapshot, by another device.
    pub user_in: bool,
}

impl LeftOutRow<'_> {
    /// The header of CSV.
    pub const HEADER: &'static str = "user,reason,platform,app,market,locale,key_hash,kept_by,user_in\n";

    /// Writes it as a row of CSV.
    pub fn write_csv(&self, out: &mut impl Write) -> io::Result<()> {
        write_fields([&self.user, &self.reason], out)?;
        match &self.device {
            Some(LeftOutDevice { platform, app, market, locale, key_hash }) => {
                write_fields([platform.name(), app, market, locale, key_hash], out)?;
            }
            None => out.write_all(b",,,,,")?,
        }
        match &self.kept {
            Some(Kept { kept_by, user_in }) => {
                write_field(kept_by, out)?;
                writeln!(out, ",{user_in}")
            }
            None => out.write_all(b",\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> [LeftOutRow<'static>; 3] {
        let device = LeftOutDevice {
            platform: Platform::Fcm,
            app: "a".into(),
            market: "us".into(),
            locale: "en".into(),
            key_hash: "0f".into(),
        };
        let kept = Kept { kept_by: "=bob".into(), user_in: false };
        let unknown = LeftOutRow { user: "a,\"b".into(), reason: "unknown".into(), device: None, kept: None };
        let blocked = LeftOutRow { reason: "blocked".into(), device: Some(device), ..unknown.clone() };
        let duplicate = LeftOutRow { kept: Some(kept), ..blocked.clone() };
        [unknown, blocked, duplicate]
    }

    #[test]
    fn a_line_reads_back_and_says_no_more_than_there_is() {
        for row in rows() {
            let line = serde_json::to_string(&row).unwrap();
            assert_eq!(serde_json::from_str::<LeftOutRow<'_>>(&line).unwrap(), row, "{line}");
        }
        assert_eq!(serde_json::to_string(&rows()[0]).unwrap(), r#"{"user":"a,\"b","reason":"unknown"}"#);
    }

    #[test]
    fn rows_of_csv_have_the_columns_of_the_header() {
        let mut text = Vec::new();
        rows().iter().for_each(|row| row.write_csv(&mut text).unwrap());
        let wanted = "\"a,\"\"b\",unknown,,,,,,,\n\
                      \"a,\"\"b\",blocked,fcm,a,us,en,0f,,\n\
                      \"a,\"\"b\",blocked,fcm,a,us,en,0f,\"'=bob\",false\n";
        assert_eq!(String::from_utf8(text).unwrap(), wanted);
    }
}
