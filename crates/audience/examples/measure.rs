//! Measures import and resolving on an embedded installation in a temporary folder:
//! `cargo run --release -p audience --example measure -- 6000000`; a second number
//! is that of look-ups at once.
#![allow(clippy::disallowed_methods, reason = "a driver: the real clock and real tasks")]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use audience::Config;
use backend::{Backend, Expect, Outgoing, Queue, rows};
use backend_embedded::Place;
use model::audience::{BadRows, Defaults, Packing, Upload, UploadFormat};
use model::import::{Destination, Import, ImportState};
use model::queued::{Resolve, TakeIn, ToResolver};
use model::runtime::{BoxFuture, Clock, Runtime, SeededRandomness, Spawner, mix};
use model::{Audience, AudienceId, AudienceState, Digest, ImportId, Monotonic, Timestamp};
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
struct Real(Instant);

impl Clock for Real {
    fn now(&self) -> Timestamp {
        Timestamp(SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros() as u64)
    }
    fn monotonic(&self) -> Monotonic {
        Monotonic(self.0.elapsed().as_nanos() as u64)
    }
    fn sleep(&self, duration: Duration) -> BoxFuture {
        Box::pin(tokio::time::sleep(duration))
    }
}

impl Spawner for Real {
    fn spawn(&self, _: &'static str, task: BoxFuture) {
        tokio::spawn(task);
    }
}

type Fault = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Fault> {
    let devices: u64 = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse())?;
    let look_ups = std::env::args().nth(2).map_or(Ok(Config::default().look_ups), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    let real = Arc::new(Real(Instant::now()));
    let randomness = Arc::new(SeededRandomness::new(1));
    let runtime = Runtime { clock: real.clone(), randomness, spawner: real };
    let embedded = backend_embedded::open(&Place::Folder(folder.path().to_owned()), &runtime)?;
    let backend = embedded.backend.clone();
    let shutdown = CancellationToken::new();
    tokio::spawn(audience::run(
        backend.clone(),
        runtime,
        Config { look_ups, ..Config::default() },
        shutdown.clone(),
    ));
    let file = folder.path().join("devices.csv");
    for (name, bad) in [("check only", true), ("import, shuffled", false), ("import again", false)] {
        write_devices(&file, devices, bad)?;
        let before = cpu_s()?;
        let took = import(&backend, &file).await?;
        println!(
            "{name}: {took:.2} s, {:.0} devices/s, {:.2} s of CPU",
            devices as f64 / took,
            cpu_s()? - before
        );
    }
    let before = cpu_s()?;
    let took = resolve(&backend, devices).await?;
    println!("resolve {} users: {took:.2} s, {:.2} s of CPU", devices * 2 / 3, cpu_s()? - before);
    println!("peak resident: {} MB", peak_mb()?);
    shutdown.cancel();
    Ok(())
}

/// Two users of three have one device, one has... the mean is 1.5: users 0, 1 share devices 0, 1, 2.
fn user_of(number: u64) -> u64 {
    number / 3 * 2 + u64::from(number % 3 == 2)
}

async fn import(backend: &Backend, path: &Path) -> Result<f64, Fault> {
    let (known, _) = rows::import::list(&*backend.store, "", 100).await?;
    let id = ImportId(known.len() as u128);
    let upload = store(backend, path, &rows::import::upload_blob(id, 1)).await?;
    let import = Import {
        id,
        into: Destination::Directory,
        upload,
        state: ImportState::Uploaded,
        report: None,
        created_at: Timestamp(1),
        worked_at: None,
    };
    backend.store.write(vec![rows::import::put(&import, Expect::Absent)]).await?;
    let begun = Instant::now();
    ask(backend, &ToResolver::TakeIn(TakeIn { import: id })).await?;
    loop {
        let row = rows::import::get(&*backend.store, id).await?.ok_or("no row")?.body;
        match row.state {
            ImportState::Done { .. } => return Ok(begun.elapsed().as_secs_f64()),
            ImportState::Failed { why } if why.starts_with("1 of ") => {
                return Ok(begun.elapsed().as_secs_f64());
            }
            ImportState::Failed { why } => return Err(why.into()),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn resolve(backend: &Backend, devices: u64) -> Result<f64, Fault> {
    let path = backend.blobs.staging().join("users.csv");
    let mut file = BufWriter::new(File::create(&path)?);
    writeln!(file, "user")?;
    let users = user_of(devices.saturating_sub(1)) + 1;
    for number in 0..users {
        // Any order: multiplying by a number prime to the count visits each once.
        writeln!(file, "user-{:08}", u128::from(number) * 2_654_435_761 % u128::from(users))?;
    }
    file.flush()?;
    let id = AudienceId(1);
    let upload = store(backend, &path, &rows::audience::upload_blob(id, 1)).await?;
    let audience = Audience {
        id,
        name: "all".into(),
        rows: None,
        sample: None,
        control: None,
        sandbox: false,
        upload: Some(upload),
        state: AudienceState::Uploaded,
        report: None,
        created_at: Timestamp(1),
        worked_at: None,
    };
    backend.store.write(vec![rows::audience::put(&audience, Expect::Absent)]).await?;
    let begun = Instant::now();
    ask(backend, &ToResolver::Resolve(Resolve { audience: id })).await?;
    loop {
        let row = rows::audience::get(&*backend.store, id).await?.ok_or("no row")?.body;
        match row.state {
            AudienceState::Frozen { .. } => {
                println!(
                    "{:?}",
                    row.report.map(|report| (report.users, report.devices, report.unknown_users))
                );
                return Ok(begun.elapsed().as_secs_f64());
            }
            AudienceState::Failed { why } => return Err(why.into()),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn store(backend: &Backend, path: &Path, blob: &str) -> Result<Upload, Fault> {
    let bytes = fs::metadata(path)?.len();
    backend.blobs.put_file(blob, path).await?;
    Ok(Upload {
        blob: blob.into(),
        bytes,
        digest: Digest([0; 32]),
        format: UploadFormat::Csv,
        packing: Packing::None,
        bad_rows: BadRows::RejectAll,
        defaults: Defaults::default(),
    })
}

async fn ask(backend: &Backend, message: &ToResolver) -> Result<(), Fault> {
    let body = serde_json::to_string(message)?;
    Ok(backend.queues.send(Queue::Resolve, vec![Outgoing::now(body)]).await?)
}

fn write_devices(path: &Path, devices: u64, is_last_bad: bool) -> Result<(), Fault> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    writeln!(file, "user,platform,key,app,locale,market,registered_at")?;
    for index in 0..devices {
        let number = (u128::from(index) * 2_654_435_761 % u128::from(devices)) as u64;
        let mut key = String::new();
        for part in 0..4 {
            write!(key, "{:016x}", mix(number * 4 + part))?;
        }
        let (platform, app, more) = match number % 2 {
            0 => ("apns", "org.example.fanfare", 0),
            _ => ("fcm", "fanfare-demo", 1),
        };
        if more > 0 {
            key = format!("{}:APA91b{}{}", &key[..22], key, &key.to_uppercase());
        }
        let user = user_of(number);
        writeln!(file, "user-{user:08},{platform},{key},{app},en-US,us,2026-01-01T00:00:00Z")?;
    }
    if is_last_bad {
        writeln!(file, "too,few")?;
    }
    Ok(file.flush()?)
}

/// CPU seconds of this process, which other processes on the machine do not change.
fn cpu_s() -> Result<f64, Fault> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().ok_or("no fields")?.split_whitespace().collect();
    let ticks: u64 =
        fields.get(11..13).ok_or("no times")?.iter().map(|text| text.parse::<u64>().unwrap_or(0)).sum();
    Ok(ticks as f64 / 100.0)
}

fn peak_mb() -> Result<u64, Fault> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM")).ok_or("no VmHWM")?;
    Ok(line.split_whitespace().nth(1).ok_or("no figure")?.parse::<u64>()? / 1_024)
}
