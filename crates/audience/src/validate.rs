//! Reads a file as a resolver would and says what it would say, without a backend.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::Ordering;

use model::audience::{BadRows, Defaults, Packing, ReadReport, UploadFormat, UploadRows};
use model::{Platform, Timestamp};
use serde::Serialize;

use crate::config::Limits;
use crate::error::{Error, Failure, Result};
use crate::row_list::RowList;
use crate::rows::{Reading, Rows};
use crate::upload::{failure, verdict};

/// Rows between two tellings of progress.
const PROGRESS_ROWS: u64 = 10_000;

/// How a file is to be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// How it is written.
    pub format: UploadFormat,
    /// How it is said to be packed.
    pub packing: Packing,
    /// What its rows are said to be; `None`: the file says it.
    pub rows: Option<UploadRows>,
    /// What becomes of bad rows.
    pub bad_rows: BadRows,
    /// What rows take that do not say it.
    pub defaults: Defaults,
    /// What the file may be.
    pub limits: Limits,
    /// Time of registration of devices whose rows have none.
    pub uploaded_at: Timestamp,
}

/// What a resolver would say of a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verdict {
    /// Why it would be refused, if it would.
    pub refused: Option<String>,
    /// What its rows are, as far as it could be read.
    pub kind: Option<UploadRows>,
    /// What reading it showed.
    #[serde(flatten)]
    pub read: ReadReport,
    /// Good rows by platform name, where they are devices.
    pub by_platform: BTreeMap<String, u64>,
}

/// Reads the file at `path` in constant memory. Bad rows are listed in a new file at `list`, one line of JSON each;
/// `progress` is told again and again how many bytes of the file were read.
///
/// # Errors
/// When a file cannot be read or written. What is wrong with the content is in the answer.
pub fn validate(
    path: &Path,
    asked: &Asked,
    list: Option<&Path>,
    mut progress: impl FnMut(u64),
) -> Result<Verdict> {
    let file = File::open(path).map_err(Error::io("open the file"))?;
    judged(Rows::open_file(file, &reading(asked)), asked, list, &mut progress)
}

/// The same of what `reader` gives, which is not Parquet: that is not read from its front to its end.
///
/// # Errors
/// When it cannot be read. What is wrong with the content is in the answer.
pub fn validate_reader(reader: impl Read + Send + 'static, asked: &Asked) -> Result<Verdict> {
    judged(Rows::open(reader, &reading(asked)), asked, None, &mut |_| {})
}

fn reading(asked: &Asked) -> Reading {
    let Asked { format, packing, rows, limits, uploaded_at, .. } = *asked;
    Reading { format, packing, rows, defaults: asked.defaults.clone(), limits, uploaded_at }
}

fn judged(
    rows: io::Result<Rows>,
    asked: &Asked,
    list: Option<&Path>,
    progress: &mut dyn FnMut(u64),
) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let read = read(rows, asked, list, progress, &mut verdict);
    let judged = || self::verdict(&verdict.read, asked.bad_rows).map_err(Failure::Refused);
    match read.and_then(|()| judged()) {
        Ok(()) => Ok(verdict),
        Err(Failure::Refused(why)) => Ok(Verdict { refused: Some(why), ..verdict }),
        Err(Failure::Broken(error)) => Err(error),
    }
}

fn read(
    rows: io::Result<Rows>,
    asked: &Asked,
    list: Option<&Path>,
    progress: &mut dyn FnMut(u64),
    verdict: &mut Verdict,
) -> std::result::Result<(), Failure> {
    let mut rows = rows.map_err(failure)?;
    verdict.kind = Some(rows.kind());
    if let Some(list) = list {
        rows.list_in(RowList::new(list, false, asked.limits.bad_rows_listed_max));
    }
    let read = read_all(&mut rows, progress, &mut verdict.by_platform);
    let listed = rows.take_list().map_or(Ok(None), RowList::finish);
    verdict.read = rows.report();
    listed.map_err(Error::io("write the list of bad rows"))?;
    read
}

fn read_all(
    rows: &mut Rows,
    progress: &mut dyn FnMut(u64),
    by_platform: &mut BTreeMap<String, u64>,
) -> std::result::Result<(), Failure> {
    let packed_bytes = rows.packed_bytes();
    let mut numbers = [0_u64; Platform::ALL.len()];
    for row in 1_u64.. {
        let is_there = match rows.kind() {
            UploadRows::Users => rows.next_user().map_err(failure)?.is_some(),
            UploadRows::Devices => match rows.next_device().map_err(failure)? {
                Some(device) => {
                    numbers[device.platform.index()] += 1;
                    rows.reuse(device);
                    true
                }
                None => false,
            },
        };
        if !is_there {
            break;
        }
        if row.is_multiple_of(PROGRESS_ROWS) {
            progress(packed_bytes.load(Ordering::Relaxed));
        }
    }
    for platform in Platform::ALL.into_iter().filter(|platform| numbers[platform.index()] > 0) {
        by_platform.insert(platform.name().into(), numbers[platform.index()]);
    }
    Ok(())
}
