//! A device of a snapshot as a row of an export, as CSV or NDJSON.

use std::io::{self, Write};

use device_map::DeviceRef;
use model::Group;
use model::csv::write_fields;
use model::device::KEY_CHARS_MAX;
use model::export::ExportFormat;
use serde::Serialize;

use crate::outcome_rows::write_line;
use model::KeyHash;

/// A device; of a difference whether it came or went.
#[derive(Serialize)]
pub(crate) struct DeviceRow<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) change: Option<&'static str>,
    pub(crate) user: &'a str,
    platform: &'a str,
    app: &'a str,
    market: &'a str,
    locale: &'a str,
    key_hash: &'a str,
}

impl<'a> DeviceRow<'a> {
    /// The line before the first row; empty where there is none.
    pub(crate) const fn header(format: ExportFormat, has_change: bool) -> &'static str {
        match (format, has_change) {
            (ExportFormat::Ndjson, _) => "",
            (ExportFormat::Csv, false) => "user,platform,app,market,locale,key_hash\n",
            (ExportFormat::Csv, true) => "change,user,platform,app,market,locale,key_hash\n",
        }
    }

    pub(crate) fn new(user: &'a str, group: &'a Group, key_hash: &'a KeyHash) -> Self {
        let Group { platform, app, market, locale, .. } = group;
        Self { change: None, user, platform: platform.name(), app, market, locale, key_hash: key_hash.text() }
    }

    /// The same without the person, who asked to be forgotten: it counts, and names nobody.
    pub(crate) fn of_nobody(self) -> Self {
        Self { user: "", key_hash: "", ..self }
    }

    pub(crate) fn write(&self, format: ExportFormat, out: &mut impl Write) -> io::Result<()> {
        if format == ExportFormat::Ndjson {
            return write_line(self, out);
        }
        let Self { change, user, platform, app, market, locale, key_hash } = self;
        if let Some(change) = change {
            write!(out, "{change},")?;
        }
        write_fields([user, platform, app, market, locale], out)?;
        // Hex digits need no quotes.
        writeln!(out, "{key_hash}")
    }
}

/// The bytes of the hash of a device's key.
pub(crate) fn hash_of(device: DeviceRef<'_>) -> [u8; KeyHash::BYTES] {
    let mut text = [0; KEY_CHARS_MAX];
    let chars = device.text_into(&mut text);
    KeyHash::bytes(&text[..chars])
}
