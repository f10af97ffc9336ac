//! The rows of an upload, whatever it is written in: user ids or devices, each checked, and a report of the others.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use model::audience::{BAD_ROWS_MAX, BadRow, Defaults, Packing, ReadReport, UploadFormat, UploadRows};
use model::{Device, Timestamp};

use crate::cause::{Cause, Unreadable};
use crate::columns::Header;
use crate::config::Limits;
use crate::lines::Lines;
#[cfg(feature = "parquet")]
use crate::parquet_file::ParquetFile;
use crate::pinpoint::{self, LeftOut};
use crate::row_list::RowList;
use crate::taking::{self, Taking, Texts};
use crate::unpack::Unpacked;
use crate::{columns, json};

/// How an upload is to be read.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) format: UploadFormat,
    /// How it was said to be packed.
    pub(crate) packing: Packing,
    /// What the rows were said to be; `None`: the file says it.
    pub(crate) rows: Option<UploadRows>,
    pub(crate) defaults: Defaults,
    pub(crate) limits: Limits,
    /// Time of registration of a device whose row has none.
    pub(crate) uploaded_at: Timestamp,
}

/// An upload being read, bad rows passed over and counted.
pub(crate) struct Rows {
    source: Source,
    taking: Taking,
    tally: Tally,
    user: String,
    spare: Option<Device>,
    packed_bytes: Arc<AtomicU64>,
}

/// Where rows come from.
enum Source {
    Text {
        lines: Box<Lines<Unpacked>>,
        shape: Shape,
    },
    #[cfg(feature = "parquet")]
    Parquet(Box<ParquetFile>),
}

/// How a line is written.
enum Shape {
    Csv(Header),
    Ndjson,
    Pinpoint,
    PinpointCsv(pinpoint::Header),
    Tokens,
    Users,
}

/// What was read so far.
struct Tally {
    report: ReadReport,
    list: Option<RowList>,
    rows_max: u64,
}

impl Rows {
    /// Reads the header, or looks at the first row, and so finds out what the rows are. A file that cannot be read at all
    /// is an error with an [`Unreadable`] within.
    pub(crate) fn open(reader: impl Read + Send + 'static, reading: &Reading) -> io::Result<Self> {
        taking::check_defaults(reading.format, &reading.defaults)?;
        let unpacked = Unpacked::open(reader, reading.packing, reading.limits)?;
        let packed_bytes = unpacked.packed_bytes();
        let mut lines = Lines::new(unpacked, reading.limits.line_bytes_max);
        while lines.advance()? && lines.is_empty() {}
        if lines.is_empty() {
            return Err(Unreadable::Empty.into());
        }
        let (shape, rows) = shape(&mut lines, reading)?;
        Self::new(Source::Text { lines: Box::new(lines), shape }, rows, packed_bytes, reading)
    }

    /// The same of a file, which may also be one that is not read from its front to its end.
    pub(crate) fn open_file(file: File, reading: &Reading) -> io::Result<Self> {
        if reading.format != UploadFormat::Parquet {
            return Self::open(file, reading);
        }
        #[cfg(feature = "parquet")]
        {
            let file = ParquetFile::open(file, &reading.defaults, reading.limits)?;
            let (rows, packed_bytes) = (file.kind(), file.packed_bytes());
            Self::new(Source::Parquet(Box::new(file)), rows, packed_bytes, reading)
        }
        #[cfg(not(feature = "parquet"))]
        Err(Unreadable::NotBuiltIn("Parquet").into())
    }

    fn new(
        source: Source,
        rows: UploadRows,
        packed_bytes: Arc<AtomicU64>,
        reading: &Reading,
    ) -> io::Result<Self> {
        if let Some(wanted) = reading.rows.filter(|wanted| *wanted != rows) {
            return Err(Unreadable::OtherRows { found: name(rows), wanted: name(wanted) }.into());
        }
        let taking = Taking {
            rows,
            defaults: reading.defaults.clone(),
            uploaded_at: reading.uploaded_at,
            names_users: reading.format == UploadFormat::Tokens,
        };
        let tally = Tally { report: ReadReport::default(), list: None, rows_max: reading.limits.rows_max };
        Ok(Self { source, taking, tally, user: String::new(), spare: None, packed_bytes })
    }

    /// Has bad rows listed.
    pub(crate) fn list_in(&mut self, list: RowList) {
        self.tally.list = Some(list);
    }

    /// Line of the row that was read last; of a Parquet file its row.
    pub(crate) fn line(&self) -> u64 {
        match &self.source {
            Source::Text { lines, .. } => lines.number(),
            #[cfg(feature = "parquet")]
            Source::Parquet(file) => file.number(),
        }
    }

    /// The list of bad rows, to be finished.
    pub(crate) const fn take_list(&mut self) -> Option<RowList> {
        self.tally.list.take()
    }

    /// What the rows are.
    pub(crate) const fn kind(&self) -> UploadRows {
        self.taking.rows
    }

    /// What was read so far.
    pub(crate) fn report(&self) -> ReadReport {
        let unpacked_bytes = match &self.source {
            Source::Text { lines, .. } => lines.bytes_read(),
            #[cfg(feature = "parquet")]
            Source::Parquet(file) => file.unpacked_bytes(),
        };
        ReadReport { unpacked_bytes, ..self.tally.report.clone() }
    }

    /// Bytes of the file that were needed so far, to be looked at from anywhere.
    pub(crate) fn packed_bytes(&self) -> Arc<AtomicU64> {
        self.packed_bytes.clone()
    }

    /// The next good row's user.
    pub(crate) fn next_user(&mut self) -> io::Result<Option<&str>> {
        let user = &mut self.user;
        let is_there =
            self.source.next_good(&self.taking, &mut self.tally, |taking, texts| taking.user(texts, user))?;
        Ok(is_there.then_some(&*self.user))
    }

    /// The next good row's device.
    pub(crate) fn next_device(&mut self) -> io::Result<Option<Device>> {
        let spare = &mut self.spare;
        let mut found = None;
        self.source.next_good(&self.taking, &mut self.tally, |taking, texts| {
            found = Some(taking.device(texts, spare.take())?);
            Ok(())
        })?;
        Ok(found)
    }

    /// Takes a device back, so that the next one needs no memory of its own.
    pub(crate) fn reuse(&mut self, device: Device) {
        self.spare = Some(device);
    }
}

impl Source {
    /// Offers row after row until one is taken; false at the end.
    fn next_good(
        &mut self,
        taking: &Taking,
        tally: &mut Tally,
        mut take: impl FnMut(&Taking, &Texts<'_>) -> Result<(), Cause>,
    ) -> io::Result<bool> {
        let (lines, shape) = match self {
            Source::Text { lines, shape } => (lines, shape),
            #[cfg(feature = "parquet")]
            Source::Parquet(file) => return next_good_of(file, taking, tally, take),
        };
        while shape.advance(lines)? {
            if lines.is_empty() {
                continue;
            }
            tally.add()?;
            let mut texts = Texts::default();
            let read = lines.text().and_then(|line| match shape.read(line, &mut texts)? {
                None => take(taking, &texts).map(|()| None),
                left_out => Ok(left_out),
            });
            match read {
                Ok(None) => return Ok(true),
                Ok(Some(why)) => tally.leave_out(why),
                Err(cause) => tally.add_bad(lines.number(), lines.byte(), &cause)?,
            }
        }
        Ok(false)
    }
}

#[cfg(feature = "parquet")]
fn next_good_of(
    file: &mut ParquetFile,
    taking: &Taking,
    tally: &mut Tally,
    mut take: impl FnMut(&Taking, &Texts<'_>) -> Result<(), Cause>,
) -> io::Result<bool> {
    while file.advance()? {
        tally.add()?;
        let mut texts = Texts::default();
        match file.read(&mut texts).and_then(|()| take(taking, &texts)) {
            Ok(()) => return Ok(true),
            Err(cause) => tally.add_bad(file.number(), 0, &cause)?,
        }
    }
    Ok(false)
}

impl Shape {
    fn advance<R: Read>(&self, lines: &mut Lines<R>) -> io::Result<bool> {
        match self {
            Shape::Csv(_) | Shape::PinpointCsv(_) => {}
            Shape::Ndjson | Shape::Pinpoint | Shape::Tokens | Shape::Users => return lines.advance(),
        }
        let is_there = lines.advance_record()?;
        // Quotes that pair up by chance: the first line is bad, and those after it may be good.
        if lines.is_record()
            && lines.text().and_then(|record| self.read(record, &mut Texts::default())).is_err()
        {
            lines.retreat();
        }
        Ok(is_there)
    }

    fn read<'a>(&self, line: &'a str, texts: &mut Texts<'a>) -> Result<LeftOut, Cause> {
        match self {
            Shape::Csv(header) => header.read(line, texts).map(|()| None),
            Shape::Ndjson => json::read(line, texts).map(|()| None),
            Shape::Pinpoint => pinpoint::read(line, texts),
            Shape::PinpointCsv(header) => header.read(line, texts),
            Shape::Tokens => {
                texts[columns::Column::Key as usize] = Some(line.into());
                Ok(None)
            }
            Shape::Users => {
                texts[columns::Column::User as usize] = Some(line.into());
                Ok(None)
            }
        }
    }
}

/// What the first line that is not empty says of the file.
fn shape<R: Read>(lines: &mut Lines<R>, reading: &Reading) -> io::Result<(Shape, UploadRows)> {
    let line = lines.number();
    let Limits { columns_max, .. } = reading.limits;
    let text = || lines.text().map_err(|cause| Unreadable::Header { line, cause });
    let is_object = begins(lines, "{");
    let other = |found| Unreadable::OtherFormat { found, wanted: reading.format.name() };
    match reading.format {
        _ if begins(lines, "PAR1") => Err(other("Parquet").into()),
        UploadFormat::Csv | UploadFormat::Tokens if is_object => Err(other("JSON").into()),
        // An id may be in braces.
        UploadFormat::Users if begins(lines, "{\"") => Err(other("JSON").into()),
        UploadFormat::Csv => {
            let header = Header::of_line(line, text()?, columns_max, &reading.defaults)?;
            let rows = header.rows;
            Ok((Shape::Csv(header), rows))
        }
        UploadFormat::Ndjson | UploadFormat::Pinpoint if begins(lines, "[") => {
            Err(other("a JSON array, not an object a line").into())
        }
        UploadFormat::Ndjson => {
            let is_header =
                |text| Header::of_line(line, text, columns_max, &reading.defaults).is_ok_and(|_| !is_object);
            // A first row that cannot be read says nothing of the others.
            let mut texts = Texts::default();
            let rows = match lines.text().and_then(|line| json::read(line, &mut texts)) {
                Ok(()) if taking::is_device(&texts) => UploadRows::Devices,
                Ok(()) => UploadRows::Users,
                Err(_) if lines.text().is_ok_and(is_header) => return Err(other("CSV").into()),
                Err(_) => reading.rows.unwrap_or(UploadRows::Users),
            };
            lines.hold();
            Ok((Shape::Ndjson, rows))
        }
        UploadFormat::Pinpoint if is_object => {
            lines.hold();
            Ok((Shape::Pinpoint, UploadRows::Devices))
        }
        UploadFormat::Pinpoint => {
            let header = pinpoint::Header::of_line(line, text()?, columns_max)?;
            Ok((Shape::PinpointCsv(header), UploadRows::Devices))
        }
        UploadFormat::Tokens => {
            lines.hold();
            Ok((Shape::Tokens, UploadRows::Devices))
        }
        UploadFormat::Users => {
            lines.hold();
            Ok((Shape::Users, UploadRows::Users))
        }
        UploadFormat::Parquet => Err(Unreadable::NotBuiltIn("Parquet").into()),
    }
}

fn begins<R: Read>(lines: &Lines<R>, with: &str) -> bool {
    lines.text().is_ok_and(|text| text.trim_start().starts_with(with))
}

impl Tally {
    /// Counts a row, of whatever kind.
    fn add(&mut self) -> Result<(), Unreadable> {
        self.report.rows += 1;
        let fits = self.report.rows <= self.rows_max;
        fits.then_some(()).ok_or(Unreadable::TooManyRows(self.rows_max))
    }

    fn add_bad(&mut self, line: u64, byte: u64, cause: &Cause) -> io::Result<()> {
        let (report, reason) = (&mut self.report, cause.reason());
        report.bad_rows += 1;
        count(&mut report.bad_by_reason, reason);
        let is_shown = report.first_bad_rows.len() < BAD_ROWS_MAX;
        let list = self.list.as_mut().filter(|list| list.has_room());
        if !is_shown && list.is_none() {
            return Ok(());
        }
        let bad = BadRow { line, byte, reason: reason.into(), cause: cause.to_string() };
        list.map_or(Ok(()), |list| list.push(&bad))?;
        if is_shown {
            report.first_bad_rows.push(bad);
        }
        Ok(())
    }

    fn leave_out(&mut self, why: &'static str) {
        count(&mut self.report.left_out, why);
    }
}

fn count(by_reason: &mut std::collections::BTreeMap<String, u64>, reason: &'static str) {
    match by_reason.get_mut(reason) {
        Some(number) => *number += 1,
        None => drop(by_reason.insert(reason.into(), 1)),
    }
}

const fn name(rows: UploadRows) -> &'static str {
    match rows {
        UploadRows::Users => "users",
        UploadRows::Devices => "devices",
    }
}

#[cfg(test)]
mod tests;
