//! An upload's file being read on threads of its own, a step at a time.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use model::audience::{BadRows, ReadReport, Upload, UploadRows};
use model::{Device, Timestamp};

use crate::cause::Unreadable;
use crate::desk::Desk;
use crate::error::{Error, Failure, Result};
use crate::row_list::RowList;
use crate::rows::{Reading, Rows};

/// Rows read in one step: some tens of milliseconds.
pub(crate) const STEP_ROWS: usize = 100_000;

/// How `upload` is to be read.
pub(crate) fn reading(
    desk: &Desk,
    upload: &Upload,
    rows: Option<UploadRows>,
    uploaded_at: Timestamp,
) -> Reading {
    let (format, packing, defaults) = (upload.format, upload.packing, upload.defaults.clone());
    Reading { format, packing, rows, defaults, limits: desk.config.limits, uploaded_at }
}

/// Opens a file, and has bad rows listed in another if `list` is its path; a file that cannot be read at all is refused.
pub(crate) fn open(
    path: &Path,
    reading: &Reading,
    list: Option<&Path>,
) -> std::result::Result<Rows, Failure> {
    let file = File::open(path).map_err(Error::io("open the upload"))?;
    let mut rows = Rows::open_file(file, reading).map_err(failure)?;
    if let Some(list) = list {
        rows.list_in(RowList::new(list, true, reading.limits.bad_rows_listed_max));
    }
    Ok(rows)
}

/// What it means that a file could not be read on.
pub(crate) fn failure(error: io::Error) -> Failure {
    match error.downcast::<Unreadable>() {
        Ok(fault) => Failure::Refused(fault.to_string()),
        Err(source) => Failure::Broken(Error::Io { action: "read the upload", source }),
    }
}

/// Runs a step on a thread that may block. It begins now, whenever the answer is waited for.
pub(crate) fn step<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, Failure> + Send + 'static,
) -> impl Future<Output = std::result::Result<T, Failure>> {
    let running = tokio::task::spawn_blocking(work);
    async move { running.await? }
}

/// At most `most` devices more, fewer only at the end, and the line of the last.
pub(crate) fn next_devices(rows: &mut Rows, most: usize) -> std::result::Result<(Vec<Device>, u64), Failure> {
    let (mut devices, mut line) = (Vec::with_capacity(most), 0);
    while devices.len() < most {
        match rows.next_device().map_err(failure)? {
            Some(device) => devices.push(device),
            None => break,
        }
        line = rows.line();
    }
    Ok((devices, line))
}

/// What reading a file showed, and the list of its bad rows, if there are any.
pub(crate) fn close(mut rows: Rows) -> std::result::Result<(ReadReport, Option<PathBuf>), Failure> {
    let list = rows.take_list().map_or(Ok(None), RowList::finish);
    Ok((rows.report(), list.map_err(Error::io("write the list of bad rows"))?))
}

/// Stores the list of an upload's bad rows beside it; returns its name. Whoever reads the upload again writes the same
/// list: one that is there stays.
pub(crate) async fn store_list(desk: &Desk, upload: &Upload, list: &Path) -> Result<String> {
    let blob = format!("{}.bad-rows", upload.blob);
    desk.backend.blobs.put_file(&blob, list).await?;
    Ok(blob)
}

/// Refuses what holds no row, or more bad ones than may be.
pub(crate) fn judge(read: &ReadReport, bad_rows: BadRows) -> std::result::Result<(), Failure> {
    verdict(read, bad_rows).map_err(Failure::Refused)
}

/// The same without what a resolver needs.
pub(crate) fn verdict(read: &ReadReport, bad_rows: BadRows) -> std::result::Result<(), String> {
    let (rows, bad) = (read.rows, read.bad_rows);
    let left_out: u64 = read.left_out.values().sum();
    let first = read.first_bad_rows.first();
    let first = first.map(|bad| format!("; the first: line {}: {}", bad.line, bad.cause)).unwrap_or_default();
    match bad_rows {
        _ if rows == 0 => Err("the file has no rows".into()),
        _ if bad == rows => Err(format!("all {rows} rows are bad{first}")),
        BadRows::RejectAll if bad > 0 => Err(format!("{bad} of {rows} rows are bad{first}")),
        BadRows::AcceptValid { share_ppm_max } if bad_rows.refuses(bad, rows) => {
            let most = f64::from(share_ppm_max) / 1e6;
            Err(format!("{bad} of {rows} rows are bad, a larger share than {most}{first}"))
        }
        _ if bad + left_out == rows => {
            Err(format!("no row is a device to send to: {left_out} of {rows} were left out{first}"))
        }
        _ => Ok(()),
    }
}
