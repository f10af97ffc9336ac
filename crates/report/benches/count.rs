//! What counting costs: `cargo bench -p report`. Prints the best of five runs of each.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]

use std::hint::black_box;
use std::time::Instant;

use hdrhistogram::Histogram;
use model::launch::Launch;
use model::{
    CampaignId, Class, Content, Digest, Group, LaunchId, Manifest, Outcome, OutcomeRuns, Plan, Platform,
    Policy, Purpose, Reason, ShardSizes, Timestamp, Wave,
};
use report::{Latencies, LaunchReport, Live, Part, Positions, Progress, ShardRecord, Tally};

const ANSWERS: usize = 4_000_000;
const GONE: Outcome = Outcome::new(Class::Rejected, Reason::Unregistered);

fn main() {
    let list = answers();
    best("record in Latencies, per answer", ANSWERS, || {
        let mut latencies = Latencies::default();
        list.iter().for_each(|us| latencies.record(*us));
        black_box(&latencies);
    });
    best("record in hdrhistogram, per answer", ANSWERS, || {
        let mut histogram =
            Histogram::<u64>::new_with_bounds(1, u64::from(u32::MAX), 2).expect("sound bounds");
        list.iter().for_each(|us| histogram.record(*us).expect("within bounds"));
        black_box(&histogram);
    });
    let outcomes: Vec<Outcome> =
        (0..2_000).map(|n| if n % 100 == 37 { GONE } else { Outcome::ACCEPTED }).collect();
    best("tally one by one, per device", 2_000 * 500, || {
        let mut tally = Tally::default();
        (0..500).for_each(|_| outcomes.iter().for_each(|outcome| tally.add(*outcome, 1)));
        black_box(&tally);
    });
    records(&outcomes, &list);
    progress(&outcomes, &list);
    report(&outcomes, &list);
}

/// 60 to 4,000 ms, as a burst has them.
fn answers() -> Vec<u64> {
    (0..ANSWERS as u64).map(|n| 60_000 + model::runtime::mix(n) % 3_940_000).collect()
}

fn best(name: &str, units: usize, mut run: impl FnMut()) {
    let times = (0..5).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed()
    });
    let nanos = times.min().unwrap_or_default().as_nanos() as f64;
    println!("{name:<50} {:>12.2} ns", nanos / units as f64);
}

/// A shard whose answers came within 300 ms.
fn part(outcomes: &[Outcome], list: &[u64], shard: u64) -> Part {
    let mut latencies = Latencies::default();
    let accepted = outcomes.iter().filter(|outcome| outcome.class() == Class::Accepted);
    accepted.zip(list).for_each(|(_, us)| latencies.record(shard * 700 + 60_000 + us % 300_000));
    Part {
        worker: "ip-10-0-12-34/7f3a".into(),
        positions: Positions::all(outcomes.len() as u32),
        outcomes: OutcomeRuns::encode(outcomes.iter().copied()),
        requests: outcomes.len() as u64,
        latencies,
        first_write_us: Some(9_000),
        last_answer_us: Some(400_000),
        ..Part::default()
    }
}

fn record(outcomes: &[Outcome], list: &[u64], shard: u32) -> ShardRecord {
    let part = part(outcomes, list, u64::from(shard));
    let devices = outcomes.len() as u32;
    ShardRecord::new(LaunchId(1), shard, 0, devices, 1, part).expect("the part covers the shard")
}

fn records(outcomes: &[Outcome], list: &[u64]) {
    let record = record(outcomes, list, 9);
    let bytes = record.encode();
    println!("{:<50} {:>12} bytes", "record of 2,000 devices, 1 % rejected", bytes.len());
    best("build and encode a record, per device", outcomes.len(), || {
        black_box(self::record(outcomes, list, 9).encode());
    });
    best("decode a record, per device", outcomes.len(), || {
        black_box(ShardRecord::decode(&bytes).ok());
    });
}

fn progress(outcomes: &[Outcome], list: &[u64]) {
    let runs = OutcomeRuns::encode(outcomes.iter().copied());
    let mut progress = Progress::new(LaunchId(1), "worker-1", Timestamp(1));
    for market in 0..7 {
        Platform::ALL.iter().for_each(|platform| progress.add_runs(*platform, &format!("m{market}"), &runs));
    }
    list.iter().take(100_000).for_each(|us| progress.latencies[0].record(*us));
    list.iter().take(100_000).for_each(|us| progress.latencies[1].record(*us));
    let bytes = progress.encode();
    println!("{:<50} {:>12} bytes", "progress, 7 markets, 60 ms to 4 s", bytes.len());
    best("encode progress", 1, || {
        black_box(progress.encode());
    });
    best("decode progress", 1, || {
        black_box(Progress::decode(&bytes).ok());
    });
    let mut live = Live::default();
    for worker in 0..20 {
        live.take(Progress { worker: format!("worker-{worker}"), ..progress.clone() });
    }
    best("totals, latencies and curve of 20 workers", 1, || {
        black_box((live.total(), live.latencies().quantiles(), live.curve()));
    });
}

fn report(outcomes: &[Outcome], list: &[u64]) {
    let groups: Vec<Group> = (0..14)
        .map(|n| Group {
            market: format!("m{}", n / 2),
            platform: if n % 2 == 0 { Platform::Apns } else { Platform::Fcm },
            app: "app".into(),
            locale: "en".into(),
            devices: 428_000,
        })
        .collect();
    let devices = groups.iter().map(|group| u64::from(group.devices)).sum();
    let digest = Digest([0; 32]);
    let manifest = Manifest { digest, devices, users: devices, duplicate_devices: 0, file_bytes: 0, groups };
    let wave = Wave { name: "all".into(), markets: vec![] };
    let sizes = ShardSizes { apns: 2_000, fcm: 2_000, slices_max: 50 };
    let plan = Plan::new(&manifest, &wave, &sizes);
    let launch = launch(wave, sizes, devices);
    let stored: Vec<Vec<u8>> =
        plan.shards().iter().map(|shard| record(outcomes, list, shard.number).encode()).collect();
    best(&format!("decode and report {devices} devices, all"), 1, || {
        let records = stored.iter().filter_map(|bytes| ShardRecord::decode(bytes).ok());
        let report = LaunchReport::new(&launch, &plan, &manifest, records);
        assert!(report.check().is_empty());
    });
}

fn launch(wave: Wave, sizes: ShardSizes, devices: u64) -> Launch {
    Launch {
        id: LaunchId(1),
        campaign: CampaignId(1),
        campaign_name: "bench".into(),
        campaign_version: 1,
        wave,
        purpose: Purpose::Rehearsal,
        snapshot: Digest([0; 32]),
        content: Content::default(),
        policy: Policy::default(),
        sizes,
        slices: 50,
        shards: 1,
        devices,
        pressed_by: "bench".into(),
        pressed_at: Timestamp(1),
        not_after: Timestamp(2),
        ready_workers: 1,
        late_list: 0,
    }
}
