//! Parquet: the columns of a CSV file, as texts. Rows are read some thousand at a time, so that memory is that of a page
//! of each column, whatever the file.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::Timestamp;
use model::audience::{Defaults, UploadRows};
use parquet::basic::{LogicalType, TimeUnit};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;

use crate::cause::{Cause, Unreadable};
use crate::columns::{Column, Header};
use crate::config::Limits;
use crate::taking::Texts;

/// Rows that are held at a time.
const BATCH_ROWS: usize = 4_096;
/// The footer tells of every column of every row group, and is read at once.
const FOOTER_BYTES_MAX: u32 = 64 << 20;
const MAGIC: &[u8; 4] = b"PAR1";

/// A Parquet file being read.
pub(crate) struct ParquetFile {
    reader: SerializedFileReader<File>,
    rows: UploadRows,
    columns: Vec<Place>,
    limits: Limits,
    /// The row group that comes next.
    next_group: usize,
    /// Rows of the present one that were not read.
    rows_left: usize,
    batch_rows: usize,
    /// The row being looked at, in the batch; of the file, from 1.
    at: usize,
    number: u64,
    unpacked_bytes: u64,
    packed_bytes: Arc<AtomicU64>,
}

/// A column of ours in the file.
struct Place {
    column: Column,
    /// Its place in the file.
    index: usize,
    /// The definition level of a value that is there.
    level: i16,
    unit: Option<TimeUnit>,
    chunk: Option<Chunk>,
    levels: Vec<i16>,
    texts: Vec<ByteArray>,
    times: Vec<i64>,
    /// Where the values of the batch's rows are; `None`: there is none.
    values: Vec<Option<usize>>,
}

enum Chunk {
    Texts(Box<ColumnReaderImpl<ByteArrayType>>),
    Times(Box<ColumnReaderImpl<Int64Type>>),
}

impl ParquetFile {
    /// Reads the footer: what the columns are, and whether they can be read.
    pub(crate) fn open(mut file: File, defaults: &Defaults, limits: Limits) -> io::Result<Self> {
        check_ends(&mut file)?;
        let reader = guarded(|| SerializedFileReader::new(file))?;
        let schema = reader.metadata().file_metadata().schema_descr();
        if schema.num_columns() > limits.columns_max {
            return Err(Unreadable::TooManyColumns { line: 1, most: limits.columns_max }.into());
        }
        let names: Vec<String> = schema.columns().iter().map(|column| column.path().string()).collect();
        let header = Header::of(1, names.iter().map(String::as_str), defaults)?;
        let places = header.columns.iter().zip(schema.columns()).enumerate();
        let columns: Result<Vec<Place>, Unreadable> =
            places.filter_map(|(index, (column, is))| Some(Place::new((*column)?, index, is))).collect();
        Ok(Self {
            columns: columns?,
            rows: header.rows,
            reader,
            limits,
            next_group: 0,
            rows_left: 0,
            batch_rows: 0,
            at: 0,
            number: 0,
            unpacked_bytes: 0,
            packed_bytes: Arc::new(AtomicU64::new(0)),
        })
    }

    /// What the rows are.
    pub(crate) const fn kind(&self) -> UploadRows {
        self.rows
    }

    /// Bytes of the row groups that were begun, unpacked.
    pub(crate) const fn unpacked_bytes(&self) -> u64 {
        self.unpacked_bytes
    }

    /// Bytes of the file that were needed so far, to be looked at from anywhere.
    pub(crate) fn packed_bytes(&self) -> Arc<AtomicU64> {
        self.packed_bytes.clone()
    }

    /// The row's number, from 1.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Goes to the next row; false at the end.
    pub(crate) fn advance(&mut self) -> io::Result<bool> {
        self.at += 1;
        while self.at >= self.batch_rows {
            if self.rows_left == 0 && !self.begin_group()? {
                return Ok(false);
            }
            guarded(|| self.read_batch())?;
        }
        self.number += 1;
        Ok(true)
    }

    /// Begins the next row group; false when there is none.
    fn begin_group(&mut self) -> io::Result<bool> {
        if self.next_group == self.reader.num_row_groups() {
            return Ok(false);
        }
        let group = self.reader.metadata().row_group(self.next_group);
        self.rows_left = usize::try_from(group.num_rows()).map_err(|_| damaged("a row group has no size"))?;
        self.unpacked_bytes += check_sizes(group, self.unpacked_bytes, &self.limits)?;
        let packed = u64::try_from(group.compressed_size()).unwrap_or_default();
        self.packed_bytes.fetch_add(packed, Ordering::Relaxed);
        let (reader, columns, next) = (&self.reader, &mut self.columns, self.next_group);
        guarded(|| {
            let group = reader.get_row_group(next)?;
            for place in columns {
                place.chunk = Some(match group.get_column_reader(place.index)? {
                    ColumnReader::ByteArrayColumnReader(texts) => Chunk::Texts(Box::new(texts)),
                    ColumnReader::Int64ColumnReader(times) => Chunk::Times(Box::new(times)),
                    _ => return Err(ParquetError::General("a column is of another kind than it was".into())),
                });
            }
            Ok(())
        })?;
        self.next_group += 1;
        Ok(true)
    }

    fn read_batch(&mut self) -> Result<(), ParquetError> {
        let rows = self.rows_left.min(BATCH_ROWS);
        self.columns.iter_mut().try_for_each(|place| place.read(rows))?;
        (self.rows_left, self.batch_rows, self.at) = (self.rows_left - rows, rows, 0);
        Ok(())
    }

    /// The row's texts, into `texts`.
    pub(crate) fn read<'a>(&'a self, texts: &mut Texts<'a>) -> Result<(), Cause> {
        for place in &self.columns {
            texts[place.column as usize] = place.text(self.at)?;
        }
        Ok(())
    }
}

impl Place {
    fn new(column: Column, index: usize, is: &ColumnDescriptor) -> Result<Self, Unreadable> {
        let fault = |what: &str| Unreadable::Parquet(format!("column {} {what}", column.name()));
        if is.max_rep_level() > 0 {
            return Err(fault("holds lists"));
        }
        let unit = match (is.physical_type(), is.logical_type_ref()) {
            (parquet::basic::Type::BYTE_ARRAY, _) => None,
            (parquet::basic::Type::INT64, Some(LogicalType::Timestamp(time)))
                if column == Column::RegisteredAt =>
            {
                Some(time.unit)
            }
            _ => return Err(fault("holds no texts")),
        };
        Ok(Self {
            column,
            index,
            level: is.max_def_level(),
            unit,
            chunk: None,
            levels: Vec::new(),
            texts: Vec::new(),
            times: Vec::new(),
            values: Vec::new(),
        })
    }

    fn read(&mut self, rows: usize) -> Result<(), ParquetError> {
        self.levels.clear();
        self.texts.clear();
        self.times.clear();
        let levels = Some(&mut self.levels);
        let (records, values, _) = match &mut self.chunk {
            Some(Chunk::Texts(chunk)) => chunk.read_records(rows, levels, None, &mut self.texts)?,
            Some(Chunk::Times(chunk)) => chunk.read_records(rows, levels, None, &mut self.times)?,
            None => (0, 0, 0),
        };
        self.values.clear();
        let mut next = 0;
        for row in 0..records {
            let is_there = self.level == 0 || self.levels.get(row) == Some(&self.level);
            self.values.push(is_there.then_some(next));
            next += usize::from(is_there);
        }
        if records == rows && next == values {
            Ok(())
        } else {
            Err(ParquetError::EOF("a column ends early".into()))
        }
    }

    fn text(&self, row: usize) -> Result<Option<Cow<'_, str>>, Cause> {
        let Some(value) = self.values.get(row).copied().flatten() else { return Ok(None) };
        let Some(unit) = self.unit else {
            let bytes = self.texts.get(value).map_or(&[][..], ByteArray::data);
            return match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Some(Cow::Borrowed(text))),
                Err(error) => Err(Cause::NotUtf8(error.valid_up_to() + 1)),
            };
        };
        let time = self.times.get(value).copied().unwrap_or_default();
        // A time before 1970 is told as what it is: none that can be read.
        let Ok(time) = u64::try_from(time) else { return Ok(Some(Cow::Borrowed("before 1970"))) };
        let micros = match unit {
            TimeUnit::MILLIS => time.saturating_mul(1_000),
            TimeUnit::MICROS => time,
            TimeUnit::NANOS => time / 1_000,
        };
        Ok(Some(Cow::Owned(Timestamp(micros).to_string())))
    }
}

/// The file must begin and end as Parquet does, with a footer that fits into memory.
fn check_ends(file: &mut File) -> io::Result<()> {
    let (mut head, mut tail) = ([0; 4], [0; 8]);
    let bytes = file.metadata()?.len();
    if bytes == 0 {
        return Err(Unreadable::Empty.into());
    }
    if bytes < 12 {
        return Err(Unreadable::OtherFormat { found: "something shorter", wanted: "Parquet" }.into());
    }
    file.read_exact(&mut head)?;
    if head != *MAGIC {
        return Err(Unreadable::OtherFormat { found: "something else", wanted: "Parquet" }.into());
    }
    file.seek(SeekFrom::End(-8))?;
    file.read_exact(&mut tail)?;
    let [a, b, c, d, end @ ..] = tail;
    if end != *MAGIC {
        return Err(Unreadable::CutOff { packing: "Parquet", byte: bytes }.into());
    }
    let footer = u32::from_le_bytes([a, b, c, d]);
    let fits = footer <= FOOTER_BYTES_MAX && u64::from(footer) < bytes;
    if fits { Ok(()) } else { Err(damaged("its footer is longer than can be")) }
}

/// What a row group unpacks to, if that may be: pages are unpacked whole.
fn check_sizes(group: &RowGroupMetaData, before: u64, limits: &Limits) -> Result<u64, Unreadable> {
    let size = |bytes: i64| u64::try_from(bytes).unwrap_or(u64::MAX);
    let unpacked: u64 =
        group.columns().iter().fold(0, |sum, chunk| sum.saturating_add(size(chunk.uncompressed_size())));
    let packed: u64 =
        group.columns().iter().fold(0, |sum, chunk| sum.saturating_add(size(chunk.compressed_size())));
    if before.saturating_add(unpacked) > limits.unpacked_bytes_max {
        return Err(Unreadable::TooManyBytes(limits.unpacked_bytes_max));
    }
    let ratio_max = limits.ratio_max;
    if unpacked > limits.ratio_free_bytes && unpacked > packed.saturating_mul(ratio_max) {
        return Err(Unreadable::Bomb { unpacked, packed, ratio_max });
    }
    Ok(unpacked)
}

fn damaged(what: &str) -> io::Error {
    Unreadable::Parquet(what.into()).into()
}

/// Runs the library: what it does not foresee in a damaged file is no fault of ours.
fn guarded<T>(work: impl FnOnce() -> Result<T, ParquetError>) -> io::Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(ParquetError::External(error))) => match error.downcast::<io::Error>() {
            Ok(error) if error.raw_os_error().is_some() => Err(*error),
            _ => Err(damaged("it cannot be read")),
        },
        Ok(Err(error)) => Err(damaged(&error.to_string())),
        Err(_) => Err(damaged("it is damaged")),
    }
}

#[cfg(test)]
pub(crate) mod tests;
