//! One device's row of an export, as CSV or NDJSON.

use std::io::{self, Write};

use device_map::DeviceRef;
use model::device::KEY_CHARS_MAX;
use model::export::ExportFormat;
use model::{Group, Outcome};
use serde::Serialize;

/// The header of a CSV export.
pub(crate) const HEADER: &str = "user,platform,app,market,locale,outcome,reason,resent,key_hash\n";

/// Bytes of a key's BLAKE3 hash that are shown: enough that no two keys of an audience look alike.
const KEY_HASH_BYTES: usize = 16;

/// What became of a device.
pub(crate) struct OutcomeRow<'a> {
    pub(crate) user: &'a str,
    pub(crate) group: &'a Group,
    pub(crate) outcome: Outcome,
    pub(crate) device: DeviceRef<'a>,
}

#[derive(Serialize)]
struct Object<'a> {
    user: &'a str,
    platform: &'a str,
    app: &'a str,
    market: &'a str,
    locale: &'a str,
    outcome: &'a str,
    reason: &'a str,
    resent: bool,
    key_hash: &'a str,
}

impl OutcomeRow<'_> {
    /// Appends the row to `file`.
    pub(crate) fn write(&self, format: ExportFormat, file: &mut impl Write) -> io::Result<()> {
        let Self { user, group, outcome, .. } = self;
        let mut hash = [0; 2 * KEY_HASH_BYTES];
        let key_hash = self.key_hash(&mut hash);
        let (platform, class, resent) = (group.platform.name(), outcome.class().name(), outcome.is_resent());
        let (app, market, locale, reason) =
            (&group.app, &group.market, &group.locale, outcome.reason().text());
        match format {
            ExportFormat::Csv => {
                write_field(user, file)?;
                // The other fields have no character that would need a quote.
                writeln!(file, ",{platform},{app},{market},{locale},{class},{reason},{resent},{key_hash}")
            }
            ExportFormat::Ndjson => {
                let outcome = class;
                let object =
                    Object { user, platform, app, market, locale, outcome, reason, resent, key_hash };
                serde_json::to_writer(&mut *file, &object)?;
                file.write_all(b"\n")
            }
        }
    }

    /// The first bytes of BLAKE3 of the key's text, as hex.
    fn key_hash<'a>(&self, hex: &'a mut [u8; 2 * KEY_HASH_BYTES]) -> &'a str {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; KEY_CHARS_MAX];
        let chars = self.device.text_into(&mut text);
        let hash = blake3::hash(&text[..chars]);
        for (pair, byte) in hex.chunks_exact_mut(2).zip(hash.as_bytes()) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        std::str::from_utf8(hex).expect("hex digits are ASCII")
    }
}

/// A field of CSV, quoted where it must be.
fn write_field(text: &str, file: &mut impl Write) -> io::Result<()> {
    if !text.contains([',', '"']) {
        return file.write_all(text.as_bytes());
    }
    file.write_all(b"\"")?;
    file.write_all(text.replace('"', "\"\"").as_bytes())?;
    file.write_all(b"\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Class, Reason};

    #[test]
    fn a_user_with_commas_and_quotes_reads_back() {
        let mut line = Vec::new();
        write_field("a,\"b\"", &mut line).unwrap();
        let mut fields = crate::fields::Fields::new(std::str::from_utf8(&line).unwrap());
        assert_eq!(fields.next().unwrap().unwrap(), "a,\"b\"");
    }

    #[test]
    fn no_reason_class_or_header_needs_a_quote() {
        assert!(Reason::ALL.iter().all(|reason| !reason.text().contains([',', '"'])));
        assert!(Class::ALL.iter().all(|class| !class.name().contains([',', '"'])));
        assert_eq!(HEADER.split(',').count(), 9);
    }
}
