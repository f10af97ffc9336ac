//! Telling the duplicates that a build dropped: whose they are, and who has the device instead.

use std::fmt;
use std::ops::ControlFlow;

use model::device::KEY_CHARS_MAX;

use super::DeviceFields;
use super::groups::Groups;
use super::source::{Lost, Source};
use crate::error::Error;
use crate::key::{Scratch, unpack_into};

/// A device that is not in the snapshot because another with its platform, app and key is.
#[derive(Clone, Copy)]
pub struct Duplicate<'a> {
    /// The device that was dropped.
    pub device: DeviceFields<'a>,
    /// The user who has the other: another one, or the same.
    pub kept_by: &'a str,
    /// Whether the dropped device's user is in the snapshot, by another device or by that other.
    pub is_user_in: bool,
}

impl fmt::Debug for Duplicate<'_> {
    /// Shows neither key nor owners.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Duplicate").field("device", &self.device).finish_non_exhaustive()
    }
}

/// Whom to tell, and how many more.
pub(super) struct Telling<'a> {
    left: u64,
    tell: &'a mut dyn FnMut(&Duplicate<'_>) -> ControlFlow<()>,
    user: Vec<u8>,
    kept_by: Vec<u8>,
    key: Box<Scratch>,
}

impl<'a> Telling<'a> {
    pub(super) fn new(most: u64, tell: &'a mut dyn FnMut(&Duplicate<'_>) -> ControlFlow<()>) -> Self {
        Self { left: most, tell, user: Vec::new(), kept_by: Vec::new(), key: Box::new([0; KEY_CHARS_MAX]) }
    }

    pub(super) const fn wants_more(&self) -> bool {
        self.left > 0
    }

    /// Tells a duplicate of bucket `bucket`, unless enough were told.
    pub(super) fn tell(
        &mut self,
        lost: Lost<'_>,
        bucket: u32,
        source: &impl Source,
        groups: &Groups,
        is_user_in: bool,
    ) -> Result<(), Error> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(()) };
        source.user(lost.device.user, &mut self.user)?;
        source.user(lost.kept_by, &mut self.kept_by)?;
        let (bucket, group) = (&groups.buckets()[bucket as usize], groups.name(lost.device.group));
        let chars = usize::from(bucket.chars);
        unpack_into(bucket.encoding, lost.device.key, &mut self.key[..chars]);
        let device = DeviceFields {
            user: text(&self.user),
            platform: group.platform,
            key: text(&self.key[..chars]),
            app: &group.app,
            locale: &group.locale,
            market: &group.market,
            registered_at: lost.registered_at,
        };
        let duplicate = Duplicate { device, kept_by: text(&self.kept_by), is_user_in };
        self.left = if (self.tell)(&duplicate).is_break() { 0 } else { left };
        Ok(())
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("it was a text when it came")
}
