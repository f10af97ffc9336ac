//! An upload's file being read on threads of its own, a step at a time.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use model::audience::{BadRows, Upload, UploadRows};
use model::{Device, Timestamp};

use crate::desk::Desk;
use crate::error::{Error, Failure};
use crate::rows::{Count, OpenError, Reading, Rows};

/// Rows read in one step: some tens of milliseconds.
pub(crate) const STEP_ROWS: usize = 100_000;
const FILE_BUFFER_BYTES: usize = 1 << 20;

/// A file of rows.
pub(crate) type FileRows = Rows<BufReader<File>>;

/// How `upload` is to be read.
pub(crate) fn reading(
    desk: &Desk,
    upload: &Upload,
    rows: Option<UploadRows>,
    uploaded_at: Timestamp,
) -> Reading {
    let line_bytes_max = desk.config.line_bytes_max;
    Reading { format: upload.format, rows, line_bytes_max, uploaded_at }
}

/// Opens a file; one that cannot be read at all is refused.
pub(crate) fn open(path: &Path, reading: &Reading) -> Result<FileRows, Failure> {
    let file = File::open(path).map_err(Error::io("open the upload"))?;
    let reader = BufReader::with_capacity(FILE_BUFFER_BYTES, file);
    Rows::open(reader, reading).map_err(|error| match error {
        OpenError::Io(source) => Failure::from(Error::Io { action: "read the upload", source }),
        OpenError::Unreadable(fault) => Failure::Refused(fault.to_string()),
    })
}

/// Runs a step on a thread that may block. It begins now, whenever the answer is waited for.
pub(crate) fn step<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> impl Future<Output = Result<T, Failure>> {
    let running = tokio::task::spawn_blocking(work);
    async move { running.await? }
}

/// At most `most` devices more; fewer only at the end.
pub(crate) fn next_devices(rows: &mut FileRows, most: usize) -> Result<Vec<Device>, Failure> {
    let mut devices = Vec::with_capacity(most);
    while devices.len() < most {
        match rows.next_device().map_err(Error::io("read the upload"))? {
            Some(device) => devices.push(device),
            None => break,
        }
    }
    Ok(devices)
}

/// Refuses what holds no row, or bad ones where none may be.
pub(crate) fn judge(count: &Count, bad_rows: BadRows) -> Result<(), Failure> {
    let (rows, bad) = (count.rows, count.bad);
    let first = count.first_bad.first().map(|bad| format!("; the first: line {}: {}", bad.line, bad.cause));
    let first = first.unwrap_or_default();
    match bad_rows {
        _ if rows == 0 => Err(Failure::Refused("the file has no rows".into())),
        BadRows::RejectAll if bad > 0 => {
            Err(Failure::Refused(format!("{bad} of {rows} rows are bad{first}")))
        }
        _ if bad < rows && bad_rows.refuses(bad, rows) => {
            Err(Failure::Refused(format!("{bad} of {rows} rows are bad, more than are taken{first}")))
        }
        _ if bad == rows => Err(Failure::Refused(format!("all {rows} rows are bad{first}"))),
        _ => Ok(()),
    }
}
