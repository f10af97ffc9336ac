//! Measures a snapshot of N devices, half APNs and half FCM: build, open and verify, read, look up.
//!
//! `cargo run --release -p device-map --example bench -- [--devices N] [--memory-mib M] [--order users|random]
//! [--folder DIR]`. Reading runs in a process of its own, so that its resident bytes are those of a sender.

use std::env;
use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use device_map::{Limits, Position, Snapshot, SnapshotBuilder, Users, hex_into, snapshot_path, users_path};
use model::runtime::mix;
use model::{Device, Digest, Platform, Timestamp};

type Outcome = Result<(), Box<dyn Error>>;

struct Options {
    devices: u64,
    memory_mib: usize,
    is_random: bool,
    folder: PathBuf,
    /// Set for the reading process.
    digest: Option<Digest>,
}

fn main() -> Outcome {
    let options = options()?;
    if let Some(digest) = options.digest {
        return read(&options, digest);
    }
    let folder = options.folder.join(format!("device-map-bench-{}", std::process::id()));
    fs::create_dir(&folder)?;
    let done = build(&options, &folder).and_then(|digest| read_in_child(&options, &folder, digest));
    fs::remove_dir_all(&folder)?;
    done
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        devices: 6_000_000,
        memory_mib: Limits::default().memory_bytes >> 20,
        is_random: false,
        folder: env::temp_dir(),
        digest: None,
    };
    let mut args = env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next().ok_or("a flag without its value")?;
        match flag.as_str() {
            "--devices" => options.devices = value.parse()?,
            "--memory-mib" => options.memory_mib = value.parse()?,
            "--order" => options.is_random = value == "random",
            "--folder" => options.folder = value.into(),
            "--read" => options.digest = Some(value.parse()?),
            _ => return Err(format!("unknown flag {flag}").into()),
        }
    }
    Ok(options)
}

fn read_in_child(options: &Options, folder: &Path, digest: Digest) -> Outcome {
    let devices = options.devices.to_string();
    let mut child = Command::new(env::current_exe()?);
    child.args(["--devices", &devices, "--read", &digest.to_string(), "--folder"]).arg(folder);
    let status = child.status()?;
    if status.success() { Ok(()) } else { Err("reading failed".into()) }
}

/// Devices generated at a time: few, so that they are still in the cache when they are pushed.
const BATCH: u64 = 500;

fn build(options: &Options, folder: &Path) -> Result<Digest, Box<dyn Error>> {
    let limits = Limits { memory_bytes: options.memory_mib << 20, ..Limits::default() };
    let mut builder = SnapshotBuilder::new(folder, limits);
    let mut batch: Vec<Device> = Vec::new();
    let (mut pushing, mut next) = (Cost::default(), 0);
    while next < options.devices {
        batch.clear();
        let end = options.devices.min(next + BATCH);
        batch.extend((next..end).map(|number| device(number, options)));
        next = end;
        let (pushed, cost) = measured(|| builder.push_all(&batch))?;
        pushed?;
        pushing = pushing + cost;
    }
    let (manifest, finishing) = measured(|| builder.finish())?;
    let manifest = manifest?;
    pushing.print("push", 1.0, "s");
    finishing.print("finish", 1.0, "s");
    (pushing + finishing).print("build", 1.0, "s");
    println!("peak resident        {:8} MiB", status_kib("VmHWM:")? >> 10);
    println!("devices              {:8}", manifest.devices);
    println!("users                {:8}", manifest.users);
    println!("duplicates           {:8}", manifest.duplicate_devices);
    println!("groups               {:8}", manifest.groups.len());
    println!("bytes per device     {:8.1}", manifest.file_bytes as f64 / manifest.devices.max(1) as f64);
    let users_bytes = fs::metadata(users_path(folder, &manifest.digest))?.len();
    println!("users file           {:8} MiB", users_bytes >> 20);
    Ok(manifest.digest)
}

fn read(options: &Options, digest: Digest) -> Outcome {
    let folder = &options.folder;
    let before = status_kib("VmRSS:")?;
    let (snapshot, opening) = measured(|| Snapshot::open(&snapshot_path(folder, &digest), digest))?;
    let snapshot = snapshot?;
    opening.print("open and verify", 1.0, "s");
    println!("resident for it      {:8} MiB", (status_kib("VmRSS:")? - before) >> 10);
    for platform in Platform::ALL {
        let devices: u64 = groups_of(&snapshot, platform).map(|(_, devices)| u64::from(devices)).sum();
        let (read, reading) = measured(|| read_all(&snapshot, platform))?;
        read?;
        reading.print(&format!("range read {platform}"), 1e9 / devices.max(1) as f64, "ns/device");
    }
    let (_, scanning) = measured(|| black_box(snapshot.devices_of(1).count()))?;
    scanning.print("devices of a user", 1e3, "ms");
    let (_, finding) = measured(|| find_keys(&snapshot))?;
    finding.print("find a key", 1e6 / f64::from(FOUND_KEYS), "us");
    let (users, opening) = measured(|| Users::open(&users_path(folder, &digest), snapshot.users_digest()))?;
    let users = users?;
    opening.print("open users", 1.0, "s");
    let ids = || (0..users.len()).filter_map(|ordinal| users.id(ordinal)).map(str::len).sum::<usize>();
    let (_, naming) = measured(|| black_box(ids()))?;
    naming.print("user id of ordinal", 1e9 / f64::from(users.len().max(1)), "ns");
    Ok(())
}

fn groups_of(snapshot: &Snapshot, platform: Platform) -> impl Iterator<Item = (u32, u32)> + '_ {
    let groups = (0..).zip(snapshot.groups()).filter(move |(_, group)| group.platform == platform);
    groups.map(|(index, group)| (index, group.devices))
}

/// Reads as a sender does: shard by shard, each key's text into one buffer.
fn read_all(snapshot: &Snapshot, platform: Platform) -> Result<(), device_map::Error> {
    let mut text = [0; 2_048];
    for (group, devices) in groups_of(snapshot, platform) {
        for start in (0..devices).step_by(1_000) {
            for device in snapshot.range(group, start, (devices - start).min(1_000))? {
                match platform {
                    Platform::Apns => hex_into(device.packed(), &mut text),
                    Platform::Fcm => assert!(device.text_into(&mut text) > 0),
                }
                black_box((&text, device.user_ordinal()));
            }
        }
    }
    Ok(())
}

const FOUND_KEYS: u32 = 10_000;

fn find_keys(snapshot: &Snapshot) {
    let Some(group) = snapshot.groups().first() else { return };
    for number in 0..FOUND_KEYS {
        let device = (mix(u64::from(number)) % u64::from(group.devices)) as u32;
        let found = snapshot.device(Position { group: 0, device }).map(|device| device.text());
        black_box(found.and_then(|key| snapshot.find_key(group.platform, &group.app, &key)));
    }
}

/// Users have one or two devices each; one key in a thousand comes up twice.
fn device(number: u64, options: &Options) -> Device {
    const MARKETS: [(&str, &[&str]); 7] = [
        ("us", &["en-US", "es-US"]),
        ("mx", &["es-MX"]),
        ("br", &["pt-BR"]),
        ("de", &["de", "en-GB", "tr"]),
        ("fr", &["fr", "en-GB"]),
        ("jp", &["ja"]),
        ("in", &["en-IN", "hi"]),
    ];
    let number = if options.is_random { shuffled(number, options.devices) } else { number };
    let user = number * 2 / 3;
    let (market, locales) = MARKETS[(mix(user) % 7) as usize];
    let key = if number % 1_000 == 999 { number - 990 } else { number };
    let platform = Platform::ALL[(mix(key) >> 63) as usize];
    Device {
        user: format!("user-{user:010}"),
        platform,
        key: key_text(platform, key),
        app: "org.example.fanfare".to_owned(),
        locale: locales[(mix(user ^ 77) % locales.len() as u64) as usize].to_owned(),
        market: market.to_owned(),
        registered_at: Timestamp::from_secs(1_700_000_000 + number),
    }
}

/// A bijection of `0..devices` that leaves nothing in its place.
fn shuffled(number: u64, devices: u64) -> u64 {
    let bits = devices.next_power_of_two().trailing_zeros().max(1);
    let mask = (1 << bits) - 1;
    let mut next = number;
    loop {
        next = next.wrapping_mul(0x9e37_79b9_7f4a_7c15) & mask;
        next ^= next >> (bits / 2 + 1);
        next = next.wrapping_mul(0xbf58_476d_1ce4_e5b9) & mask;
        if next < devices {
            return next;
        }
    }
}

fn key_text(platform: Platform, number: u64) -> String {
    const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let word = |index: u64| mix(number.wrapping_mul(31).wrapping_add(index << 40));
    match platform {
        Platform::Apns => (0..4).map(|index| format!("{:016x}", word(index))).collect(),
        Platform::Fcm => {
            let chars = (0..163_u64).map(|index| {
                let digit = word(index / 10) >> (index % 10 * 6) & 63;
                char::from(if index == 22 { b':' } else { BASE64[digit as usize] })
            });
            chars.collect()
        }
    }
}

/// Seconds by the clock and on the processor.
#[derive(Clone, Copy, Default)]
struct Cost {
    clock: f64,
    processor: f64,
}

impl Cost {
    fn print(self, name: &str, factor: f64, unit: &str) {
        let (clock, processor) = (self.clock * factor, self.processor * factor);
        println!("{name:20} {clock:8.2} {unit}, processor {processor:.2} {unit}");
    }
}

impl std::ops::Add for Cost {
    type Output = Cost;
    fn add(self, other: Cost) -> Cost {
        Cost { clock: self.clock + other.clock, processor: self.processor + other.processor }
    }
}

/// Runs `work` and says what it cost.
fn measured<T>(work: impl FnOnce() -> T) -> Result<(T, Cost), Box<dyn Error>> {
    let before = processor_seconds()?;
    #[allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    let start = Instant::now();
    let result = work();
    let clock = start.elapsed().as_secs_f64();
    Ok((result, Cost { clock, processor: processor_seconds()? - before }))
}

/// What this thread, the only one, has used so far.
fn processor_seconds() -> Result<f64, Box<dyn Error>> {
    let statistics = fs::read_to_string("/proc/self/schedstat")?;
    let nanos: u64 = statistics.split(' ').next().ok_or("no figure in schedstat")?.parse()?;
    Ok(nanos as f64 / 1e9)
}

/// A line of `/proc/self/status`, in KiB.
fn status_kib(name: &str) -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
