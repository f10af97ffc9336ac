//! `fanfare bench snapshot`: build, verify, load and read a snapshot of a seeded population.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use device_map::{Limits, Snapshot, SnapshotBuilder, Users};
use model::runtime::Clock;
use model::{Manifest, Platform, Timestamp};
use serde::Serialize;

use crate::demo::population::Population;
use crate::machine;
use crate::runtime::SystemClock;

/// Measure the snapshot file.
#[derive(Args)]
pub(crate) struct SnapshotBench {
    /// Devices, half of them iPhones.
    #[arg(long, default_value_t = 6_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    devices: u64,
    /// Decides the population.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Where the files are written; a temporary folder when absent.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// What was measured; seconds are of the wall clock, generating the population included where it says so. What the
/// snapshot holds is counted by itself: the process reuses memory that building had taken, so a difference of its
/// resident memory would say nothing.
#[derive(Serialize)]
struct Figures {
    devices: u64,
    users: u64,
    groups: usize,
    file_bytes: u64,
    generate_s: f64,
    generate_and_build_s: f64,
    open_and_verify_s: f64,
    read_all_s: f64,
    read_ns_per_device: f64,
    find_user_us: f64,
    bytes_per_apns_device: f64,
    bytes_per_fcm_device: f64,
    build_peak_bytes: u64,
    map_resident_bytes: u64,
    process_resident_bytes: u64,
}

impl SnapshotBench {
    pub(crate) fn run(&self) -> Result<()> {
        let temporary = tempfile::tempdir().context("temporary folder")?;
        let folder = self.folder.clone().unwrap_or_else(|| temporary.path().to_owned());
        let figures = self.measure(&folder)?;
        if self.json {
            println!("{}", serde_json::to_string(&figures)?);
        } else {
            print!("{}", figures.table());
        }
        Ok(())
    }

    fn measure(&self, folder: &std::path::Path) -> Result<Figures> {
        let registered_at = Timestamp::from_secs(1);
        let population = Population { seed: self.seed, devices: self.devices, registered_at, only: None };
        let mut characters = 0;
        let generate =
            timed(|| characters = population.devices().map(|device| device.key.len()).sum::<usize>()).0;
        anyhow::ensure!(characters > 0, "a population without keys");

        let (generate_and_build, manifest) = timed(|| -> Result<Manifest> {
            let mut builder = SnapshotBuilder::new(folder, Limits::default());
            for device in population.devices() {
                builder.push(&device)?;
            }
            Ok(builder.finish()?)
        });
        let manifest = manifest?;
        let build_peak_bytes = peak_bytes();

        let path = device_map::snapshot_path(folder, &manifest.digest);
        let (open, snapshot) = timed(|| Snapshot::open(&path, manifest.digest));
        let snapshot = snapshot?;
        let map_resident_bytes = snapshot.resident_bytes();
        let (read_all, _) = timed(|| read_all(&snapshot));
        let users = Users::open(&device_map::users_path(folder, &manifest.digest), snapshot.users_digest())?;
        let (find, _) = timed(|| {
            let ordinal = users.find("user-00000007");
            ordinal.map_or(0, |ordinal| snapshot.devices_of(ordinal).count())
        });
        let bytes_of = |platform| bytes_per_device(&snapshot, platform);
        Ok(Figures {
            devices: manifest.devices,
            users: manifest.users,
            groups: manifest.groups.len(),
            file_bytes: manifest.file_bytes,
            generate_s: generate.as_secs_f64(),
            generate_and_build_s: generate_and_build.as_secs_f64(),
            open_and_verify_s: open.as_secs_f64(),
            read_all_s: read_all.as_secs_f64(),
            read_ns_per_device: read_all.as_secs_f64() * 1e9 / manifest.devices as f64,
            find_user_us: find.as_secs_f64() * 1e6,
            bytes_per_apns_device: bytes_of(Platform::Apns),
            bytes_per_fcm_device: bytes_of(Platform::Fcm),
            build_peak_bytes,
            map_resident_bytes,
            process_resident_bytes: machine::resident_bytes(),
        })
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = SystemClock.monotonic();
    let result = work();
    (SystemClock.monotonic().since(start), result)
}

/// Writes every key's text once, as a sender does.
fn read_all(snapshot: &Snapshot) -> Result<u64> {
    let mut text = vec![0; model::device::KEY_CHARS_MAX];
    let mut bytes = 0;
    for (index, group) in snapshot.groups().iter().enumerate() {
        for device in snapshot.range(index as u32, 0, group.devices)? {
            bytes += device.text_into(&mut text) as u64;
        }
    }
    Ok(bytes)
}

/// Bytes that a device of `platform` takes in the map: its packed key and its owner's ordinal.
fn bytes_per_device(snapshot: &Snapshot, platform: Platform) -> f64 {
    let mut bytes = 0_usize;
    let mut devices = 0_usize;
    for (index, group) in snapshot.groups().iter().enumerate() {
        if group.platform != platform {
            continue;
        }
        let Ok(range) = snapshot.range(index as u32, 0, group.devices) else { continue };
        for device in range {
            bytes += device.packed().len() + size_of::<u32>();
            devices += 1;
        }
    }
    bytes as f64 / devices.max(1) as f64
}

/// Largest resident memory of this process so far.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1_024
}

impl Figures {
    fn table(&self) -> String {
        let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
        format!(
            "devices                 {}\nusers                   {}\ngroups                  {}\n\
             file                    {:.0} MiB\nper APNs device         {:.1} bytes\nper FCM device          {:.1} bytes\n\
             generate                {:.2} s\ngenerate and build      {:.2} s, at most {:.0} MiB resident\n\
             open and verify         {:.2} s, {:.0} MiB resident (the whole process: {:.0} MiB)\nread every key          {:.2} s, {:.0} ns each\n\
             find a user's devices   {:.0} us\n",
            self.devices,
            self.users,
            self.groups,
            mib(self.file_bytes),
            self.bytes_per_apns_device,
            self.bytes_per_fcm_device,
            self.generate_s,
            self.generate_and_build_s,
            mib(self.build_peak_bytes),
            self.open_and_verify_s,
            mib(self.map_resident_bytes),
            mib(self.process_resident_bytes),
            self.read_all_s,
            self.read_ns_per_device,
            self.find_user_us,
        )
    }
}
