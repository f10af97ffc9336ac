//! The rows of an upload, whatever it is written in: user ids or devices, each checked, and a tally of the bad ones.

use std::borrow::Cow;
use std::io::{self, BufRead};

use model::audience::{BAD_ROWS_MAX, BadRow, UploadFormat, UploadRows};
use model::device::check_user;
use model::{Device, Platform, Timestamp};

use crate::cause::{Cause, Unreadable};
use crate::columns::{Column, Header, check_kind};
use crate::fields::Fields;
use crate::json;
use crate::lines::Lines;

/// The texts of a row by [`Column`].
pub(crate) type Texts<'a> = [Option<Cow<'a, str>>; Column::ALL.len()];

/// How many rows there were, and which were bad.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) rows: u64,
    pub(crate) bad: u64,
    pub(crate) first_bad: Vec<BadRow>,
}

/// How an upload is to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) format: UploadFormat,
    /// What the rows were said to be; `None`: the file says it.
    pub(crate) rows: Option<UploadRows>,
    pub(crate) line_bytes_max: usize,
    /// Time of registration of a device whose row has none.
    pub(crate) uploaded_at: Timestamp,
}

/// An upload being read, bad rows passed over and counted.
pub(crate) struct Rows<R> {
    lines: Lines<R>,
    /// The header of a CSV file.
    header: Option<Header>,
    rows: UploadRows,
    uploaded_at: Timestamp,
    count: Count,
    user: String,
    spare: Option<Device>,
}

/// Why no reader could be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

impl<R: BufRead> Rows<R> {
    /// Reads the header, or looks at the first row, and so finds out what the rows are.
    pub(crate) fn open(reader: R, reading: &Reading) -> Result<Self, OpenError> {
        let mut lines = Lines::new(reader, reading.line_bytes_max);
        loop {
            if !lines.advance()? {
                return Err(Unreadable::Empty.into());
            }
            refuse_packed(lines.bytes())?;
            if !lines.is_empty() {
                break;
            }
        }
        let line = lines.number();
        let (header, rows) = match reading.format {
            UploadFormat::Csv => {
                let text = lines.text().map_err(|cause| Unreadable::Header { line, cause })?;
                let header = Header::read(line, text)?;
                let rows = header.rows;
                (Some(header), rows)
            }
            UploadFormat::Pinpoint | UploadFormat::Tokens | UploadFormat::Parquet => {
                return Err(Unreadable::NotBuiltIn(reading.format.name()).into());
            }
            UploadFormat::Ndjson => {
                lines.hold();
                // A first row that cannot be read says nothing of the others.
                let seen = match lines.text().and_then(json::read) {
                    Ok(texts) if is_device(&texts) => UploadRows::Devices,
                    Ok(_) => UploadRows::Users,
                    Err(_) => reading.rows.unwrap_or(UploadRows::Users),
                };
                (None, seen)
            }
        };
        if let Some(wanted) = reading.rows.filter(|wanted| *wanted != rows) {
            return Err(Unreadable::OtherRows { found: name(rows), wanted: name(wanted) }.into());
        }
        let uploaded_at = reading.uploaded_at;
        let count = Count::default();
        Ok(Self { lines, header, rows, uploaded_at, count, user: String::new(), spare: None })
    }

    /// What the rows are.
    pub(crate) const fn kind(&self) -> UploadRows {
        self.rows
    }

    /// What was read so far.
    pub(crate) const fn count(&self) -> &Count {
        &self.count
    }

    /// The next good row's user.
    pub(crate) fn next_user(&mut self) -> io::Result<Option<&str>> {
        let mut user = std::mem::take(&mut self.user);
        let is_there = self.next_good(|texts, _| {
            let text = texts[Column::User as usize].as_deref().ok_or(Cause::Missing("user"))?;
            check_user(text)?;
            user.clear();
            user.push_str(text);
            Ok(())
        })?;
        self.user = user;
        Ok(is_there.then_some(&*self.user))
    }

    /// The next good row's device.
    pub(crate) fn next_device(&mut self) -> io::Result<Option<Device>> {
        let mut spare = self.spare.take();
        let mut found = None;
        self.next_good(|texts, uploaded_at| {
            let device = fill(texts, uploaded_at, spare.take())?;
            found = Some(device.checked()?);
            Ok(())
        })?;
        self.spare = spare;
        Ok(found)
    }

    /// Takes a device back, so that the next one needs no memory of its own.
    pub(crate) fn reuse(&mut self, device: Device) {
        self.spare = Some(device);
    }

    /// Offers row after row until one is taken; false at the end.
    fn next_good(
        &mut self,
        mut take: impl FnMut(&Texts<'_>, Timestamp) -> Result<(), Cause>,
    ) -> io::Result<bool> {
        while self.lines.advance()? {
            if self.lines.is_empty() {
                continue;
            }
            self.count.rows += 1;
            let read = self.lines.text().and_then(|line| {
                let texts = match &self.header {
                    Some(header) => read_csv(header, line)?,
                    None => json::read(line)?,
                };
                check_kind(self.rows, is_device(&texts))?;
                take(&texts, self.uploaded_at)
            });
            match read {
                Ok(()) => return Ok(true),
                Err(cause) => self.count.add_bad(&self.lines, &cause),
            }
        }
        Ok(false)
    }
}

impl Count {
    fn add_bad<R: BufRead>(&mut self, lines: &Lines<R>, cause: &Cause) {
        self.bad += 1;
        if self.first_bad.len() < BAD_ROWS_MAX {
            let (line, byte) = (lines.number(), lines.byte());
            self.first_bad.push(BadRow {
                line,
                byte,
                reason: cause.reason().into(),
                cause: cause.to_string(),
            });
        }
    }
}

fn read_csv<'a>(header: &Header, line: &'a str) -> Result<Texts<'a>, Cause> {
    let mut texts = Texts::default();
    let mut found = 0;
    for field in Fields::new(line) {
        let field = field?;
        if let Some(column) = header.columns.get(found) {
            texts[*column as usize] = Some(field);
        }
        found += 1;
    }
    let wanted = header.len();
    if found == wanted { Ok(texts) } else { Err(Cause::Fields { found, wanted }) }
}

fn is_device(texts: &Texts<'_>) -> bool {
    texts[Column::Platform as usize..].iter().any(Option::is_some)
}

/// The device that a row describes, not yet checked, in the memory of `spare`.
fn fill(texts: &Texts<'_>, uploaded_at: Timestamp, spare: Option<Device>) -> Result<Device, Cause> {
    let text = |column: Column| texts[column as usize].as_deref().ok_or(Cause::Missing(column.name()));
    let platform: Platform = text(Column::Platform)?.parse()?;
    let registered_at: Timestamp = match texts[Column::RegisteredAt as usize].as_deref() {
        None | Some("") => uploaded_at,
        Some(text) => text.parse()?,
    };
    let mut device = spare.unwrap_or_else(|| empty(platform));
    (device.platform, device.registered_at) = (platform, registered_at);
    let places = [
        (Column::User, &mut device.user),
        (Column::Key, &mut device.key),
        (Column::App, &mut device.app),
        (Column::Locale, &mut device.locale),
        (Column::Market, &mut device.market),
    ];
    for (column, place) in places {
        place.clear();
        place.push_str(text(column)?);
    }
    Ok(device)
}

const fn empty(platform: Platform) -> Device {
    Device {
        user: String::new(),
        platform,
        key: String::new(),
        app: String::new(),
        locale: String::new(),
        market: String::new(),
        registered_at: Timestamp(0),
    }
}

const fn name(rows: UploadRows) -> &'static str {
    match rows {
        UploadRows::Users => "users",
        UploadRows::Devices => "devices",
    }
}

/// What people upload by mistake, by how it begins.
fn refuse_packed(bytes: &[u8]) -> Result<(), Unreadable> {
    const KINDS: [(&[u8], &str); 5] = [
        (b"\x1f\x8b", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"PK\x03\x04", "a zip archive or a spreadsheet"),
        (b"\xff\xfe", "UTF-16 text"),
        (b"\xfe\xff", "UTF-16 text"),
    ];
    let kind = KINDS.iter().find(|(start, _)| bytes.starts_with(start));
    kind.map_or(Ok(()), |(_, name)| Err(Unreadable::Packed(name)))
}

#[cfg(test)]
mod tests;
