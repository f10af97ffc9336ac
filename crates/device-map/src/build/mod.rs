//! Building a snapshot as a stream of devices in any order.
//!
//! Devices are packed into rows, rows are gathered by how their keys are packed and sorted by the key, which brings
//! duplicates together. What exceeds the memory limit goes to a spill file in sorted segments, which are merged
//! in the end. The files depend on the devices only, not on their order nor on what was spilled.

mod groups;
mod lost;
mod merge;
mod output;
mod parallel;
mod rows;
mod source;
mod spill;
mod user_list;

use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use model::device::KEY_CHARS_MAX;
use model::{Device, Manifest, Platform, Timestamp};

use crate::error::Error;
use crate::key::{Scratch, pack};
use groups::Groups;
pub use lost::Duplicate;
use lost::Telling;
use merge::Merged;
use source::{Held, Sorted};
use spill::Spill;

/// What a build may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of devices and user ids kept in memory before they go to a spill file in the snapshot's folder. The
    /// whole build takes about a tenth more and, once it spills, four bytes for each user of each segment.
    pub memory_bytes: usize,
    /// Duplicates that are remembered to be told in the end, at most; each takes memory or disk as any device does.
    pub duplicates_told_max: u64,
    /// Most groups: more means that a column with values of its own for each user was taken for a market or locale.
    pub groups_max: u32,
    /// Threads that sort, the caller's among them. The files do not depend on it.
    pub threads: usize,
}

impl Default for Limits {
    /// 1 GiB, so that six million devices need no spill file, no duplicates, 65,536 groups, and a thread for each core.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { memory_bytes: 1 << 30, duplicates_told_max: 0, groups_max: 1 << 16, threads }
    }
}

/// A device by reference, for whoever has no [`Device`] at hand.
#[derive(Clone, Copy)]
pub struct DeviceFields<'a> {
    /// Its owner.
    pub user: &'a str,
    /// The provider that reaches it.
    pub platform: Platform,
    /// APNs: hex of any even length. FCM: registration token or FID.
    pub key: &'a str,
    /// APNs topic or FCM project.
    pub app: &'a str,
    /// Language tag.
    pub locale: &'a str,
    /// Market.
    pub market: &'a str,
    /// When the app registered it; of duplicates the latest stays.
    pub registered_at: Timestamp,
}

impl<'a> From<&'a Device> for DeviceFields<'a> {
    fn from(device: &'a Device) -> Self {
        Self {
            user: &device.user,
            platform: device.platform,
            key: &device.key,
            app: &device.app,
            locale: &device.locale,
            market: &device.market,
            registered_at: device.registered_at,
        }
    }
}

impl fmt::Debug for DeviceFields<'_> {
    /// Shows neither key nor owner.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceFields")
            .field("platform", &self.platform)
            .field("app", &self.app)
            .field("locale", &self.locale)
            .field("market", &self.market)
            .finish_non_exhaustive()
    }
}

/// Takes devices and writes a snapshot's two files.
pub struct SnapshotBuilder {
    folder: PathBuf,
    limits: Limits,
    groups: Groups,
    held: Held,
    spill: Option<Spill>,
    pushed: u64,
    /// Duplicates that may still be remembered.
    room: u64,
    scratch: Box<Scratch>,
}

impl SnapshotBuilder {
    /// Starts a build in `folder`, which must exist.
    pub fn new(folder: &Path, limits: Limits) -> Self {
        Self {
            folder: folder.to_owned(),
            limits,
            groups: Groups::new(limits.groups_max),
            held: Held::default(),
            spill: None,
            pushed: 0,
            room: limits.duplicates_told_max,
            scratch: Box::new([0; KEY_CHARS_MAX]),
        }
    }

    /// Takes a device. Pushing a user's devices one after the other is fastest; any order is right.
    ///
    /// # Errors
    /// [`Error::Device`] leaves the builder as it was: the caller may count it and go on. After any other error the
    /// build is lost.
    pub fn push(&mut self, device: &Device) -> Result<(), Error> {
        self.push_fields(&DeviceFields::from(device))
    }

    /// As [`SnapshotBuilder::push`], without a [`Device`].
    ///
    /// # Errors
    /// The same.
    pub fn push_fields(&mut self, device: &DeviceFields<'_>) -> Result<(), Error> {
        let key = pack(device.platform, device.key, &mut self.scratch)?;
        let user = self.held.users.push(device.user)?;
        let (group, bucket) = self.groups.place(device, &key)?;
        self.held.push(bucket, key.bytes, device.registered_at, user, group);
        self.pushed += 1;
        if self.held.bytes() > self.limits.memory_bytes || self.held.is_full() {
            self.spill()?;
        }
        Ok(())
    }

    /// Takes many devices.
    ///
    /// # Errors
    /// As [`SnapshotBuilder::push`]; the devices before the one refused were taken.
    pub fn push_all<'a>(&mut self, devices: impl IntoIterator<Item = &'a Device>) -> Result<(), Error> {
        devices.into_iter().try_for_each(|device| self.push(device))
    }

    /// Devices taken so far, duplicates included.
    pub const fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Writes both files, makes them durable under their names ([`crate::snapshot_path`], [`crate::users_path`]) and
    /// returns the manifest. An audience without devices gives a snapshot without groups.
    ///
    /// Of devices with the same platform, app and key the one registered last stays; of those registered at the same
    /// time the one whose user, market and locale come first. The others are counted as duplicates.
    ///
    /// # Errors
    /// What the file system refused, or a number that the format cannot hold; no file is left behind.
    pub fn finish(self) -> Result<Manifest, Error> {
        self.write(None)
    }

    /// As [`SnapshotBuilder::finish`], and tells the duplicates, in no order: at most [`Limits::duplicates_told_max`] of
    /// them, and none any more after a break.
    ///
    /// # Errors
    /// The same; what was told before is then of no snapshot.
    pub fn finish_telling(
        self,
        mut tell: impl FnMut(&Duplicate<'_>) -> ControlFlow<()>,
    ) -> Result<Manifest, Error> {
        let told_max = self.limits.duplicates_told_max;
        self.write(Some(Telling::new(told_max, &mut tell)))
    }

    fn write(mut self, telling: Option<Telling<'_>>) -> Result<Manifest, Error> {
        if self.spill.is_some() {
            self.spill()?;
        }
        match self.spill {
            Some(spill) => {
                let merged = Merged::new(spill, &self.groups)?;
                output::write(&self.folder, merged, &self.groups, self.pushed, telling)
            }
            None => {
                let sorted = Sorted::new(self.held, &self.groups, &mut self.room, self.limits.threads);
                output::write(&self.folder, sorted, &self.groups, self.pushed, telling)
            }
        }
    }

    fn spill(&mut self) -> Result<(), Error> {
        let (held, threads) = (std::mem::take(&mut self.held), self.limits.threads);
        let held = Sorted::new(held, &self.groups, &mut self.room, threads);
        let spill = match &mut self.spill {
            Some(spill) => spill,
            None => self.spill.insert(Spill::new(&self.folder)?),
        };
        spill.write(&held)
    }
}

impl fmt::Debug for SnapshotBuilder {
    /// Shows neither keys nor owners.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotBuilder")
            .field("folder", &self.folder)
            .field("limits", &self.limits)
            .field("pushed", &self.pushed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests;
