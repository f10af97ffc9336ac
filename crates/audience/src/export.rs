//! Exports: files of devices, written while nobody waits. Keys appear as hashes only, so that one file can be compared with
//! another and cannot be sent to; dead ones in full where they are asked for.

use std::path::Path;

use backend::Expect;
use backend::rows::{Versioned, export};
use model::ExportId;
use model::export::{Difference, Export, ExportState, Subject};
use serde_json::json;

use crate::desk::{AtWork, Desk, Pulse};
use crate::difference::{self, Watch};
use crate::door::Door;
use crate::error::{Error, Failure, Result};
use crate::export_file::ExportFile;
use crate::members::Members;
use crate::outcomes::Outcomes;
use crate::upload::step;

/// Does what a message asks for; begun `receives` times, this time included.
pub(crate) async fn run(desk: &Desk, id: ExportId, receives: u32) -> Result<()> {
    let Some(row) = export::get(&*desk.backend.store, id).await? else { return Ok(()) };
    if row.body.state.is_over() {
        return Ok(());
    }
    let was_begun = matches!(row.body.state, ExportState::Writing { .. });
    if was_begun && !desk.is_abandoned(export::key(id), row.version).await? {
        return Err(Error::Overtaken);
    }
    let mut work = Work { desk, row, devices: 0, pulse: Pulse::new(desk) };
    if receives > desk.config.attempts_max {
        return work.fail(format!("it was begun {} times and never finished", receives - 1)).await;
    }
    match work.write_out().await {
        Ok(done) => work.end(done, "export.written").await,
        Err(Failure::Refused(why)) => work.fail(why).await,
        Err(Failure::Broken(error)) => match desk.gives_up(&error, receives) {
            Some(why) => work.fail(why).await,
            None => Err(error),
        },
    }
}

struct Work<'a> {
    desk: &'a Desk,
    row: Versioned<Export>,
    /// Written so far.
    devices: u64,
    pulse: Pulse,
}

impl Work<'_> {
    async fn write_out(&mut self) -> std::result::Result<ExportState, Failure> {
        self.say().await?;
        let (desk, subject, format) = (self.desk, self.row.body.subject, self.row.body.format);
        let folder = desk.work_folder()?;
        let path = folder.path().join("export");
        match subject {
            Subject::Outcomes { .. } | Subject::DeadDevices { .. } => {
                let opening = Box::pin(Outcomes::open(desk, subject, format, &path));
                let outcomes = self.during(opening).await??;
                self.write_all(outcomes).await
            }
            Subject::Members { snapshot, .. } => {
                let members = self.during(Box::pin(Members::open(desk, snapshot, format, &path))).await??;
                self.write_all(members).await
            }
            Subject::Difference { .. } => {
                let (file, devices, numbers) = self.compare(folder.path(), &path).await?;
                self.keep(file, devices, Some(numbers)).await
            }
        }
    }

    async fn write_all<S: Steps>(&mut self, mut steps: S) -> std::result::Result<ExportState, Failure> {
        loop {
            let is_over;
            self.devices = steps.devices();
            (steps, is_over) = self.during(step(move || steps.write_some())).await??;
            if is_over {
                let devices = steps.devices();
                return self.keep(steps.into_file(), devices, None).await;
            }
        }
    }

    async fn compare(
        &mut self,
        folder: &Path,
        path: &Path,
    ) -> std::result::Result<(ExportFile, u64, Difference), Failure> {
        let (desk, export) = (self.desk, &self.row.body);
        let sources = difference::Sources::find(desk, export.subject).await?;
        let watch = Watch::default();
        let asked = difference::Asked {
            sources,
            door: Door::open(desk, None).await?,
            format: export.format,
            folder: folder.to_owned(),
            path: path.to_owned(),
            sort_bytes_max: desk.config.sort_bytes_max,
            seen: watch.seen(),
        };
        let mut comparing = std::pin::pin!(step(move || difference::write(asked)));
        loop {
            tokio::select! {
                biased;
                done = &mut comparing => return done,
                () = self.pulse.due(desk) => {}
            }
            self.devices = watch.devices();
            self.say().await?;
        }
    }

    /// Stores what was written.
    async fn keep(
        &mut self,
        file: ExportFile,
        devices: u64,
        difference: Option<Difference>,
    ) -> std::result::Result<ExportState, Failure> {
        let desk = self.desk;
        self.devices = devices;
        let (file, bytes, digest) = self.during(step(move || file.close())).await??;
        let blob = export::blob(self.row.body.id, desk.runtime.randomness.u64());
        self.during(desk.backend.blobs.put_file(&blob, &file)).await??;
        Ok(ExportState::Done { blob, bytes, devices, digest, at: desk.now(), difference })
    }

    async fn fail(&mut self, why: String) -> Result<()> {
        self.end(ExportState::Failed { why }, "export.failed").await
    }

    async fn end(&mut self, state: ExportState, action: &str) -> Result<()> {
        self.row.body.state = state;
        let write = export::put(&self.row.body, Expect::Version(self.row.version));
        self.desk.put_audited(write, Vec::new(), action, json!(self.row.body.subject)).await
    }
}

impl AtWork for Work<'_> {
    fn pulse(&mut self) -> (&mut Pulse, &Desk) {
        (&mut self.pulse, self.desk)
    }

    async fn say(&mut self) -> Result<()> {
        self.row.body.state = ExportState::Writing { devices: self.devices };
        self.row.body.worked_at = Some(self.desk.now());
        let write = export::put(&self.row.body, Expect::Version(self.row.version));
        self.row.version = self.desk.put(write).await?;
        Ok(())
    }
}

/// What is written a part at a time.
pub(crate) trait Steps: Send + Sized + 'static {
    /// Writes a part; true when there is no more.
    fn write_some(self) -> std::result::Result<(Self, bool), Failure>;

    /// Devices written.
    fn devices(&self) -> u64;

    /// The file, when it is over.
    fn into_file(self) -> ExportFile;
}
