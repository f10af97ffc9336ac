//! The outcomes of a launch, device by device: who, through what, and what became of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use backend::rows;
use device_map::{Snapshot, Users};
use model::export::{ExportFormat, Subject};
use model::{Launch, Manifest, OutcomeRuns, Plan};

use crate::desk::Desk;
use crate::door::Door;
use crate::error::{Error, Failure};
use crate::export::Steps;
use crate::export_file::{ExportFile, cannot_write};
use crate::outcome_rows::{Layout, OutcomeRow};
use crate::upload::step;

/// Shards written in one step.
const STEP_SHARDS: usize = 64;

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
    async fn read(desk: &Desk, subject: Subject) -> std::result::Result<Self, Failure> {
        let (store, blobs) = (&*desk.backend.store, &*desk.backend.blobs);
        let Some(id) = subject.launch() else { return Err(Failure::Refused("it is of no launch".into())) };
        let launch = rows::launch::get(store, id).await?;
        let launch = launch.ok_or_else(|| Failure::Refused(format!("there is no launch {id}")))?;
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
pub(crate) struct Outcomes {
    sources: Sources,
    door: Door,
    snapshot: Snapshot,
    users: Users,
    layout: Layout,
    file: ExportFile,
    next_shard: usize,
    devices: u64,
}

impl Outcomes {
    pub(crate) async fn open(
        desk: &Desk,
        subject: Subject,
        format: ExportFormat,
        path: &Path,
    ) -> std::result::Result<Self, Failure> {
        let sources = Sources::read(desk, subject).await?;
        let door = Door::open(desk, None).await?;
        let (layout, path) = (Layout::of(subject, format), path.to_owned());
        let opening = step(move || {
            let snapshot = Snapshot::open(&sources.map, sources.launch.snapshot)?;
            let users = Users::open(&sources.users, snapshot.users_digest())?;
            let file = ExportFile::new(&path, layout.header())?;
            Ok(Self { sources, door, snapshot, users, layout, file, next_shard: 0, devices: 0 })
        });
        opening.await
    }
}

impl Steps for Outcomes {
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
                let is_erased = self.door.is_erased(user);
                let row = OutcomeRow { user, group, outcome, device, is_erased };
                let is_written = row.write(self.layout, self.file.out()).map_err(cannot_write)?;
                self.devices += u64::from(is_written);
            }
            self.next_shard += 1;
        }
        Ok((self, false))
    }

    fn devices(&self) -> u64 {
        self.devices
    }

    fn into_file(self) -> ExportFile {
        self.file
    }
}
