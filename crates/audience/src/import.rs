//! Takes a file of devices into the directory, or of people onto the late list. Unless every good row is to be taken, however many
//! are bad, a whole file of devices is checked before the first of them is taken, so a refused file changes nothing.

use std::path::PathBuf;

use backend::directory::Imported;
use backend::rows::{Versioned, import, suppression};
use backend::{Expect, Write};
use model::audience::{BadRows, PPM, ReadReport, Upload, UploadRows};
use model::import::{Destination, Import, ImportReport, ImportState};
use model::suppression::Cause;
use model::{Device, ImportId, Platform};
use serde_json::json;

use crate::desk::{AtWork, Desk, Pulse};
use crate::door::{Door, ERASED};
use crate::error::{Error, Failure, Result};
use crate::late_list::{Gathered, Gathering};
use crate::rows::{Reading, Rows};
use crate::upload::{self, STEP_ROWS, failure, step};

/// How bad rows are asked to be taken when no number of them refuses the file.
const EVERY_GOOD_ROW: BadRows = BadRows::AcceptValid { share_ppm_max: PPM };

/// What reading a file showed, and the list of its bad rows.
type Read = (ReadReport, Option<PathBuf>);

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
    let (report, pulse) = (ImportReport::default(), Pulse::new(desk));
    let mut work = Work { desk, row, report, erased: 0, pulse };
    if receives > desk.config.attempts_max {
        return work.fail(format!("it was begun {} times and never finished", receives - 1)).await;
    }
    match work.take_in().await {
        Ok(()) => Ok(()),
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
    /// Devices of people who asked to be forgotten.
    erased: u64,
    pulse: Pulse,
}

impl Work<'_> {
    async fn take_in(&mut self) -> std::result::Result<(), Failure> {
        self.say().await?;
        match self.row.body.into {
            Destination::Directory => {
                self.take_devices().await?;
                let state = ImportState::Done { at: self.desk.now() };
                Ok(self.end(state, "devices.imported", Vec::new()).await?)
            }
            Destination::LateList(cause) => {
                let gathered = self.take_people(cause).await?;
                self.add_people(&gathered).await
            }
        }
    }

    async fn take_devices(&mut self) -> std::result::Result<(), Failure> {
        let upload = self.row.body.upload.clone();
        let path = self.desk.file(&upload.blob).await?;
        let reading =
            upload::reading(self.desk, &upload, Some(UploadRows::Devices), self.row.body.created_at);
        let folder = self.desk.work_folder()?;
        let list = folder.path().join("bad-rows");
        let door = Door::open(self.desk, None).await?;
        if upload.bad_rows == EVERY_GOOD_ROW {
            let read = self.import(path, reading, Some(list), &door).await?;
            self.settle(&upload, read).await?;
        } else {
            let read = self.check(path.clone(), reading.clone(), list).await?;
            self.settle(&upload, read).await?;
            self.import(path, reading, None, &door).await?;
        }
        if self.erased > 0 {
            self.report.read.left_out.insert(ERASED.to_owned(), self.erased);
        }
        Ok(())
    }

    /// Reads everybody of the file.
    async fn take_people(&mut self, cause: Cause) -> std::result::Result<Gathered, Failure> {
        let upload = self.row.body.upload.clone();
        let path = self.desk.file(&upload.blob).await?;
        let reading = upload::reading(self.desk, &upload, Some(UploadRows::Users), self.row.body.created_at);
        let folder = self.desk.work_folder()?;
        let list = folder.path().join("bad-rows");
        let mut gathering = Gathering::begin(self.desk, cause).await?;
        let mut rows = self.during(step(move || upload::open(&path, &reading, Some(&list)))).await??;
        loop {
            let is_over;
            self.report.read.rows = rows.report().rows;
            (gathering, rows, is_over) = self.during(step(move || gathering.read_some(rows))).await??;
            if is_over {
                break;
            }
        }
        let read = step(move || upload::close(rows)).await?;
        self.settle(&upload, read).await?;
        step(move || gathering.finish()).await
    }

    /// Changes the list and ends with it, in one transaction; again when somebody else's change of the list came first.
    async fn add_people(&mut self, gathered: &Gathered) -> std::result::Result<(), Failure> {
        let (store, blobs) = (&*self.desk.backend.store, &*self.desk.backend.blobs);
        loop {
            let good = self.report.read.rows - self.report.read.bad_rows;
            let change = self.during(gathered.change(self.desk)).await??;
            let (came, changed) = change.as_ref().map_or((0, 0), |change| (change.came, change.changed));
            let report = &mut self.report;
            (report.added, report.changed, report.unchanged) = (came, changed, good - came - changed);
            report.late_list_version = match &change {
                Some(change) => Some(change.version),
                None => Some(suppression::list(store).await?.body.versions.last()),
            };
            let writes = change.iter().map(|change| change.write.clone()).collect();
            let ended =
                self.end(ImportState::Done { at: self.desk.now() }, "suppression.added", writes).await;
            let is_done = match ended {
                Err(Error::Overtaken) => false,
                // After any other error it may be there all the same: what nobody names is found as garbage.
                ended => ended.map(|()| true)?,
            };
            let unnamed = change.and_then(|change| if is_done { change.replaced } else { change.new_blob });
            if let Some(blob) = unnamed {
                blobs.delete(&blob).await?;
            }
            if is_done {
                return Ok(());
            }
            let row = import::get(store, self.row.body.id).await?;
            if row.is_none_or(|row| row.version != self.row.version) {
                return Err(Error::Overtaken.into());
            }
        }
    }

    /// Keeps what was read, and refuses the upload if too much is wrong with it.
    async fn settle(&mut self, upload: &Upload, (read, list): Read) -> std::result::Result<(), Failure> {
        self.report.read = read;
        if let Some(list) = list {
            self.report.read.bad_rows_blob = Some(upload::store_list(self.desk, upload, &list).await?);
        }
        upload::judge(&self.report.read, upload.bad_rows)
    }

    /// Reads the whole file and takes nothing.
    async fn check(
        &mut self,
        path: PathBuf,
        reading: Reading,
        list: PathBuf,
    ) -> std::result::Result<Read, Failure> {
        let mut rows = self.during(step(move || upload::open(&path, &reading, Some(&list)))).await??;
        loop {
            let is_over;
            (rows, is_over) = self.during(step(move || check_some(rows))).await??;
            if is_over {
                return step(move || upload::close(rows)).await;
            }
        }
    }

    /// While one batch is stored the next is read.
    async fn import(
        &mut self,
        path: PathBuf,
        reading: Reading,
        list: Option<PathBuf>,
        door: &Door,
    ) -> std::result::Result<Read, Failure> {
        let (most, directory) = (self.desk.config.import_devices, &self.desk.backend.directory);
        let first = move || {
            let mut rows = upload::open(&path, &reading, list.as_deref())?;
            let devices = upload::next_devices(&mut rows, most)?;
            Ok((rows, devices))
        };
        let (mut rows, (mut devices, mut last_line)) = self.during(step(first)).await??;
        let mut behind = 0;
        while !devices.is_empty() {
            let read = devices.len();
            devices.retain(|device| !door.is_erased(&device.user));
            self.erased += (read - devices.len()) as u64;
            self.count_platforms(&devices);
            let lines = (behind + 1, last_line);
            behind = last_line;
            let next = step(move || {
                let devices = upload::next_devices(&mut rows, most)?;
                Ok((rows, devices))
            });
            // A call that fails is not made again here: the whole import is, and what is known already changes nothing.
            let both = futures::future::join(directory.import(devices), next);
            let (stored, next) = self.during(both).await?;
            self.add(stored.map_err(|error| placed(error, lines))?);
            (rows, (devices, last_line)) = next?;
        }
        step(move || upload::close(rows)).await
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

    async fn fail(&mut self, why: String) -> Result<()> {
        let action = match self.row.body.into {
            Destination::Directory => "devices.import_failed",
            Destination::LateList(_) => "suppression.import_failed",
        };
        self.end(ImportState::Failed { why }, action, Vec::new()).await
    }

    /// Stores the end together with `writes`; then the file goes, for it holds keys or user ids.
    async fn end(&mut self, state: ImportState, action: &str, writes: Vec<Write>) -> Result<()> {
        self.row.body.state = state;
        self.row.body.report = Some(self.report.clone());
        let report = &self.report;
        let mut detail = json!({ "rows": report.read.rows, "bad_rows": report.read.bad_rows, "left_out": report.read.left_out, "added": report.added, "changed": report.changed });
        if let Destination::LateList(cause) = self.row.body.into {
            (detail["cause"], detail["version"]) = (json!(cause), json!(report.late_list_version));
        }
        let write = import::put(&self.row.body, Expect::Version(self.row.version));
        self.desk.put_audited(write, writes, action, detail).await?;
        delete_file(self.desk, &self.row.body.upload.blob).await;
        Ok(())
    }
}

impl AtWork for Work<'_> {
    fn pulse(&mut self) -> (&mut Pulse, &Desk) {
        (&mut self.pulse, self.desk)
    }

    async fn say(&mut self) -> Result<()> {
        let report = &self.report;
        let rows = match self.row.body.into {
            Destination::Directory => report.added + report.changed + report.unchanged,
            Destination::LateList(_) => report.read.rows,
        };
        self.row.body.state = ImportState::Importing { rows };
        self.row.body.worked_at = Some(self.desk.now());
        let write = import::put(&self.row.body, Expect::Version(self.row.version));
        self.row.version = self.desk.put(write).await?;
        Ok(())
    }
}

/// The error of a call for devices of these lines. Whose they are it does not say: it goes into rows.
fn placed(mut error: backend::Error, (first, last): (u64, u64)) -> backend::Error {
    if error.kind == backend::ErrorKind::Invalid {
        error.message = format!("{}; a device of lines {first} to {last} was one too many", error.message);
    }
    error
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

fn check_some(mut rows: Rows) -> std::result::Result<(Rows, bool), Failure> {
    for _ in 0..STEP_ROWS {
        match rows.next_device().map_err(failure)? {
            Some(device) => rows.reuse(device),
            None => return Ok((rows, true)),
        }
    }
    Ok((rows, false))
}
