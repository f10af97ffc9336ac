//! One device's row of an export, as CSV or NDJSON.

use std::io::{self, Write};

use device_map::DeviceRef;
use model::csv::write_fields;
use model::export::{ExportFormat, Subject};
use model::{Class, Group, Outcome};
use serde::Serialize;

use crate::device_rows::hash_of;
use model::KeyHash;

/// Which rows there are, and how they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    is_of_dead: bool,
    format: ExportFormat,
}

impl Layout {
    pub(crate) const fn of(subject: Subject, format: ExportFormat) -> Self {
        Self { is_of_dead: matches!(subject, Subject::DeadDevices { .. }), format }
    }

    /// The line before the first row; empty where there is none.
    pub(crate) const fn header(self) -> &'static str {
        match (self.format, self.is_of_dead) {
            (ExportFormat::Ndjson, _) => "",
            (ExportFormat::Csv, false) => "user,platform,app,market,locale,outcome,reason,resent,key_hash\n",
            (ExportFormat::Csv, true) => "user,platform,app,market,locale,key,reason\n",
        }
    }
}

/// What became of a device.
pub(crate) struct OutcomeRow<'a> {
    pub(crate) user: &'a str,
    pub(crate) group: &'a Group,
    pub(crate) outcome: Outcome,
    pub(crate) device: DeviceRef<'a>,
    /// The user asked to be forgotten: the row counts, and names nobody.
    pub(crate) is_erased: bool,
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

/// A device whose key is dead.
#[derive(Serialize)]
struct DeadObject<'a> {
    user: &'a str,
    platform: &'a str,
    app: &'a str,
    market: &'a str,
    locale: &'a str,
    key: &'a str,
    reason: &'a str,
}

impl OutcomeRow<'_> {
    /// Appends the row to `file`, if there is to be one.
    pub(crate) fn write(&self, layout: Layout, file: &mut impl Write) -> io::Result<bool> {
        if !layout.is_of_dead {
            self.write_outcome(layout.format, file)?;
            return Ok(true);
        }
        let is_dead = self.outcome.class() == Class::Rejected && self.outcome.reason().is_of_dead_key();
        if !is_dead || self.is_erased {
            return Ok(false);
        }
        self.write_dead(layout.format, file)?;
        Ok(true)
    }

    fn write_outcome(&self, format: ExportFormat, file: &mut impl Write) -> io::Result<()> {
        let Self { user, group, outcome, is_erased, .. } = self;
        let hash = KeyHash::of_hash(hash_of(self.device));
        let (user, key_hash) = if *is_erased { ("", "") } else { (*user, hash.text()) };
        let (platform, class, resent) = (group.platform.name(), outcome.class().name(), outcome.is_resent());
        let reason = outcome.reason().text();
        let Group { app, market, locale, .. } = group;
        match format {
            ExportFormat::Csv => {
                write_fields([user, platform, app, market, locale], file)?;
                // These have no character that would need a quote.
                writeln!(file, "{class},{reason},{resent},{key_hash}")
            }
            ExportFormat::Ndjson => {
                let outcome = class;
                let object =
                    Object { user, platform, app, market, locale, outcome, reason, resent, key_hash };
                write_line(&object, file)
            }
        }
    }

    fn write_dead(&self, format: ExportFormat, file: &mut impl Write) -> io::Result<()> {
        let Self { user, group, outcome, .. } = self;
        let (platform, reason, key) = (group.platform.name(), outcome.reason().text(), self.device.text());
        let Group { app, market, locale, .. } = group;
        match format {
            ExportFormat::Csv => {
                write_fields([user, platform, app, market, locale, &key], file)?;
                writeln!(file, "{reason}")
            }
            ExportFormat::Ndjson => {
                let key = &*key;
                write_line(&DeadObject { user, platform, app, market, locale, key, reason }, file)
            }
        }
    }
}

pub(crate) fn write_line(object: &impl Serialize, file: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *file, object)?;
    file.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::csv::write_field;
    use model::{Class, Reason};

    #[test]
    fn a_user_with_commas_and_quotes_reads_back() {
        let mut line = Vec::new();
        write_field("a,\"b\"", &mut line).unwrap();
        let mut fields = crate::fields::Fields::new(std::str::from_utf8(&line).unwrap());
        assert_eq!(fields.next().unwrap().unwrap(), "a,\"b\"");
    }

    #[test]
    fn what_a_spreadsheet_would_run_is_a_text() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "'=1", "=cmd|' /C calc'!A0,\"x\""] {
            let mut line = Vec::new();
            write_field(text, &mut line).unwrap();
            let line = String::from_utf8(line).unwrap();
            assert!(line.starts_with("\"'"), "{line}");
            let field = crate::fields::Fields::new(&line).next().unwrap().unwrap();
            assert_eq!(field.strip_prefix('\''), Some(text), "one apostrophe more, and nothing else");
        }
        let mut line = Vec::new();
        write_fields(["a-b", "x=1"], &mut line).unwrap();
        assert_eq!(line, b"a-b,x=1,");
    }

    #[test]
    fn no_reason_class_or_header_needs_a_quote() {
        assert!(Reason::ALL.iter().all(|reason| !reason.text().contains([',', '"'])));
        assert!(Class::ALL.iter().all(|class| !class.name().contains([',', '"'])));
    }
}
