//! The keys of a shard's devices, read where they lie in the snapshot.

use std::sync::Arc;

use device_map::{KeyKind, Position, Snapshot};
use push::{Key, KeyBuf, Keys};
use report::Positions;

/// Devices of a shard: all of them, or those at some positions.
#[derive(Clone, Debug)]
pub(crate) struct ShardKeys {
    snapshot: Arc<Snapshot>,
    group: u32,
    /// The shard's first device within the group.
    start: u32,
    /// The group's first device within the snapshot.
    group_start: u64,
    devices: Devices,
}

#[derive(Clone, Debug)]
enum Devices {
    /// The first so many of the shard.
    All(u32),
    /// Those at these positions of the shard.
    Some(Box<[u32]>),
}

impl ShardKeys {
    /// The keys at `positions` of the shard that begins at `start` of `group`, which must have them.
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        group: u32,
        start: u32,
        group_start: u64,
        positions: &Positions,
    ) -> Self {
        let is_all = positions.end() == positions.count();
        let devices =
            if is_all { Devices::All(positions.count()) } else { Devices::Some(positions.iter().collect()) };
        Self { snapshot, group, start, group_start, devices }
    }

    /// Where a device stands in its group.
    #[inline]
    fn device(&self, index: u32) -> u32 {
        let position = match &self.devices {
            Devices::All(_) => index,
            Devices::Some(positions) => positions[index as usize],
        };
        self.start + position
    }
}

impl Keys for ShardKeys {
    fn len(&self) -> u32 {
        match &self.devices {
            Devices::All(count) => *count,
            Devices::Some(positions) => positions.len() as u32,
        }
    }

    #[inline]
    fn key<'a>(&'a self, index: u32, room: &'a mut KeyBuf) -> Key<'a> {
        let position = Position { group: self.group, device: self.device(index) };
        let Some(device) = self.snapshot.device(position) else { return Key::Unusable };
        match device.kind() {
            KeyKind::ApnsToken => Key::Apns(device.packed()),
            KeyKind::FcmToken => {
                let room = room.bytes();
                let chars = device.text_into(room);
                Key::FcmToken(&room[..chars])
            }
            KeyKind::FcmFid => {
                let room = room.bytes();
                let chars = device.text_into(room);
                Key::FcmFid(&room[..chars])
            }
        }
    }

    #[inline]
    fn ordinal(&self, index: u32) -> u64 {
        self.group_start + u64::from(self.device(index))
    }
}
