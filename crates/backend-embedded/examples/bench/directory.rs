//! The directory: fresh import in any order, upsert, look-up.

use backend::Backend;
use model::runtime::mix;
use model::{Device, Platform, Timestamp};

use crate::meter::Meter;

/// Devices of one call.
const BATCH: u64 = 10_000;

/// Half APNs, half FCM, three devices for two users, users in no order.
fn device(number: u64, registered_at: u64) -> Device {
    let user = mix(number * 2 / 3);
    let (platform, key) = if number.is_multiple_of(2) {
        let (a, b) = (mix(number), mix(number + 1));
        (Platform::Apns, format!("{a:016x}{b:016x}{:016x}{:016x}", a ^ 1, b ^ 1))
    } else {
        let text = format!("{:016x}", mix(number));
        (Platform::Fcm, format!("{}:APA91b{}", &text.repeat(2)[..22], &text.repeat(9)[..134]))
    };
    let (locale, market) =
        [("en-US", "us"), ("pt-BR", "br"), ("de", "de"), ("ja", "jp")][(user % 4) as usize];
    Device {
        user: format!("{user:020}"),
        platform,
        key,
        app: "org.example.app".into(),
        locale: locale.into(),
        market: market.into(),
        registered_at: Timestamp::from_secs(1_700_000_000 + registered_at),
    }
}

pub(crate) async fn run(backend: &Backend, devices: u64) {
    make(devices);
    import(backend, devices, 0, "devices imported, fresh").await;
    import(backend, devices, 0, "devices imported again, unchanged").await;
    import(backend, devices, 1, "devices imported again, changed").await;
    look_up(backend, devices).await;
}

async fn import(backend: &Backend, devices: u64, registered_at: u64, what: &str) {
    let meter = Meter::start();
    for start in (0..devices).step_by(BATCH as usize) {
        let end = (start + BATCH).min(devices);
        // Made in batches, so that the benchmark needs little memory.
        let batch: Vec<Device> = (start..end).map(|number| device(number, registered_at)).collect();
        backend.directory.import(batch).await.unwrap();
    }
    meter.stop(what, devices);
}

/// What the benchmark itself spends on each device.
fn make(devices: u64) {
    let meter = Meter::start();
    for start in (0..devices).step_by(BATCH as usize) {
        let batch: Vec<Device> =
            (start..(start + BATCH).min(devices)).map(|number| device(number, 0)).collect();
        drop(std::hint::black_box(batch));
    }
    meter.stop("devices made (in each of the following)", devices);
}

async fn look_up(backend: &Backend, devices: u64) {
    let users = devices * 2 / 3;
    let meter = Meter::start();
    let mut found = 0;
    // In an order that has nothing to do with that of the import.
    let step = 1_000_003;
    let mut at = 0;
    for start in (0..users).step_by(BATCH as usize) {
        let batch: Vec<String> = (start..(start + BATCH).min(users))
            .map(|_| {
                at = (at + step) % users;
                format!("{:020}", mix(at))
            })
            .collect();
        found +=
            backend.directory.devices(&batch).await.unwrap().iter().filter(|one| !one.is_empty()).count();
    }
    meter.stop("users looked up", users);
    assert!(found as u64 >= users - 1);
}

/// A process that uses the directory for the first time reads the log.
pub(crate) async fn first_use(backend: &Backend, devices: u64) {
    let meter = Meter::start();
    let (users, _) = backend.directory.count().await.unwrap();
    meter.stop("devices read at first use", devices);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    println!("{users} users; two indices in memory; {resident}");
}
