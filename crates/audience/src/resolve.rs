//! Resolves an audience: its users' devices, or the devices it names, become a snapshot, which is frozen for ever.

use std::path::Path;

use backend::rows::garbage::{self, Mark};
use backend::rows::{Versioned, audience};
use backend::{Expect, Write};
use model::audience::{Upload, UploadRows};
use model::left_out::LeftOutList;
use model::selection::Sample;
use model::{Audience, AudienceId, AudienceReport, AudienceState, Digest, Manifest};
use serde_json::json;

use crate::desk::{AtWork, Desk, Pulse, WorkFolder};
use crate::door::{Door, UNKNOWN};
use crate::error::{Error, Failure, Result};
use crate::freeze::{Freezer, freeze_users};
use crate::left_out::{LeftOut, Told};
use crate::rows::Rows;
use crate::sample;
use crate::sorter::Sorter;
use crate::upload::{self, STEP_ROWS, failure, step};

/// Does what a message asks for; begun `receives` times, this time included.
pub(crate) async fn run(desk: &Desk, id: AudienceId, receives: u32) -> Result<()> {
    let Some(row) = audience::get(&*desk.backend.store, id).await? else { return Ok(()) };
    let is_asked = matches!(row.body.state, AudienceState::Uploaded | AudienceState::Resolving { .. });
    if !is_asked || (row.body.upload.is_none() && row.body.sample.is_none()) {
        return Ok(());
    }
    let was_begun = matches!(row.body.state, AudienceState::Resolving { .. });
    if was_begun && !desk.is_abandoned(audience::key(id), row.version).await? {
        return Err(Error::Overtaken);
    }
    let mut work = Work { desk, row, report: AudienceReport::default(), pulse: Pulse::new(desk) };
    if receives > desk.config.attempts_max {
        return work.fail(format!("it was begun {} times and never finished", receives - 1)).await;
    }
    match Box::pin(work.resolve()).await {
        Ok(manifest) => work.end_frozen(&manifest).await,
        Err(Failure::Refused(why)) => work.fail(why).await,
        Err(Failure::Broken(error)) => match desk.gives_up(&error, receives) {
            Some(why) => work.fail(why).await,
            None => Err(error),
        },
    }
}

pub(crate) struct Work<'a> {
    pub(crate) desk: &'a Desk,
    row: Versioned<Audience>,
    report: AudienceReport,
    pulse: Pulse,
}

impl Work<'_> {
    async fn resolve(&mut self) -> std::result::Result<Manifest, Failure> {
        self.say().await?;
        let door = Door::open(self.desk, self.row.body.control).await?.taking_sandbox(self.row.body.sandbox);
        let folder = self.desk.work_folder()?;
        let (sample, upload) = (self.row.body.sample.clone(), self.row.body.upload.clone());
        let manifest = match (sample, upload) {
            (Some(sample), _) => self.draw(sample, door, folder.path()).await?,
            (None, Some(upload)) => self.read(&upload, door, folder.path()).await?,
            (None, None) => return Err(Failure::Refused("there is no upload".into())),
        };
        self.describe(&manifest);
        if manifest.devices == 0 {
            return Err(Failure::Refused(self.why_empty()));
        }
        let desk = self.desk;
        self.during(take_back(desk, manifest.digest)).await??;
        self.during(store(desk, &manifest, &folder)).await??;
        Ok(manifest)
    }

    /// Why nobody is left.
    fn why_empty(&self) -> String {
        let report = &self.report;
        let users = report.read.rows - report.read.bad_rows;
        let others = report.not_in.iter().filter(|(reason, _)| *reason != UNKNOWN);
        let others: Vec<String> = others.map(|(reason, number)| format!("{number} {reason}")).collect();
        if others.is_empty() {
            return format!("the audience has no devices: none of its {users} users is in the directory");
        }
        let unknown = report.unknown_users;
        format!("the audience has no devices: left out are {}, {unknown} unknown", others.join(", "))
    }

    async fn draw(
        &mut self,
        sample: Sample,
        door: Door,
        folder: &Path,
    ) -> std::result::Result<Manifest, Failure> {
        let drawn = sample::draw(self, sample, door, folder).await?;
        self.report.read.rows = drawn.users;
        self.report.found_devices = drawn.found_devices;
        self.tell(drawn.left_out).await?;
        Ok(drawn.manifest)
    }

    async fn read(
        &mut self,
        upload: &Upload,
        door: Door,
        folder: &Path,
    ) -> std::result::Result<Manifest, Failure> {
        let path = self.desk.file(&upload.blob).await?;
        let audience = &self.row.body;
        let reading = upload::reading(self.desk, upload, audience.rows, audience.created_at);
        let list = folder.join("bad-rows");
        let rows = self.during(step(move || upload::open(&path, &reading, Some(&list)))).await??;
        self.row.body.rows = Some(rows.kind());
        match rows.kind() {
            UploadRows::Users => self.resolve_users(rows, upload, door, folder).await,
            UploadRows::Devices => self.take_devices(rows, upload, door, folder).await,
        }
    }

    async fn resolve_users(
        &mut self,
        mut rows: Rows,
        upload: &Upload,
        door: Door,
        folder: &Path,
    ) -> std::result::Result<Manifest, Failure> {
        let mut sorter = Sorter::new(folder, self.desk.config.sort_bytes_max);
        loop {
            let is_over;
            (rows, sorter, is_over) = self.during(step(move || sort_some(rows, sorter))).await??;
            self.report.read = rows.report();
            if is_over {
                break;
            }
        }
        self.settle(upload, rows).await?;
        let pushed = sorter.pushed();
        let finish = step(move || Ok(sorter.finish().map_err(Error::io("sort the users"))?));
        let sorted = self.during(finish).await??;
        let frozen = freeze_users(self, sorted, door, folder).await?;
        self.report.duplicate_users = pushed - frozen.users;
        self.report.found_devices = frozen.found_devices;
        self.tell(frozen.left_out).await?;
        self.report.unknown_users = self.report.not_in.get(UNKNOWN).copied().unwrap_or_default();
        Ok(frozen.manifest)
    }

    async fn take_devices(
        &mut self,
        mut rows: Rows,
        upload: &Upload,
        door: Door,
        folder: &Path,
    ) -> std::result::Result<Manifest, Failure> {
        let left_out = LeftOut::new(folder, self.desk.config.limits.left_out_listed_max);
        let mut entering = Entering { freezer: Freezer::new(self.desk, folder), door, left_out, found: 0 };
        loop {
            let is_over;
            (rows, entering, is_over) = self.during(step(move || push_some(rows, entering))).await??;
            self.report.read = rows.report();
            if is_over {
                break;
            }
        }
        self.settle(upload, rows).await?;
        self.report.found_devices = entering.found;
        let Entering { freezer, mut left_out, .. } = entering;
        let finish = step(move || Ok((freezer.finish(&mut left_out)?, left_out)));
        let (manifest, left_out) = self.during(finish).await??;
        self.tell(left_out).await?;
        Ok(manifest)
    }

    /// Reports those who are left out, and stores the list of them.
    async fn tell(&mut self, left_out: LeftOut) -> std::result::Result<(), Failure> {
        let Told { users, devices, list, is_cut } = step(move || Ok(left_out.finish()?)).await?;
        (self.report.not_in, self.report.not_in_devices) = (users, devices);
        let Some((file, rows)) = list else { return Ok(()) };
        let desk = self.desk;
        let blob = audience::left_out_blob(self.row.body.id, desk.runtime.randomness.u64());
        self.during(desk.backend.blobs.put_file(&blob, &file)).await??;
        self.report.left_out_list = Some(LeftOutList { blob, rows, is_cut });
        Ok(())
    }

    fn describe(&mut self, manifest: &Manifest) {
        let report = &mut self.report;
        (report.users, report.devices) = (manifest.users, manifest.devices);
        report.duplicate_devices = manifest.duplicate_devices;
        for group in &manifest.groups {
            let devices = u64::from(group.devices);
            *report.by_platform.entry(group.platform.name().into()).or_default() += devices;
            *report.by_market.entry(group.market.clone()).or_default() += devices;
            *report.by_locale.entry(group.locale.clone()).or_default() += devices;
        }
    }

    /// Keeps what was read, and refuses the upload if too much is wrong with it.
    async fn settle(&mut self, upload: &Upload, rows: Rows) -> std::result::Result<(), Failure> {
        let (read, list) = step(move || upload::close(rows)).await?;
        self.report.read = read;
        if let Some(list) = list {
            self.report.read.bad_rows_blob = Some(upload::store_list(self.desk, upload, &list).await?);
        }
        upload::judge(&self.report.read, upload.bad_rows)
    }

    async fn end_frozen(&mut self, manifest: &Manifest) -> Result<()> {
        let (snapshot, devices) = (manifest.digest, manifest.devices);
        let state = AudienceState::Frozen { snapshot, at: self.desk.now() };
        let detail = json!({ "snapshot": snapshot, "devices": devices });
        let unmarked = vec![garbage::check_unmarked(&garbage::snapshot_name(snapshot))];
        self.end(state, "audience.frozen", detail, unmarked).await
    }

    async fn fail(&mut self, why: String) -> Result<()> {
        let detail = json!({ "why": why });
        self.end(AudienceState::Failed { why }, "audience.failed", detail, Vec::new()).await
    }

    async fn end(
        &mut self,
        state: AudienceState,
        action: &str,
        detail: serde_json::Value,
        checks: Vec<Write>,
    ) -> Result<()> {
        self.row.body.state = state;
        self.row.body.report = Some(self.report.clone());
        let write = audience::put(&self.row.body, Expect::Version(self.row.version));
        self.desk.put_audited(write, checks, action, detail).await
    }
}

impl AtWork for Work<'_> {
    fn pulse(&mut self) -> (&mut Pulse, &Desk) {
        (&mut self.pulse, self.desk)
    }

    async fn say(&mut self) -> Result<()> {
        self.row.body.state = AudienceState::Resolving { rows: self.report.read.rows };
        self.row.body.worked_at = Some(self.desk.now());
        let write = audience::put(&self.row.body, Expect::Version(self.row.version));
        self.row.version = self.desk.put(write).await?;
        Ok(())
    }
}

/// Takes away the mark of a snapshot that nobody named any more; one that is being deleted is waited for.
async fn take_back(desk: &Desk, snapshot: Digest) -> Result<()> {
    let (store, name) = (&*desk.backend.store, garbage::snapshot_name(snapshot));
    while let Some(row) = garbage::mark(store, &name).await? {
        if row.body == Mark::Deleting {
            desk.runtime.clock.sleep(desk.config.retry_after).await;
        } else {
            // If somebody else was first, the next look shows it.
            store.write(vec![garbage::delete_mark(&name, Expect::Version(row.version))]).await?;
        }
    }
    Ok(())
}

/// The manifest comes last: where there is one, the rest is there too.
async fn store(desk: &Desk, manifest: &Manifest, folder: &WorkFolder) -> Result<()> {
    let (blobs, digest) = (&desk.backend.blobs, manifest.digest);
    let files = [
        (audience::snapshot_blob(digest), device_map::snapshot_path(folder.path(), &digest)),
        (audience::users_blob(digest), device_map::users_path(folder.path(), &digest)),
    ];
    for (blob, file) in files {
        blobs.put_file(&blob, &file).await?;
    }
    blobs.put(&audience::manifest_blob(digest), audience::manifest_bytes(manifest)).await?;
    Ok(())
}

fn sort_some(mut rows: Rows, mut sorter: Sorter) -> std::result::Result<(Rows, Sorter, bool), Failure> {
    for _ in 0..STEP_ROWS {
        match rows.next_user().map_err(failure)? {
            Some(user) => sorter.push(user).map_err(Error::io("sort the users"))?,
            None => return Ok((rows, sorter, true)),
        }
    }
    Ok((rows, sorter, false))
}

/// A list of devices on its way into a snapshot.
struct Entering {
    freezer: Freezer,
    door: Door,
    left_out: LeftOut,
    /// Devices read.
    found: u64,
}

fn push_some(mut rows: Rows, mut entering: Entering) -> std::result::Result<(Rows, Entering, bool), Failure> {
    for _ in 0..STEP_ROWS {
        let Some(device) = rows.next_device().map_err(failure)? else { return Ok((rows, entering, true)) };
        entering.found += 1;
        let door = &entering.door;
        match door.turns_away(&device.user).or_else(|| door.turns_away_app(&device.app)) {
            Some(reason) => entering.left_out.device(reason, &device)?,
            None => entering.freezer.push(&device)?,
        }
        rows.reuse(device);
    }
    Ok((rows, entering, false))
}
