//! Takes a file of devices into the directory. Unless bad rows are to be skipped the whole file is checked before the
//! first device is taken, so a refused file changes nothing.

use std::path::PathBuf;

use backend::Expect;
use backend::directory::Imported;
use backend::rows::{Versioned, import};
use model::audience::{BadRows, UploadRows};
use model::import::{Import, ImportReport, ImportState};
use model::{Device, ImportId, Platform};
use serde_json::json;

use crate::desk::{Desk, Pulse};
use crate::error::{Error, Failure, Result};
use crate::rows::{Count, Reading};
use crate::upload::{self, FileRows, STEP_ROWS, step};

/// Does what a message asks for; begun `receives` times, this time included.
pub(crate) async fn run(desk: &Desk, id: ImportId, receives: u32) -> Result<()> {
    let Some(row) = import::get(&*desk.backend.store, id).await? else { return Ok(()) };
    if row.body.state.is_over() {
        // Whoever ended it may have been killed before the file was gone.
        delete_file(desk, &row.body.upload.blob).await;
        return Ok(());
    }
    let was_begun = matches!(row.body.state, ImportState::Importing { .. });
    if was_begun && !desk.is_abandoned(import::key(id), row.version).await? {
        return Err(Error::Overtaken);
    }
    let mut work = Work { desk, row, report: ImportReport::default(), pulse: Pulse::new(desk) };
    if receives > desk.config.attempts_max {
        return work.fail(format!("it was begun {} times and never finished", receives - 1)).await;
    }
    match work.take_in().await {
        Ok(()) => work.end(ImportState::Done { at: desk.now() }, "devices.imported").await,
        Err(Failure::Refused(why)) => work.fail(why).await,
        Err(Failure::Broken(error)) => match desk.gives_up(&error, receives) {
            Some(why) => work.fail(why).await,
            None => Err(error),
        },
    }
}

struct Work<'a> {
    desk: &'a Desk,
    row: Versioned<Import>,
    report: ImportReport,
    pulse: Pulse,
}

impl Work<'_> {
    async fn take_in(&mut self) -> std::result::Result<(), Failure> {
        self.save(ImportState::Importing { rows: 0 }).await?;
        let import = &self.row.body;
        let bad_rows = import.upload.bad_rows;
        let path = self.desk.file(&import.upload.blob).await?;
        let reading =
            upload::reading(self.desk, &import.upload, Some(UploadRows::Devices), import.created_at);
        if bad_rows == BadRows::RejectAll {
            let count = self.check(path.clone(), reading).await;
            self.note(&count?);
            upload::judge(&self.count(), bad_rows)?;
        }
        let count = self.import(path, reading).await?;
        self.note(&count);
        upload::judge(&count, bad_rows)
    }

    /// Reads the whole file and takes nothing.
    async fn check(&mut self, path: PathBuf, reading: Reading) -> std::result::Result<Count, Failure> {
        let mut rows = self.during(0, step(move || upload::open(&path, &reading))).await??;
        loop {
            let is_over;
            (rows, is_over) = self.during(0, step(move || check_some(rows))).await??;
            if is_over {
                return Ok(rows.count().clone());
            }
        }
    }

    /// While one batch is stored the next is read.
    async fn import(&mut self, path: PathBuf, reading: Reading) -> std::result::Result<Count, Failure> {
        let (most, directory) = (self.desk.config.import_devices, &self.desk.backend.directory);
        let first = move || {
            let mut rows = upload::open(&path, &reading)?;
            let devices = upload::next_devices(&mut rows, most)?;
            Ok((rows, devices))
        };
        let (mut rows, mut devices) = self.during(0, step(first)).await??;
        while !devices.is_empty() {
            self.count_platforms(&devices);
            let next = step(move || {
                let devices = upload::next_devices(&mut rows, most)?;
                Ok((rows, devices))
            });
            let done = self.report.added + self.report.changed + self.report.unchanged;
            // A call that fails is not made again here: the whole import is, and what is known already changes nothing.
            let both = futures::future::join(directory.import(devices), next);
            let (stored, next) = self.during(done, both).await?;
            self.add(stored?);
            (rows, devices) = next?;
        }
        Ok(rows.count().clone())
    }

    fn add(&mut self, imported: Imported) {
        let report = &mut self.report;
        report.added += imported.added;
        report.changed += imported.changed;
        report.unchanged += imported.unchanged;
    }

    fn count_platforms(&mut self, devices: &[Device]) {
        for platform in Platform::ALL {
            let here = devices.iter().filter(|device| device.platform == platform).count() as u64;
            if here > 0 {
                *self.report.by_platform.entry(platform.name().into()).or_default() += here;
            }
        }
    }

    fn note(&mut self, count: &Count) {
        let read = &mut self.report.read;
        (read.rows, read.bad_rows) = (count.rows, count.bad);
        read.first_bad_rows.clone_from(&count.first_bad);
    }

    fn count(&self) -> Count {
        let read = &self.report.read;
        Count { rows: read.rows, bad: read.bad_rows, first_bad: read.first_bad_rows.clone() }
    }

    /// Runs a step and stores progress meanwhile, whenever it is time.
    async fn during<T>(&mut self, rows: u64, step: impl Future<Output = T>) -> Result<T> {
        let mut step = std::pin::pin!(step);
        loop {
            tokio::select! {
                biased;
                done = &mut step => return Ok(done),
                () = self.pulse.due(self.desk) => {}
            }
            self.save(ImportState::Importing { rows }).await?;
        }
    }

    async fn save(&mut self, state: ImportState) -> Result<()> {
        self.row.body.state = state;
        let write = import::put(&self.row.body, Expect::Version(self.row.version));
        self.row.version = self.desk.put(write).await?;
        Ok(())
    }

    async fn fail(&mut self, why: String) -> Result<()> {
        self.end(ImportState::Failed { why }, "devices.import_failed").await
    }

    /// Stores the end; then the file goes, for it holds keys.
    async fn end(&mut self, state: ImportState, action: &str) -> Result<()> {
        self.row.body.state = state;
        self.row.body.report = Some(self.report.clone());
        let report = &self.report;
        let detail = json!({ "rows": report.read.rows, "bad_rows": report.read.bad_rows, "added": report.added, "changed": report.changed });
        let write = import::put(&self.row.body, Expect::Version(self.row.version));
        self.desk.put_audited(write, Vec::new(), action, detail).await?;
        delete_file(self.desk, &self.row.body.upload.blob).await;
        Ok(())
    }
}

async fn delete_file(desk: &Desk, blob: &str) {
    if let Err(error) = desk.backend.blobs.delete(blob).await {
        tracing::warn!(
            blob,
            error = &error as &dyn std::error::Error,
            "an import's file could not be deleted"
        );
    }
}

fn check_some(mut rows: FileRows) -> std::result::Result<(FileRows, bool), Failure> {
    for _ in 0..STEP_ROWS {
        match rows.next_device().map_err(Error::io("read the upload"))? {
            Some(device) => rows.reuse(device),
            None => return Ok((rows, true)),
        }
    }
    Ok((rows, false))
}
