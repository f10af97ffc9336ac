//! Measures the engine against a fast simulator in a process of its own:
//! `cargo run --release -p push --example burst -- provider=apns devices=3000000 connections=240 latency_ms=60`

#![allow(clippy::unwrap_used, reason = "a benchmark stops at the first thing that is not as it should be")]

#[path = "../tests/engine/outside.rs"]
mod outside;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use model::runtime::Clock;
use model::{Class, LaunchId, OnUnknown, Platform};
use outside::{MadeUp, message, runtime};
use provider_sim::Ready;
use push::{
    Credential, Endpoint, Engine, EngineConfig, GroupMessage, Installation, LaunchGate, Live, Outside, Pool,
    PoolConfig, ShardDone, ShardWork, Target, Trust,
};

fn argument(name: &str) -> Option<String> {
    let prefix = format!("{name}=");
    std::env::args().find_map(|argument| argument.strip_prefix(&prefix).map(str::to_owned))
}

fn number(name: &str, default: u64) -> u64 {
    argument(name).map_or(default, |value| value.parse().unwrap())
}

fn platform() -> Platform {
    argument("provider").map_or(Platform::Apns, |name| name.parse().unwrap())
}

fn main() {
    if std::env::args().any(|argument| argument == "sim") { simulate() } else { measure() }
}

fn simulate() {
    let mut config = provider_sim::Config::of(platform());
    config.latency.base = Duration::from_millis(number("latency_ms", 0));
    config.limits.streams = number("streams", config.limits.streams.into()) as u32;
    config.requests_expected = number("devices", 1_000_000) as usize * 2;
    config.exit_when_stdin_closes = true;
    provider_sim::run(config, &mut std::io::stdout()).unwrap();
}

/// Ends with its standard input, thus with this process.
fn start_simulator() -> (Child, Ready) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("sim").args(std::env::args().skip(1)).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, serde_json::from_str(&line).unwrap())
}

fn open(
    engine: &Engine<MadeUp, impl push::Listener>,
    ready: &Ready,
    randomness: &dyn model::runtime::Randomness,
) -> Pool<Live> {
    let endpoint = Endpoint { host: "127.0.0.1".into(), port: ready.address.port() };
    let trust = Trust::Simulator(ready.ca_pem.as_bytes().to_vec());
    let target = Target::live(
        Installation::Simulated,
        platform(),
        "org.example.app",
        endpoint,
        &trust,
        &Credential::ThrowAway,
        randomness,
    );
    let usual = PoolConfig::new(platform(), number("connections", 8) as u32);
    let config = PoolConfig {
        open_spacing: Duration::ZERO,
        opening_max: 64,
        doubtful_connections: 0,
        devices_max: u32::MAX,
        streams_max: number("streams", usual.streams_max.into()) as u32,
        ..usual
    };
    engine.open(target.unwrap(), config).unwrap()
}

fn group_message(pool: &Pool<Live>) -> GroupMessage<Live> {
    let (apns, fcm) = message();
    match platform() {
        Platform::Apns => pool.apns_message(LaunchId(1 << 64), &apns).unwrap(),
        Platform::Fcm => pool.fcm_message(&fcm, 3_600).unwrap(),
    }
}

fn measure() {
    let (mut child, ready) = start_simulator();
    let runtime = runtime();
    let (clock, randomness) = (Arc::clone(&runtime.clock), Arc::clone(&runtime.randomness));
    let (sender, done) = channel();
    let sender = std::sync::Mutex::new(sender);
    let listener = move |shard: ShardDone| sender.lock().unwrap().send(shard).unwrap();
    let mut config = EngineConfig { threads: number("threads", 1) as usize, ..EngineConfig::default() };
    config.driver.round_at_least = Duration::from_micros(number("round_us", 0));
    config.driver.write_bytes = number("write_bytes", config.driver.write_bytes as u64) as usize;
    let engine = Engine::start(config, Outside::new(runtime), listener).unwrap();
    let pool = open(&engine, &ready, &*randomness);
    let connections = number("connections", 8) as u32;
    while pool.status().warm < connections {
        std::thread::yield_now();
    }
    for _ in 0..number("rounds", 3) {
        burst(&engine, &pool, &*clock, &done);
    }
    engine.stop(Duration::ZERO);
    engine.join();
    drop(child.stdin.take());
    child.wait().unwrap();
}

fn burst(
    engine: &Engine<MadeUp, impl push::Listener>,
    pool: &Pool<Live>,
    clock: &dyn Clock,
    done: &Receiver<ShardDone>,
) {
    let devices = number("devices", 1_000_000) as u32;
    let size = number("shard", 2_000) as u32;
    let message = group_message(pool);
    let gate = LaunchGate::new(clock.monotonic() + Duration::from_secs(600));
    gate.permit(clock.monotonic() + Duration::from_secs(600));
    let (began, cpu_began) = (clock.monotonic(), cpu_us());
    let mut shards = 0;
    for first in (0..devices).step_by(size as usize) {
        let keys =
            MadeUp { platform: platform(), first, count: size.min(devices - first), has_unusable: false };
        let work = ShardWork {
            id: u64::from(first),
            message: message.clone(),
            keys,
            launch: gate.clone(),
            lease_until: Arc::new(AtomicU64::new(u64::MAX)),
            is_taken_over: false,
            is_doubtful: false,
            on_unknown: OnUnknown::ResendOnce,
            pressed: began,
        };
        engine.submit(work).unwrap();
        shards += 1;
    }
    let shards: Vec<ShardDone> = (0..shards).map(|_| done.recv().unwrap()).collect();
    let cpu = cpu_us() - cpu_began;
    report(devices, &shards, cpu, clock.monotonic().since(began));
}

fn report(devices: u32, shards: &[ShardDone], cpu_us: u64, elapsed: Duration) {
    let outcomes = shards.iter().flat_map(|shard| &shard.outcomes);
    let accepted = outcomes.filter(|outcome| outcome.class() == Class::Accepted).count();
    let mut answered: Vec<u32> = shards.iter().flat_map(|shard| shard.answered_us.iter().copied()).collect();
    answered.sort_unstable();
    let at = |share: f64| f64::from(answered[((answered.len() - 1) as f64 * share) as usize]) / 1_000.0;
    println!(
        "{devices} devices, {accepted} accepted, {:.3} s, {:.0}/s, {:.3} us cpu per device, p50 {:.0} p95 {:.0} p99 {:.0} last {:.0} ms",
        elapsed.as_secs_f64(),
        f64::from(devices) / elapsed.as_secs_f64(),
        cpu_us as f64 / f64::from(devices),
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0),
    );
}

/// User and system time of this process.
fn cpu_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}
