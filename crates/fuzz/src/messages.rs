//! Messages of the queues: any text, read as each of them. What is read says the same when it is written again, and a shard message
//! that fits the launch's plan is in it.

use model::campaign::Wave;
use model::queued::{LookUp, Resolve, SHARD_BYTES_MAX, ShardMessage, TakeIn, ToResolver, Trigger, WriteOut};
use model::{
    AudienceId, Digest, ExportId, Group, ImportId, InquiryId, LaunchId, Manifest, Plan, Platform, ShardSizes,
    ShardSpec, Timestamp,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

const SNAPSHOT: Digest = Digest([7; 32]);

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(trigger) = read::<Trigger>(text) {
        assert!(trigger.name().ends_with(&format!("-{}", trigger.slice)));
    }
    read::<ToResolver>(text);
    let Some(message) = read::<ShardMessage>(text) else { return };
    let written = serde_json::to_string(&message).expect("a message always serializes");
    assert!(written.len() < SHARD_BYTES_MAX, "{} bytes", written.len());
    let plan = plan();
    if plan.has(&message) {
        let spec = plan.shards()[message.shard as usize];
        assert!(message.count > 0 && u64::from(message.start) + u64::from(message.count) <= DEVICES.into());
        assert_eq!((spec.group, spec.platform), (message.group, message.platform));
        assert!(plan.slice(plan.slice_of(message.shard)).any(|shard| *shard == spec));
    }
}

/// A message, if it is one; written and read again it is the same.
fn read<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(text: &str) -> Option<T> {
    let message: T = serde_json::from_str(text).ok()?;
    let written = serde_json::to_string(&message).expect("a message always serializes");
    assert_eq!(serde_json::from_str::<T>(&written).expect("what was written is read"), message);
    Some(message)
}

/// Devices of each group.
const DEVICES: u32 = 4_500;

fn plan() -> Plan {
    let group = |platform, market: &str| Group {
        market: market.into(),
        platform,
        app: "a".into(),
        locale: "en".into(),
        devices: DEVICES,
    };
    let groups = vec![group(Platform::Apns, "us"), group(Platform::Fcm, "us"), group(Platform::Fcm, "de")];
    let devices = u64::from(DEVICES) * 3;
    let manifest =
        Manifest { digest: SNAPSHOT, devices, users: devices, duplicate_devices: 0, file_bytes: 0, groups };
    Plan::new(&manifest, &Wave { name: "w".into(), markets: vec!["us".into()] }, &ShardSizes::default())
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let json = |message: &dyn Fn() -> serde_json::Result<String>| {
        message().expect("a message always serializes").into_bytes()
    };
    let launch = LaunchId(0x1234_5678_9abc_def0);
    let mut seeds = vec![
        json(&|| serde_json::to_string(&Trigger { launch, slice: 3 })),
        json(&|| serde_json::to_string(&ToResolver::Resolve(Resolve { audience: AudienceId(1) }))),
        json(&|| serde_json::to_string(&ToResolver::TakeIn(TakeIn { import: ImportId(2) }))),
        json(&|| serde_json::to_string(&ToResolver::WriteOut(WriteOut { export: ExportId(3) }))),
        json(&|| serde_json::to_string(&ToResolver::LookUp(LookUp { inquiry: InquiryId(4) }))),
        b"null".to_vec(),
        b"{}".to_vec(),
    ];
    for ShardSpec { number, platform, group, start, count } in plan().shards() {
        for (attempt, window) in [(0, Timestamp(0)), (2, Timestamp::from_secs(1_000_000))] {
            let message = ShardMessage {
                launch,
                shard: *number,
                snapshot: SNAPSHOT,
                platform: *platform,
                group: *group,
                start: *start,
                count: *count,
                not_after: Timestamp::from_secs(2_000_000),
                window_from: window,
                window_until: window,
                attempt,
            };
            seeds.push(json(&|| serde_json::to_string(&message)));
        }
    }
    seeds
}
