//! Every device of a frozen audience: the truth of who will be sent to.

use std::path::Path;

use backend::rows::audience;
use device_map::{Snapshot, Users};
use model::Digest;
use model::export::ExportFormat;

use crate::desk::Desk;
use crate::device_rows::{DeviceRow, hash_of};
use crate::door::Door;
use crate::error::Failure;
use crate::export::Steps;
use crate::export_file::{ExportFile, cannot_write};
use crate::upload::step;
use model::KeyHash;

/// Devices written in one step.
const STEP_DEVICES: u32 = 100_000;

/// Devices being written, group by group.
pub(crate) struct Members {
    door: Door,
    snapshot: Snapshot,
    users: Users,
    format: ExportFormat,
    file: ExportFile,
    /// The group that is written, and the devices of it that are.
    group: u32,
    start: u32,
    devices: u64,
}

impl Members {
    pub(crate) async fn open(
        desk: &Desk,
        snapshot: Digest,
        format: ExportFormat,
        path: &Path,
    ) -> std::result::Result<Self, Failure> {
        let map = desk.file(&audience::snapshot_blob(snapshot)).await?;
        let users = desk.file(&audience::users_blob(snapshot)).await?;
        let (path, door) = (path.to_owned(), Door::open(desk, None).await?);
        let opening = step(move || {
            let snapshot = Snapshot::open(&map, snapshot)?;
            let users = Users::open(&users, snapshot.users_digest())?;
            let file = ExportFile::new(&path, DeviceRow::header(format, false))?;
            Ok(Self { door, snapshot, users, format, file, group: 0, start: 0, devices: 0 })
        });
        opening.await
    }
}

impl Steps for Members {
    fn write_some(mut self) -> std::result::Result<(Self, bool), Failure> {
        let Some(group) = self.snapshot.groups().get(self.group as usize) else { return Ok((self, true)) };
        let count = (group.devices - self.start).min(STEP_DEVICES);
        for device in self.snapshot.range(self.group, self.start, count)? {
            let user = self.users.id(device.user_ordinal()).unwrap_or_default();
            let hash = KeyHash::of_hash(hash_of(device));
            let mut row = DeviceRow::new(user, group, &hash);
            if self.door.is_erased(user) {
                row = row.of_nobody();
            }
            row.write(self.format, self.file.out()).map_err(cannot_write)?;
        }
        self.devices += u64::from(count);
        self.start += count;
        if self.start == group.devices {
            (self.group, self.start) = (self.group + 1, 0);
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
