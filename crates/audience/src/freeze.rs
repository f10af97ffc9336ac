//! From users to a snapshot. While one batch of users is looked up, the devices of the batch before are packed.

use std::path::Path;

use device_map::{DeviceFields, Limits, SnapshotBuilder};
use model::{Device, Manifest};

use crate::desk::Desk;
use crate::door::{Door, LeftOut, NO_DEVICE, UNKNOWN};
use crate::error::{Error, Failure, Result};
use crate::resolve::Work;
use crate::sorter::Sorted;
use crate::upload::step;

/// A snapshot being built.
pub(crate) struct Freezer {
    builder: SnapshotBuilder,
}

impl Freezer {
    pub(crate) fn new(desk: &Desk, folder: &Path) -> Self {
        let limits = Limits { memory_bytes: desk.config.build_bytes_max, ..Limits::default() };
        Self { builder: SnapshotBuilder::new(folder, limits) }
    }

    pub(crate) fn push(&mut self, device: &Device) -> std::result::Result<(), Failure> {
        Ok(self.builder.push(device)?)
    }

    pub(crate) fn push_fields(&mut self, device: &DeviceFields<'_>) -> std::result::Result<(), Failure> {
        Ok(self.builder.push_fields(device)?)
    }

    pub(crate) fn finish(self) -> std::result::Result<Manifest, Failure> {
        Ok(self.builder.finish()?)
    }
}

/// What became of a list of users.
pub(crate) struct Frozen {
    pub(crate) manifest: Manifest,
    /// Different users in the list.
    pub(crate) users: u64,
    /// Of these, users who are not in the snapshot.
    pub(crate) left_out: LeftOut,
}

struct Packing {
    sorted: Sorted,
    freezer: Freezer,
    door: Door,
    left_out: LeftOut,
}

/// A batch of users, and the devices of each.
#[derive(Default)]
struct Found {
    users: Vec<String>,
    devices: Vec<Vec<Device>>,
    /// Of those without devices, in their order, whether they are known.
    is_known: Vec<bool>,
}

/// Looks up `users` and freezes their devices.
pub(crate) async fn freeze_users(
    work: &mut Work<'_>,
    sorted: Sorted,
    door: Door,
    folder: &Path,
) -> std::result::Result<Frozen, Failure> {
    let most = work.desk.config.resolve_users;
    let freezer = Freezer::new(work.desk, folder);
    let packing = Packing { sorted, freezer, door, left_out: LeftOut::default() };
    let first = step(move || packing.pack_and_read(Found::default(), most));
    let (mut packing, mut users) = work.during(first).await??;
    let mut found = Found::default();
    while !users.is_empty() {
        let packed = step(move || packing.pack_and_read(found, most));
        let both = futures::future::join(look_up_all(work.desk, &users), packed);
        let (looked_up, packed) = work.during(both).await?;
        let devices = looked_up?;
        let without = users.iter().zip(&devices).filter(|(_, devices)| devices.is_empty());
        let without: Vec<String> = without.map(|(user, _)| user.clone()).collect();
        let is_known = if without.is_empty() { Vec::new() } else { knows(work.desk, &without).await? };
        found = Found { users, devices, is_known };
        (packing, users) = packed?;
    }
    let finish = step(move || {
        let (packing, _) = packing.pack_and_read(found, 0)?;
        let users = packing.sorted.given();
        Ok(Frozen { manifest: packing.freezer.finish()?, users, left_out: packing.left_out })
    });
    work.during(finish).await?
}

impl Packing {
    /// Packs the devices of each user of a batch, and reads the users of the next.
    fn pack_and_read(
        mut self,
        found: Found,
        most: usize,
    ) -> std::result::Result<(Self, Vec<String>), Failure> {
        let mut is_known = found.is_known.into_iter();
        for (user, devices) in found.users.iter().zip(&found.devices) {
            if devices.is_empty() {
                let reason = if is_known.next() == Some(true) { NO_DEVICE } else { UNKNOWN };
                self.left_out.add(reason, 1);
            } else if let Some(reason) = self.door.turns_away(user) {
                self.left_out.add(reason, 1);
            } else {
                devices.iter().try_for_each(|device| self.freezer.push(device))?;
            }
        }
        let users = self.sorted.next_batch(most).map_err(Error::io("read the sorted users"))?;
        Ok((self, users))
    }
}

/// The devices of each user, in the order of `users`; several calls at once, for looking up takes longest.
async fn look_up_all(desk: &Desk, users: &[String]) -> Result<Vec<Vec<Device>>> {
    let part = users.len().div_ceil(desk.config.look_ups.max(1));
    let parts = users.chunks(part.max(1)).map(|users| look_up(desk, users));
    let found = futures::future::try_join_all(parts).await?;
    Ok(found.into_iter().flatten().collect())
}

async fn knows(desk: &Desk, users: &[String]) -> Result<Vec<bool>> {
    let mut calls = 0;
    loop {
        match desk.backend.directory.knows(users).await {
            Ok(known) => return Ok(known),
            Err(error) => desk.pause_or_give_up(error.into(), &mut calls).await?,
        }
    }
}

async fn look_up(desk: &Desk, users: &[String]) -> Result<Vec<Vec<Device>>> {
    let mut calls = 0;
    loop {
        match desk.backend.directory.devices(users).await {
            Ok(found) => return Ok(found),
            Err(error) => desk.pause_or_give_up(error.into(), &mut calls).await?,
        }
    }
}
