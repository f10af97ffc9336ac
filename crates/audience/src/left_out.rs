//! Who is not in an audience's snapshot: counted by reason, and listed one by one as far as there is room.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use backend::directory::{Holding, Label};
use device_map::Duplicate;
use model::left_out::{Kept, LeftOutDevice, LeftOutRow};
use model::{Device, Platform};

use crate::door::{DUPLICATE_KEY, ERASED};
use crate::error::{Error, Result};
use crate::row_list::RowList;
use model::KeyHash;

/// Those who are left out.
pub(crate) struct LeftOut {
    users: BTreeMap<&'static str, u64>,
    devices: BTreeMap<&'static str, u64>,
    list: RowList,
    listed: u64,
    is_cut: bool,
}

/// What a report says of them.
pub(crate) struct Told {
    pub(crate) users: BTreeMap<String, u64>,
    pub(crate) devices: BTreeMap<String, u64>,
    /// The list and its lines, if there are any.
    pub(crate) list: Option<(PathBuf, u64)>,
    pub(crate) is_cut: bool,
}

impl LeftOut {
    /// Lists at most `rows_max` in a file in `folder`.
    pub(crate) fn new(folder: &Path, rows_max: u64) -> Self {
        let list = RowList::new(&folder.join("left-out"), true, rows_max);
        Self { users: BTreeMap::new(), devices: BTreeMap::new(), list, listed: 0, is_cut: false }
    }

    /// A user with `devices` devices.
    pub(crate) fn user(&mut self, reason: &'static str, user: &str, devices: usize) -> Result<()> {
        *self.users.entry(reason).or_default() += 1;
        self.devices(reason, devices as u64);
        // Whoever asked to be forgotten counts, and is not written down.
        let user = if reason == ERASED { "" } else { user };
        self.push(&LeftOutRow { user: user.into(), reason: reason.into(), device: None, kept: None })
    }

    /// Devices of users who were told before.
    pub(crate) fn devices(&mut self, reason: &'static str, devices: u64) {
        if devices > 0 {
            *self.devices.entry(reason).or_default() += devices;
        }
    }

    /// Users of whom every device is told by itself.
    pub(crate) fn users_without_row(&mut self, reason: &'static str, users: u64) {
        if users > 0 {
            *self.users.entry(reason).or_default() += users;
        }
    }

    /// A listed device, because of its user.
    pub(crate) fn device(&mut self, reason: &'static str, device: &Device) -> Result<()> {
        *self.users.entry(reason).or_default() += 1;
        self.devices(reason, 1);
        if reason == ERASED {
            return self.push(&LeftOutRow {
                user: "".into(),
                reason: reason.into(),
                device: None,
                kept: None,
            });
        }
        let hash = KeyHash::of(device.key.as_bytes());
        let shown = shown(device.platform, [&device.app, &device.market, &device.locale], &hash);
        self.push(&LeftOutRow {
            user: (&*device.user).into(),
            reason: reason.into(),
            device: Some(shown),
            kept: None,
        })
    }

    /// A device of somebody whose others may come in.
    pub(crate) fn one_of(&mut self, reason: &'static str, user: &str, device: &Holding<'_>) -> Result<()> {
        self.devices(reason, 1);
        let Label { platform, app, market, locale } = device.label;
        let hash = KeyHash::of(device.key.as_bytes());
        let shown = shown(*platform, [app, market, locale], &hash);
        self.push(&LeftOutRow { user: user.into(), reason: reason.into(), device: Some(shown), kept: None })
    }

    /// A device that another user, or the same, has already. The report counts these by themselves. Breaks when there is no
    /// room for another.
    pub(crate) fn duplicate(&mut self, duplicate: &Duplicate<'_>) -> Result<ControlFlow<()>> {
        let device = &duplicate.device;
        let hash = KeyHash::of(device.key.as_bytes());
        let row = LeftOutRow {
            user: device.user.into(),
            reason: DUPLICATE_KEY.into(),
            device: Some(shown(device.platform, [device.app, device.market, device.locale], &hash)),
            kept: Some(Kept { kept_by: duplicate.kept_by.into(), user_in: duplicate.is_user_in }),
        };
        self.push(&row)?;
        Ok(if self.list.has_room() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    }

    /// How many duplicates there were, told or not.
    pub(crate) fn check_duplicates(&mut self, told: u64, all: u64) {
        self.is_cut |= told < all;
    }

    fn push(&mut self, row: &LeftOutRow<'_>) -> Result<()> {
        if !self.list.has_room() {
            self.is_cut = true;
            return Ok(());
        }
        self.listed += 1;
        self.list.push(row).map_err(cannot_write)
    }

    /// All users.
    pub(crate) fn sum(&self) -> u64 {
        self.users.values().sum()
    }

    /// What is to be told; the list is complete then.
    pub(crate) fn finish(self) -> Result<Told> {
        let by_reason = |numbers: BTreeMap<&'static str, u64>| {
            numbers.into_iter().map(|(reason, number)| (reason.to_owned(), number)).collect()
        };
        let list = self.list.finish().map_err(cannot_write)?;
        Ok(Told {
            users: by_reason(self.users),
            devices: by_reason(self.devices),
            list: list.map(|list| (list, self.listed)),
            is_cut: self.is_cut,
        })
    }
}

/// A device as the list has it.
fn shown<'a>(
    platform: Platform,
    [app, market, locale]: [&'a str; 3],
    hash: &'a KeyHash,
) -> LeftOutDevice<'a> {
    LeftOutDevice {
        platform,
        app: app.into(),
        market: market.into(),
        locale: locale.into(),
        key_hash: hash.text().into(),
    }
}

fn cannot_write(source: io::Error) -> Error {
    Error::Io { action: "write the list of those left out", source }
}
