//! `fanfare bench push`: the worker's real sending path, its engine, templates, pools and answers, against any HTTP/2
//! server that takes POST requests. It sends with throw-away keys and refuses providers' hosts: no phone can be reached.

mod figures;
mod keys;
mod request;
mod setup;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use model::runtime::{Clock, Runtime};
use model::{OnUnknown, Platform};
use push::{
    Credential, Engine, EngineConfig, Installation, LaunchGate, Listener, Live, Outside, Pool, PoolConfig,
    ShardDone, ShardWork, Target, Trust,
};

use self::figures::{Figures, Tally};
use self::keys::MadeUpKeys;
pub(crate) use self::request::Request;
use crate::sim::Provider;
use crate::{machine, providers, runtime};

/// Files that the process opens besides its connections.
const OTHER_FILES: u64 = 64;
/// A pool that gains no connection for this long is taken as it is.
const OPENING_PATIENCE: Duration = Duration::from_secs(12);
/// How often a pool that opens is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The benchmark is given up after this.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);
/// Devices in a shard, as a launch cuts them.
const SHARD_DEVICES_MAX: u64 = 2_000;

/// Measure the sending path.
#[derive(Args)]
pub(crate) struct PushBench {
    /// Which provider's requests to send.
    #[arg(long, value_enum)]
    provider: Provider,
    /// The server: a name or an address, and a port.
    #[arg(long, value_name = "HOST:PORT")]
    endpoint: String,
    /// The authority that vouches for the server, or the server's own certificate (PEM).
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// Devices to send to, one request each.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    devices: u64,
    /// Different devices; after so many the same come again. As many as there are requests when absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    distinct: Option<u64>,
    /// Connections, over all threads.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Requests at once on a connection; the server's own limit counts if it is lower. The provider's usual number when
    /// absent: 1,000 for APNs, 100 for FCM.
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    streams: Option<u32>,
    /// What the server's answers may keep in a header table on our side. The provider's usual number when absent.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(..=65_536))]
    header_table_bytes: Option<u32>,
    /// Sending threads.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// Bytes of a request's body; the usual message of the demo when absent.
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u64).range(150..=4_096))]
    body_bytes: Option<u64>,
    /// How far apart rounds of reading begin while answers come one by one; 0 reads each as it comes.
    #[arg(long, value_name = "TIME", default_value = "500us", value_parser = crate::sim::duration)]
    tick: Duration,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// Hands finished shards to the thread that counts.
struct Outbox(Sender<ShardDone>);

impl Listener for Outbox {
    fn done(&self, shard: ShardDone) {
        // Nobody counts any more once the benchmark has failed.
        let _ = self.0.send(shard);
    }
}

/// The sending path, ready.
struct Rig {
    engine: Engine<MadeUpKeys, Outbox>,
    pool: Pool<Live>,
    done: Receiver<ShardDone>,
    clock: Arc<dyn Clock>,
    platform: Platform,
}

impl PushBench {
    /// Runs it; false when a request was not answered.
    pub(crate) fn run(&self) -> Result<bool> {
        machine::raise_open_files(u64::from(self.connections) + OTHER_FILES)?;
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let _inside = tokio.enter();
        let runtime = runtime::real();
        let rig = self.open(&runtime)?;
        let connections = tokio.block_on(rig.wait_for_connections())?;
        if connections < self.connections {
            let error = rig.pool.status().last_error.unwrap_or_default();
            eprintln!("only {connections} of {} connections could be opened: {error}", self.connections);
        }
        let figures = self.burst(&rig)?;
        if !figures.is_all_answered() {
            eprintln!("not every request was answered: {}", figures.missing());
        }
        if self.json {
            println!("{}", serde_json::to_string(&figures)?);
        } else {
            print!("{}", figures.table());
        }
        Ok(figures.is_all_answered())
    }

    fn streams_max(&self, platform: Platform) -> u32 {
        self.streams.unwrap_or(PoolConfig::new(platform, 1).streams_max)
    }

    fn open(&self, runtime: &Runtime) -> Result<Rig> {
        let platform = Platform::from(self.provider);
        let ca = std::fs::read(&self.ca).with_context(|| self.ca.display().to_string())?;
        let endpoint = providers::parse_endpoint(&self.endpoint).context("--endpoint")?;
        let target = Target::live(
            Installation::Simulated,
            platform,
            setup::app(platform),
            endpoint,
            &Trust::Simulator(ca),
            &Credential::ThrowAway,
            &*runtime.randomness,
        )?;
        let mut pool = PoolConfig::new(platform, self.connections);
        pool.streams_max = self.streams_max(platform);
        pool.header_table_bytes = self.header_table_bytes.unwrap_or(pool.header_table_bytes);
        pool.doubtful_connections = 0;
        // Nobody at the other end takes quick opening for an attack.
        pool.open_spacing = Duration::ZERO;
        pool.devices_max = u32::MAX;
        let mut config = EngineConfig { threads: usize::from(self.threads), ..EngineConfig::default() };
        config.driver.round_at_least = self.tick;
        let (outbox, done) = channel();
        let engine = Engine::start(config, Outside::new(runtime.clone()), Outbox(outbox))?;
        let pool = engine.open(target, pool)?;
        Ok(Rig { engine, pool, done, clock: Arc::clone(&runtime.clock), platform })
    }

    /// Sends everything, never having more devices in the engine than the connections can carry and a little more, and
    /// counts what comes back.
    fn burst(&self, rig: &Rig) -> Result<Figures> {
        let message = setup::message(&rig.pool, rig.platform, self.body_bytes, rig.clock.now())?;
        let gate = LaunchGate::new(rig.clock.monotonic() + LONGEST);
        gate.permit(rig.clock.monotonic() + LONGEST);
        let most = u64::from(rig.pool.status().connections) * u64::from(self.streams_max(rig.platform));
        let shard_devices = (most / 4).clamp(50, SHARD_DEVICES_MAX);

        let setup_cpu_us = machine::cpu_us();
        let mut tally = Tally::default();
        let (mut submitted, mut finished) = (0, 0);
        while finished < self.devices {
            // What the server allows may change at any time: APNs takes one request at once until the first was good.
            let streams = u64::from(rig.pool.status().streams_total);
            let window = streams + streams / 8 + u64::from(self.threads) * shard_devices;
            while submitted < self.devices && submitted - finished + shard_devices <= window {
                let keys = MadeUpKeys {
                    platform: rig.platform,
                    first: submitted,
                    count: shard_devices.min(self.devices - submitted) as u32,
                    distinct: self.distinct.unwrap_or(u64::MAX),
                };
                submitted += u64::from(keys.count);
                let work = ShardWork {
                    id: keys.first,
                    message: message.clone(),
                    keys,
                    launch: gate.clone(),
                    lease_until: Arc::new(AtomicU64::new(u64::MAX)),
                    is_taken_over: false,
                    is_doubtful: false,
                    on_unknown: OnUnknown::Leave,
                    pressed: rig.clock.monotonic(),
                };
                if rig.engine.submit(work).is_err() {
                    bail!("the sending engine took no more shards");
                }
            }
            let shard = rig.done.recv().context("the sending threads ended")?;
            finished += shard.outcomes.len() as u64;
            tally.take(&shard);
        }
        Ok(tally.figures(setup_cpu_us, machine::cpu_us()))
    }
}

impl Rig {
    /// Waits until every connection works, or until no more come; how many there are.
    async fn wait_for_connections(&self) -> Result<u32> {
        let (mut most, mut since) = (0, self.clock.monotonic());
        loop {
            let status = self.pool.status();
            if status.warm >= status.wanted {
                return Ok(status.warm);
            }
            if status.warm > most {
                (most, since) = (status.warm, self.clock.monotonic());
            }
            if self.clock.monotonic().since(since) > OPENING_PATIENCE {
                let error = status.last_error.unwrap_or_else(|| "no reason is known".to_owned());
                return if status.warm > 0 {
                    Ok(status.warm)
                } else {
                    bail!("no connection to {}: {error}", status.endpoint)
                };
            }
            self.clock.sleep(LOOK_EVERY).await;
        }
    }
}
