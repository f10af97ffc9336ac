//! Groups and buckets by number, in the order in which a build meets them. A bucket is what is sorted together: the
//! devices of one platform and app whose keys have the same encoding and length.

use std::cmp::Ordering;

use model::{Device, Platform, Timestamp};

use super::DeviceFields;
use crate::error::Error;
use crate::hash::Table;
use crate::key::{Encoding, Packed};

/// A group's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GroupName {
    // In the order in which groups are sorted.
    pub(super) platform: Platform,
    pub(super) app: String,
    pub(super) market: String,
    pub(super) locale: String,
}

/// What a bucket's keys have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct BucketName {
    /// Number of the platform and app.
    app: u32,
    pub(super) encoding: Encoding,
    pub(super) chars: u16,
}

impl BucketName {
    pub(super) fn key_bytes(&self) -> usize {
        self.encoding.key_bytes(usize::from(self.chars)).expect("a key was packed so")
    }
}

/// Every group and bucket met so far.
pub(super) struct Groups {
    groups_max: u32,
    names: Vec<GroupName>,
    /// Number of platform and app, by group.
    apps: Vec<u32>,
    buckets: Vec<BucketName>,
    by_name: Table<Box<[u8]>, u32>,
    by_app: Table<Box<[u8]>, u32>,
    by_bucket: Table<u64, u32>,
    /// The name being looked up.
    name: Vec<u8>,
}

impl Groups {
    pub(super) fn new(groups_max: u32) -> Self {
        Self {
            groups_max,
            names: Vec::new(),
            apps: Vec::new(),
            buckets: Vec::new(),
            by_name: Table::default(),
            by_app: Table::default(),
            by_bucket: Table::default(),
            name: Vec::new(),
        }
    }

    /// The group and the bucket that a device belongs to.
    pub(super) fn place(&mut self, device: &DeviceFields<'_>, key: &Packed<'_>) -> Result<(u32, u32), Error> {
        let group = self.group(device)?;
        let app = self.apps[group as usize];
        let name = u64::from(app) << 32 | u64::from(key.encoding as u8) << 16 | u64::from(key.chars);
        let buckets = &mut self.buckets;
        let bucket = *self.by_bucket.entry(name).or_insert_with(|| {
            buckets.push(BucketName { app, encoding: key.encoding, chars: key.chars });
            buckets.len() as u32 - 1
        });
        Ok((group, bucket))
    }

    fn group(&mut self, device: &DeviceFields<'_>) -> Result<u32, Error> {
        self.name.clear();
        self.name.push(device.platform.index() as u8);
        for label in [device.app, device.market, device.locale] {
            // A label without its length could be read as part of its neighbour.
            self.name.extend_from_slice(&(label.len() as u32).to_le_bytes());
            self.name.extend_from_slice(label.as_bytes());
        }
        match self.by_name.get(self.name.as_slice()) {
            Some(group) => Ok(*group),
            None => self.new_group(device),
        }
    }

    fn new_group(&mut self, device: &DeviceFields<'_>) -> Result<u32, Error> {
        check_labels(device)?;
        if self.names.len() as u64 >= u64::from(self.groups_max) {
            return Err(Error::TooMany { what: "groups", limit: u64::from(self.groups_max) });
        }
        let app_name = [&[device.platform.index() as u8], device.app.as_bytes()].concat();
        let apps = self.by_app.len() as u32;
        let app = *self.by_app.entry(app_name.into()).or_insert(apps);
        let group = self.names.len() as u32;
        self.apps.push(app);
        self.names.push(GroupName {
            platform: device.platform,
            app: device.app.to_owned(),
            market: device.market.to_owned(),
            locale: device.locale.to_owned(),
        });
        self.by_name.insert(self.name.as_slice().into(), group);
        Ok(group)
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn name(&self, group: u32) -> &GroupName {
        &self.names[group as usize]
    }

    pub(super) fn compare(&self, one: u32, other: u32) -> Ordering {
        if one == other { Ordering::Equal } else { self.name(one).cmp(self.name(other)) }
    }

    pub(super) fn buckets(&self) -> &[BucketName] {
        &self.buckets
    }
}

/// `model` knows what a label may be; user and key have been looked at already.
fn check_labels(device: &DeviceFields<'_>) -> Result<(), Error> {
    let named = Device {
        user: "u".to_owned(),
        platform: Platform::Apns,
        key: "00".to_owned(),
        app: device.app.to_owned(),
        locale: device.locale.to_owned(),
        market: device.market.to_owned(),
        registered_at: Timestamp::default(),
    };
    named.checked()?;
    Ok(())
}
