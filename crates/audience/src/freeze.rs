//! From users to a snapshot. While some batches of users are looked up, the devices of the batch before them are packed.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use backend::directory::{Holding, Holdings, Label, UserIds};
use device_map::{DeviceFields, Limits, SnapshotBuilder};
use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use model::{Device, Manifest};

use crate::desk::{AtWork, Desk};
use crate::door::{DUPLICATE_KEY, Door, ERASED, NO_DEVICE, UNKNOWN};
use crate::error::{Error, Failure, Result};
use crate::left_out::LeftOut;
use crate::resolve::Work;
use crate::sorter::Sorted;
use crate::upload::step;

/// A snapshot being built.
pub(crate) struct Freezer {
    builder: SnapshotBuilder,
}

impl Freezer {
    pub(crate) fn new(desk: &Desk, folder: &Path) -> Self {
        let limits = Limits {
            memory_bytes: desk.config.build_bytes_max,
            duplicates_told_max: desk.config.limits.left_out_listed_max,
            ..Limits::default()
        };
        Self { builder: SnapshotBuilder::new(folder, limits) }
    }

    pub(crate) fn push(&mut self, device: &Device) -> std::result::Result<(), Failure> {
        Ok(self.builder.push(device)?)
    }

    pub(crate) fn push_fields(&mut self, device: &DeviceFields<'_>) -> std::result::Result<(), Failure> {
        Ok(self.builder.push_fields(device)?)
    }

    /// Writes the snapshot; duplicates come to those left out.
    pub(crate) fn finish(self, left_out: &mut LeftOut) -> std::result::Result<Manifest, Failure> {
        let (mut told, mut listed) = (0, Ok(()));
        let manifest = self.builder.finish_telling(|duplicate| {
            told += 1;
            left_out.duplicate(duplicate).unwrap_or_else(|error| {
                listed = Err(error);
                ControlFlow::Break(())
            })
        })?;
        listed?;
        left_out.check_duplicates(told, manifest.duplicate_devices);
        Ok(manifest)
    }
}

/// What became of a list of users.
pub(crate) struct Frozen {
    pub(crate) manifest: Manifest,
    /// Different users in the list.
    pub(crate) users: u64,
    /// Of these, users who are not in the snapshot, and devices that are not.
    pub(crate) left_out: LeftOut,
    /// Devices of all of them.
    pub(crate) found_devices: u64,
}

struct Packing {
    sorted: Sorted,
    freezer: Freezer,
    door: Door,
    left_out: LeftOut,
    found_devices: u64,
}

/// A batch of users, and the devices of each.
struct Found {
    users: Arc<UserIds>,
    holdings: Holdings,
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
    let desk = work.desk;
    let (calls, most) = (desk.config.look_ups.max(1), desk.config.resolve_users);
    let freezer = Freezer::new(desk, folder);
    let left_out = LeftOut::new(folder, desk.config.limits.left_out_listed_max);
    let packing = Packing { sorted, freezer, door, left_out, found_devices: 0 };
    // One more than are looked up at once: it is packed meanwhile.
    let (mut packing, batches) = work.during(step(move || packing.read(calls + 1, most))).await??;
    // They come out in the order in which they went in.
    let mut under_way: FuturesOrdered<_> = batches.into_iter().map(|users| look_up(desk, users)).collect();
    let mut found = work.during(under_way.next()).await?.transpose()?;
    while let Some(batch) = found {
        let packed = step(move || packing.pack(&batch)?.read(1, most));
        let both = futures::future::join(under_way.next(), packed);
        let (next, packed) = work.during(both).await?;
        let batches;
        (packing, batches) = packed?;
        under_way.extend(batches.into_iter().map(|users| look_up(desk, users)));
        found = next.transpose()?;
    }
    let finish = step(move || {
        let Packing { sorted, freezer, mut left_out, found_devices, .. } = packing;
        let manifest = freezer.finish(&mut left_out)?;
        let users = sorted.given();
        // Whoever came in and is not there has no device that is not somebody else's.
        left_out.users_without_row(DUPLICATE_KEY, users - left_out.sum() - manifest.users);
        Ok(Frozen { manifest, users, left_out, found_devices })
    });
    work.during(finish).await?
}

impl Packing {
    /// Packs the devices of each user of a batch.
    fn pack(mut self, found: &Found) -> std::result::Result<Self, Failure> {
        let mut is_known = found.is_known.iter();
        for (position, user) in found.users.iter().enumerate() {
            let devices = found.holdings.of(position);
            self.found_devices += devices.len() as u64;
            if devices.len() == 0 {
                let is_known = is_known.next() == Some(&true);
                let reason = match self.door.is_erased(user) {
                    true => ERASED,
                    false if is_known => NO_DEVICE,
                    false => UNKNOWN,
                };
                self.left_out.user(reason, user, 0)?;
            } else if let Some(reason) = self.door.turns_away(user) {
                self.left_out.user(reason, user, devices.len())?;
            } else {
                let (all, mut turned_away) = (devices.len(), 0);
                for holding in devices {
                    let Holding { label, key, registered_at } = holding;
                    if let Some(reason) = self.door.turns_away_app(&label.app) {
                        self.left_out.one_of(reason, user, &holding)?;
                        turned_away += 1;
                        if turned_away == all {
                            self.left_out.users_without_row(reason, 1);
                        }
                        continue;
                    }
                    let Label { platform, app, locale, market } = label;
                    let platform = *platform;
                    let fields = DeviceFields { user, platform, key, app, locale, market, registered_at };
                    self.freezer.push_fields(&fields)?;
                }
            }
        }
        Ok(self)
    }

    /// Reads so many batches of at most `most` users; fewer only at the end.
    fn read(mut self, batches: usize, most: usize) -> std::result::Result<(Self, Vec<UserIds>), Failure> {
        let mut read = Vec::with_capacity(batches);
        for _ in 0..batches {
            let batch = self.sorted.next_batch(most).map_err(Error::io("read the sorted users"))?;
            if batch.is_empty() {
                break;
            }
            read.push(batch);
        }
        Ok((self, read))
    }
}

async fn look_up(desk: &Desk, users: UserIds) -> Result<Found> {
    let users = Arc::new(users);
    let holdings = holdings(desk, &users).await?;
    let without = users.iter().enumerate().filter(|(position, _)| holdings.of(*position).len() == 0);
    let without: Vec<String> = without.map(|(_, user)| user.to_owned()).collect();
    let is_known = if without.is_empty() { Vec::new() } else { knows(desk, &without).await? };
    Ok(Found { users, holdings, is_known })
}

async fn holdings(desk: &Desk, users: &Arc<UserIds>) -> Result<Holdings> {
    let mut calls = 0;
    loop {
        match desk.backend.directory.holdings(Arc::clone(users)).await {
            Ok(found) => return Ok(found),
            Err(error) => desk.pause_or_give_up(error.into(), &mut calls).await?,
        }
    }
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
