//! Writes the outcomes of a launch out, device by device: who, through what, and what became of it. Keys appear as hashes
//! only, so that the file can be compared with another one and cannot be sent to; dead ones in full where they are asked for.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use backend::Expect;
use backend::rows::{self, Versioned, export};
use device_map::{Snapshot, Users};
use model::export::{Export, ExportState};
use model::{Digest, ExportId, Launch, Manifest, OutcomeRuns, Plan};
use serde_json::json;

use crate::desk::{Desk, Pulse};
use crate::error::{Error, Failure, Result};
use crate::outcome_rows::{Layout, OutcomeRow};
use crate::upload::step;

/// Shards written in one step.
const STEP_SHARDS: usize = 64;

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
    let mut work = Work { desk, row, pulse: Pulse::new(desk) };
    if receives > desk.config.attempts_max {
        return work.fail(format!("it was begun {} times and never finished", receives - 1)).await;
    }
    match work.write_out().await {
        Ok(done) => work.end(done, "outcomes.exported").await,
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
    pulse: Pulse,
}

impl Work<'_> {
    async fn write_out(&mut self) -> std::result::Result<ExportState, Failure> {
        self.save(ExportState::Writing { devices: 0 }).await?;
        let desk = self.desk;
        let sources = self.during(0, Box::pin(Sources::read(desk, &self.row.body.clone()))).await??;
        let folder = desk.work_folder()?;
        let (path, layout) = (folder.path().join("export"), Layout::of(&self.row.body));
        let opened = step(move || Writing::open(sources, &path, layout));
        let mut writing = self.during(0, opened).await??;
        loop {
            let (devices, is_over);
            (writing, is_over) = self.during(writing.devices, step(move || writing.write_some())).await??;
            devices = writing.devices;
            if is_over {
                let (file, bytes, digest) = self.during(devices, step(move || writing.close())).await??;
                let blob = export::blob(self.row.body.id, desk.runtime.randomness.u64());
                self.during(devices, desk.backend.blobs.put_file(&blob, &file)).await??;
                return Ok(ExportState::Done { blob, bytes, devices, digest, at: desk.now() });
            }
        }
    }

    /// Runs a step and stores progress meanwhile, whenever it is time.
    async fn during<T>(&mut self, devices: u64, step: impl Future<Output = T>) -> Result<T> {
        let mut step = std::pin::pin!(step);
        loop {
            tokio::select! {
                biased;
                done = &mut step => return Ok(done),
                () = self.pulse.due(self.desk) => {}
            }
            self.save(ExportState::Writing { devices }).await?;
        }
    }

    async fn save(&mut self, state: ExportState) -> Result<()> {
        self.row.body.state = state;
        let write = export::put(&self.row.body, Expect::Version(self.row.version));
        self.row.version = self.desk.put(write).await?;
        Ok(())
    }

    async fn fail(&mut self, why: String) -> Result<()> {
        self.end(ExportState::Failed { why }, "outcomes.export_failed").await
    }

    async fn end(&mut self, state: ExportState, action: &str) -> Result<()> {
        self.row.body.state = state;
        let write = export::put(&self.row.body, Expect::Version(self.row.version));
        self.desk.put_audited(write, Vec::new(), action, json!({ "launch": self.row.body.launch })).await
    }
}

/// Everything that an export is made of.
struct Sources {
    launch: Launch,
    manifest: Manifest,
    plan: Plan,
    outcomes: BTreeMap<u32, OutcomeRuns>,
    map: PathBuf,
    users: PathBuf,
}

impl Sources {
    async fn read(desk: &Desk, export: &Export) -> std::result::Result<Self, Failure> {
        let (store, blobs) = (&*desk.backend.store, &*desk.backend.blobs);
        let launch = rows::launch::get(store, export.launch).await?;
        let launch =
            launch.ok_or_else(|| Failure::Refused(format!("there is no launch {}", export.launch)))?;
        let digest = launch.snapshot;
        let manifest = rows::audience::manifest(blobs, digest).await?;
        let manifest = manifest.ok_or_else(|| Error::Missing(rows::audience::manifest_blob(digest)))?;
        let plan = Plan::new(&manifest, &launch.wave, &launch.sizes);
        let mut outcomes = BTreeMap::new();
        for slice in 0..plan.slices() {
            outcomes.extend(rows::outcome::of_slice(store, launch.id, slice).await?);
        }
        let missing = plan.shards().iter().filter(|shard| !outcomes.contains_key(&shard.number)).count();
        if missing > 0 {
            let why = format!(
                "the launch is not over: {missing} of its {} shards have no record",
                plan.shards().len()
            );
            return Err(Failure::Refused(why));
        }
        let map = desk.file(&rows::audience::snapshot_blob(digest)).await?;
        let users = desk.file(&rows::audience::users_blob(digest)).await?;
        Ok(Self { launch, manifest, plan, outcomes, map, users })
    }
}

/// An export being written.
struct Writing {
    sources: Sources,
    snapshot: Snapshot,
    users: Users,
    layout: Layout,
    path: PathBuf,
    file: BufWriter<Digested>,
    next_shard: usize,
    devices: u64,
}

impl Writing {
    fn open(sources: Sources, path: &Path, layout: Layout) -> std::result::Result<Self, Failure> {
        let snapshot = Snapshot::open(&sources.map, sources.launch.snapshot)?;
        let users = Users::open(&sources.users, snapshot.users_digest())?;
        let file = File::create_new(path).map_err(Error::io("make the export"))?;
        let mut file = BufWriter::with_capacity(1 << 20, Digested::new(file));
        file.write_all(layout.header().as_bytes()).map_err(Error::io("write the export"))?;
        let path = path.to_owned();
        Ok(Self { sources, snapshot, users, layout, path, file, next_shard: 0, devices: 0 })
    }

    /// Writes a few shards; true when there are no more.
    fn write_some(mut self) -> std::result::Result<(Self, bool), Failure> {
        for _ in 0..STEP_SHARDS {
            let Some(shard) = self.sources.plan.shards().get(self.next_shard).copied() else {
                return Ok((self, true));
            };
            let group = &self.sources.manifest.groups[shard.group as usize];
            let outcomes = &self.sources.outcomes[&shard.number];
            if outcomes.devices() != shard.count {
                let why = format!(
                    "shard {} has {} devices and {} outcomes",
                    shard.number,
                    shard.count,
                    outcomes.devices()
                );
                return Err(Failure::Refused(why));
            }
            let devices = self.snapshot.range(shard.group, shard.start, shard.count)?;
            for (device, outcome) in devices.zip(outcomes.iter()) {
                let user = self.users.id(device.user_ordinal()).unwrap_or_default();
                let row = OutcomeRow { user, group, outcome, device };
                let is_written =
                    row.write(self.layout, &mut self.file).map_err(Error::io("write the export"))?;
                self.devices += u64::from(is_written);
            }
            self.next_shard += 1;
        }
        Ok((self, false))
    }

    fn close(self) -> std::result::Result<(PathBuf, u64, Digest), Failure> {
        let written = self.file.into_inner().map_err(io::IntoInnerError::into_error);
        let written = written.map_err(Error::io("write the export"))?;
        Ok((self.path, written.bytes, Digest(*written.hasher.finalize().as_bytes())))
    }
}

/// A file, and the digest of what was written to it.
struct Digested {
    file: File,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Digested {
    fn new(file: File) -> Self {
        Self { file, hasher: blake3::Hasher::new(), bytes: 0 }
    }
}

impl Write for Digested {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
