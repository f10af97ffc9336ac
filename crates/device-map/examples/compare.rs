//! Measures comparing two snapshots whose devices lie in many groups; the second has every tenth device less:
//! `cargo run --release -p device-map --example compare -- DEVICES GROUPS`. Comparing runs in a process of its own, so that the
//! memory is its own.
#![allow(clippy::disallowed_methods, reason = "a driver: the real clock")]

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use device_map::{Compared, DeviceFields, Limits, SnapshotBuilder, SnapshotFile, compare, snapshot_path};
use model::runtime::mix;
use model::{Digest, Platform, Timestamp};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [folder, one, other] = &arguments[..] {
        return measure(Path::new(folder), one.parse()?, other.parse()?);
    }
    let number = |place: usize, default: u64| arguments.get(place).map_or(Ok(default), |text| text.parse());
    let (devices, groups) = (number(0, 6_000_000)?, number(1, 65_536)?);
    let folder = env::temp_dir().join(format!("device-map-compare-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let done = (|| {
        let one = build(&folder, devices, groups, u64::MAX)?;
        let other = build(&folder, devices, groups, 10)?;
        let mut child = Command::new(env::current_exe()?);
        let status = child.arg(&folder).args([one, other].map(|digest| digest.to_string())).status()?;
        if status.success() { Ok(()) } else { Err("comparing failed".into()) }
    })();
    std::fs::remove_dir_all(&folder)?;
    done
}

fn build(folder: &Path, devices: u64, groups: u64, without: u64) -> Outcome<Digest> {
    let mut builder = SnapshotBuilder::new(folder, Limits::default());
    for number in (0..devices).filter(|number| number % without != without - 1) {
        let key: String = (0..4).map(|part| format!("{:016x}", mix(4 * number + part))).collect();
        let (user, market) = (format!("u{:08}", number / 2), format!("m{}", number / 2 % groups));
        builder.push_fields(&DeviceFields {
            user: &user,
            platform: Platform::Apns,
            key: &key,
            app: "org.example.app",
            locale: "en",
            market: &market,
            registered_at: Timestamp(1),
        })?;
    }
    Ok(builder.finish()?.digest)
}

fn measure(folder: &Path, one: Digest, other: Digest) -> Outcome {
    let open = |digest| SnapshotFile::open(&snapshot_path(folder, &digest), digest);
    let (one, other) = (open(one)?, open(other)?);
    let (before, start) = (peak_kib()?, Instant::now());
    let mut counts = [0_u64; 3];
    compare::<device_map::Error>(&one, &other, |compared| {
        counts[match compared {
            Compared::First(_) => 0,
            Compared::Second(_) => 1,
            Compared::Both(..) => 2,
        }] += 1;
        Ok(())
    })?;
    let [came, went, stayed] = counts;
    println!("groups    {:>9}", one.groups().len());
    println!("devices   {came:>9} came, {went} went, {stayed} stayed");
    println!("compared  {:>9.2} s", start.elapsed().as_secs_f64());
    println!("resident  {:>9.1} MB more than before", (peak_kib()? - before) as f64 * 1.024e-3);
    Ok(())
}

fn peak_kib() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no peak")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
