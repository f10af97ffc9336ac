//! From the configuration to the settings of each role.

use std::sync::Arc;
use std::time::Duration;

use model::ShardSizes;
use model::retention::Periods;
use model::runtime::Runtime;
use push::{EngineConfig, Live, Outside, PoolConfig};
use worker::{Machine, Sending};

use crate::config::Config;
use crate::machine;
use crate::providers::App;

/// Files that a process keeps open besides its provider connections: database, snapshots, uploads, callers of the API.
const OTHER_FILES: u64 = 500;

/// Files that a process with these apps needs.
pub(super) fn open_files(apps: &[App]) -> u64 {
    let connections: u64 = apps.iter().map(|app| u64::from(app.connections + 1)).sum();
    connections + OTHER_FILES
}

pub(super) fn api(config: &Config) -> api::Config {
    let mut hosts = api::Config::default().hosts;
    let listen = match config.api.listen {
        std::net::SocketAddr::V4(address) => address.ip().to_string(),
        std::net::SocketAddr::V6(address) => format!("[{}]", address.ip()),
    };
    if !hosts.contains(&listen) {
        hosts.push(listen);
    }
    api::Config {
        upload_bytes_max: config.api.upload_bytes_max,
        idle: Duration::from_secs(config.api.idle_s_max),
        retention: periods(config),
        uploads_max: usize::try_from(config.uploads.at_once_max).unwrap_or(usize::MAX),
        sizes: ShardSizes {
            apns: config.dispatcher.shard_devices_apns,
            fcm: config.dispatcher.shard_devices_fcm,
            slices_max: config.dispatcher.slices_max,
        },
        hosts,
        installation: config.installation.kind.name().to_owned(),
        ..api::Config::default()
    }
}

fn periods(config: &Config) -> Periods {
    Periods {
        uploads: days(config.retention.uploads_days),
        parts: Duration::from_secs(config.uploads.age_s_max),
        exports: days(config.retention.exports_days),
        inquiries: days(config.retention.inquiries_days),
        snapshots: days(config.retention.snapshots_days),
    }
}

fn days(number: u32) -> Duration {
    Duration::from_secs(u64::from(number) * 24 * 3_600)
}

pub(super) fn resolver(config: &Config) -> audience::Config {
    let periods = periods(config);
    audience::Config {
        build_bytes_max: usize::try_from(config.resolver.build_bytes_max).unwrap_or(usize::MAX),
        uploads_kept: periods.uploads,
        exports_kept: periods.exports,
        inquiries_kept: periods.inquiries,
        snapshots_kept: periods.snapshots,
        limits: limits(config),
        ..audience::Config::default()
    }
}

/// What an upload may be.
pub(crate) fn limits(config: &Config) -> audience::Limits {
    let uploads = &config.uploads;
    audience::Limits {
        line_bytes_max: usize::try_from(uploads.line_bytes_max).unwrap_or(usize::MAX),
        columns_max: usize::try_from(uploads.columns_max).unwrap_or(usize::MAX),
        rows_max: uploads.rows_max,
        unpacked_bytes_max: uploads.unpacked_bytes_max,
        ratio_max: uploads.unpacked_ratio_max,
        bad_rows_listed_max: uploads.bad_rows_listed_max,
        left_out_listed_max: uploads.left_out_listed_max,
        late_list_max: uploads.late_list_max,
        ..audience::Limits::default()
    }
}

pub(super) fn dispatcher(config: &Config, runtime: &Runtime) -> dispatcher::Config {
    dispatcher::Config {
        attempts_max: config.dispatcher.attempts_max,
        fcm_quota: fcm_quota(config),
        ..dispatcher::Config::new(name("dispatcher", runtime))
    }
}

pub(super) fn worker(config: &Config, runtime: &Runtime) -> worker::Config {
    worker::Config {
        attempts_max: config.dispatcher.attempts_max,
        fcm_quota: fcm_quota(config),
        drain: Duration::from_secs(config.worker.drain_s_max),
        ..worker::Config::new(name("worker", runtime), env!("CARGO_PKG_VERSION"))
    }
}

/// Of an FCM project whose quota nobody declared.
fn fcm_quota(config: &Config) -> Option<u64> {
    let undeclared = config.dispatcher.fcm_quota_undeclared;
    (undeclared > 0).then_some(undeclared)
}

/// A name unique to the process: one that starts again starts another.
fn name(role: &str, runtime: &Runtime) -> String {
    format!("{role}-{:08x}", runtime.randomness.u64() as u32)
}

pub(super) fn sending(config: &Config, runtime: &Runtime, apps: Vec<App>) -> Sending<Live> {
    let mut engine = EngineConfig {
        threads: config.worker.threads as usize,
        answer_within: Duration::from_secs(config.worker.answer_s_max),
        ..EngineConfig::default()
    };
    engine.driver.ready_within = Duration::from_secs(config.worker.connect_s_max);
    let open_spacing = Duration::from_millis(config.worker.open_spacing_ms);
    let pools = apps.into_iter().map(|app| {
        let pool = PoolConfig { open_spacing, ..PoolConfig::new(app.platform, app.connections) };
        (app.target, pool)
    });
    Sending { engine, outside: Outside::new(runtime.clone()), pools: pools.collect() }
}

pub(super) fn machine() -> Arc<dyn Machine> {
    Arc::new(ThisMachine)
}

struct ThisMachine;

impl Machine for ThisMachine {
    /// With the embedded backend every process of the installation reads the clock of the same kernel: whatever that
    /// clock's distance from true time, no two of them disagree.
    fn clock_error(&self) -> Duration {
        Duration::ZERO
    }

    fn resident_bytes(&self) -> u64 {
        machine::resident_bytes()
    }
}
