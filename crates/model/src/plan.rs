//! The shard plan: a pure function of manifest, wave and sizes, so that whoever asks gets the same shards.

use serde::{Deserialize, Serialize};

use crate::campaign::Wave;
use crate::device::Platform;
use crate::manifest::Manifest;
use crate::queued::ShardMessage;

/// Devices in a shard, by provider, and slices in a plan. Stored with the launch: a plan must not change under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardSizes {
    /// Devices in an APNs shard, at least 1.
    pub apns: u32,
    /// Devices in an FCM shard, at least 1.
    pub fcm: u32,
    /// Most slices in a plan, at least 1.
    pub slices_max: u16,
}

impl Default for ShardSizes {
    fn default() -> Self {
        Self { apns: 2_000, fcm: 1_000, slices_max: 50 }
    }
}

impl ShardSizes {
    const fn of(&self, platform: Platform) -> u32 {
        let size = match platform {
            Platform::Apns => self.apns,
            Platform::Fcm => self.fcm,
        };
        if size == 0 { 1 } else { size }
    }
}

/// A range of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardSpec {
    /// Position in the plan, from 0.
    pub number: u32,
    /// Provider.
    pub platform: Platform,
    /// Index of the group in the manifest.
    pub group: u32,
    /// First device, counted within the group.
    pub start: u32,
    /// Devices, at least 1.
    pub count: u32,
}

/// All shards of a wave. Shard `n` belongs to slice `n % slices`, so that every slice holds its part of each group
/// and all workers start on all providers at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    shards: Vec<ShardSpec>,
    slices: u16,
}

impl Plan {
    /// Plans `wave` over the snapshot of `manifest`.
    pub fn new(manifest: &Manifest, wave: &Wave, sizes: &ShardSizes) -> Self {
        let mut shards = Vec::new();
        for (index, group) in manifest.groups.iter().enumerate() {
            if !wave.includes(group) {
                continue;
            }
            let size = sizes.of(group.platform);
            let mut start = 0;
            while start < group.devices {
                let count = size.min(group.devices - start);
                let number = shards.len() as u32;
                shards.push(ShardSpec {
                    number,
                    platform: group.platform,
                    group: index as u32,
                    start,
                    count,
                });
                start += count;
            }
        }
        let slices = (shards.len().min(usize::from(sizes.slices_max.max(1)))) as u16;
        Self { shards, slices }
    }

    /// Number of slices; zero only for a wave without devices.
    pub const fn slices(&self) -> u16 {
        self.slices
    }

    /// Every shard, by number.
    pub fn shards(&self) -> &[ShardSpec] {
        &self.shards
    }

    /// Whether a message asks for one of these shards, as it is planned.
    pub fn has(&self, message: &ShardMessage) -> bool {
        let ShardMessage { shard: number, platform, group, start, count, .. } = *message;
        self.shards.get(number as usize) == Some(&ShardSpec { number, platform, group, start, count })
    }

    /// The shards of one slice, by number.
    pub fn slice(&self, slice: u16) -> impl Iterator<Item = &ShardSpec> {
        self.shards.iter().skip(usize::from(slice)).step_by(usize::from(self.slices.max(1)))
    }

    /// The slice a shard belongs to.
    pub const fn slice_of(&self, shard: u32) -> u16 {
        (shard % if self.slices == 0 { 1 } else { self.slices as u32 }) as u16
    }

    /// Number of shards in one slice.
    pub fn slice_shards(&self, slice: u16) -> u32 {
        self.slice(slice).count() as u32
    }

    /// Devices of the wave.
    pub fn devices(&self) -> u64 {
        self.shards.iter().map(|shard| u64::from(shard.count)).sum()
    }

    /// Devices of the wave at one provider.
    pub fn devices_at(&self, platform: Platform) -> u64 {
        let at = self.shards.iter().filter(|shard| shard.platform == platform);
        at.map(|shard| u64::from(shard.count)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, Group};
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn manifest(groups: &[(bool, u8, u32)]) -> Manifest {
        let groups = groups.iter().map(|&(is_apns, market, devices)| Group {
            market: format!("m{market}"),
            platform: if is_apns { Platform::Apns } else { Platform::Fcm },
            app: "app".into(),
            locale: "en".into(),
            devices,
        });
        let groups: Vec<Group> = groups.collect();
        let devices = groups.iter().map(|group| u64::from(group.devices)).sum();
        let digest = Digest([0; 32]);
        Manifest { digest, devices, users: devices, duplicate_devices: 0, file_bytes: 0, groups }
    }

    proptest! {
        #[test]
        fn a_plan_covers_every_device_of_the_wave_once(
            groups in proptest::collection::vec((any::<bool>(), 0_u8..3, 0_u32..90), 0..8),
            apns in 1_u32..20, fcm in 1_u32..20, slices_max in 1_u16..9,
        ) {
            let manifest = manifest(&groups);
            let wave = Wave { name: "w".into(), markets: vec!["m1".into(), "m2".into()] };
            let plan = Plan::new(&manifest, &wave, &ShardSizes { apns, fcm, slices_max });
            let mut seen = HashSet::new();
            for slice in 0..plan.slices() {
                prop_assert!(plan.slice_shards(slice) > 0);
                for shard in plan.slice(slice) {
                    prop_assert_eq!(plan.slice_of(shard.number), slice);
                    prop_assert!(shard.count >= 1);
                    for device in shard.start..shard.start + shard.count {
                        prop_assert!(seen.insert((shard.group, device)));
                    }
                }
            }
            let wanted = manifest.groups.iter().enumerate().filter(|(_, group)| wave.includes(group));
            let wanted: HashSet<_> =
                wanted.flat_map(|(index, group)| (0..group.devices).map(move |device| (index as u32, device))).collect();
            prop_assert_eq!(seen, wanted);
        }
    }
}
