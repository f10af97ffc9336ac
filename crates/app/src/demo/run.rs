//! The demo from its start to its verdict.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use model::runtime::Clock;
use model::{Platform, Timestamp};
use provider_sim::config::Mode;
use report::text::thousands;
use tempfile::TempDir;

use super::Demo;
use super::client::Client;
use super::go::Marketers;
use super::population::Population;
use super::preparation::{Engineer, Prepared, Worker};
use super::proof::Auditor;
use super::service::Shown;
use super::stages;
use super::summary::{Measured, Summary, proof};
use crate::config::Config;
use crate::roles::Stop;
use crate::runtime::SystemClock;
use crate::simulators::{Simulator, Simulators};
use crate::{machine, telemetry};

/// Late retries when they are waited for.
const LATE_RETRIES: u8 = 2;
/// Devices registered so long ago that no simulator takes one of them for registered anew.
const REGISTERED_BEFORE: Duration = Duration::from_secs(90 * 24 * 3_600);
/// Messages that warm up a connection to FCM or are sent again count against its quota, too.
const QUOTA_MARGIN: u64 = 10_000;

pub(super) fn run(demo: Demo) -> Result<bool> {
    let mut config = Config::default();
    config.log.filter = std::env::var("FANFARE_LOG__FILTER").unwrap_or_else(|_| "error".to_owned());
    let config = config.checked()?;
    telemetry::start(&config.log);
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    tokio.block_on(async {
        let mut stop = Stop::new(false)?;
        tokio::select! {
            shown = Box::pin(show(demo, config)) => shown,
            // What was begun is dropped: simulators and roles end, a temporary folder goes.
            why = stop.wait() => bail!("stopped by {why}"),
        }
    })
}

/// Where the demo keeps its installation; gone afterwards unless somebody named a folder.
struct Home {
    path: PathBuf,
    _temporary: Option<TempDir>,
}

impl Home {
    fn new(folder: Option<&PathBuf>) -> Result<Self> {
        if let Some(folder) = folder {
            let named = || format!("--folder {}", folder.display());
            std::fs::create_dir_all(folder).with_context(named)?;
            if std::fs::read_dir(folder).with_context(named)?.next().is_some() {
                bail!(
                    "--folder {} is not empty: a demo counts everything that it finds there",
                    folder.display()
                );
            }
            return Ok(Self { path: folder.clone(), _temporary: None });
        }
        let temporary =
            tempfile::Builder::new().prefix("fanfare-demo-").tempdir().context("temporary folder")?;
        Ok(Self { path: temporary.path().to_owned(), _temporary: Some(temporary) })
    }
}

async fn show(demo: Demo, mut config: Config) -> Result<bool> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let home = Home::new(demo.folder.as_ref())?;
    let day = clock.now().as_secs() / 86_400 * 86_400;
    let registered_at = Timestamp::from_secs(day) - REGISTERED_BEFORE;
    let population = demo.population(registered_at);
    let [apns, fcm] = demo.connections();
    eprintln!(
        "Fanfare demo: {} devices, {} of them iPhones; nothing reaches a phone.\n",
        thousands(demo.devices),
        thousands(population.of(Platform::Apns))
    );

    let simulators = Simulators::start(&demo.apns_flags(population), &demo.fcm_flags(population))?;
    simulators.configure(&mut config, &home.path)?;
    demo.configure(&mut config, &home.path, [apns, fcm]);
    demo.trials.configure(&mut config);
    let (shown, address) = Shown::start(config.clone().checked()?, &home.path, !demo.kill.is_empty()).await?;
    let client = Client::new(&format!("http://{address}"), "eve", Arc::clone(&clock))?;

    let late_retries_max = if demo.late_retries { LATE_RETRIES } else { 0 };
    let patience = demo.trials.patience;
    let engineer = Engineer { client: client.clone(), clock: Arc::clone(&clock), population, patience };
    let prepared = engineer.prepare(Some(demo.quota(population)), late_retries_max).await?;

    let (sims_before, cpu_before) = (cpu_of(&simulators)?, shown.cpu_us());
    let marketers = Marketers {
        ann: client.acting_as("ann")?,
        bob: client.acting_as("bob")?,
        clock: Arc::clone(&clock),
        campaign: prepared.campaign.clone(),
    };
    machine::forget_peak();
    let gone = marketers.go(&demo.kill, shown.processes()).await?;
    let process_peak_bytes = machine::peak_bytes();
    let cpu_us = cpu_before.zip(shown.cpu_us()).map(|(before, after)| after - before);
    let sims_after = cpu_of(&simulators)?;
    let workers: Vec<Worker> = client.get("/v1/workers").await?;
    let most = |bytes: &dyn Fn(&Worker) -> u64| workers.iter().map(bytes).max().unwrap_or(0);
    let path = format!("/v1/launches/{}/stages", gone.launch);
    let measured = Measured {
        cpu_us,
        sim_cpu_us: [
            sims_after[0].saturating_sub(sims_before[0]),
            sims_after[1].saturating_sub(sims_before[1]),
        ],
        map_resident_bytes: most(&|worker| worker.snapshot_bytes),
        process_resident_bytes: most(&|worker| worker.resident_bytes),
        process_peak_bytes,
        stages: client.get(&path).await?,
        sim_connections: [connections_of(&simulators.apns)?, connections_of(&simulators.fcm)?],
    };

    let has_late_retries = demo.late_retries;
    let auditor = Auditor { client, clock, population, has_late_retries, folder: &home.path };
    let evidence = auditor.examine(&gone, &simulators).await?;
    shown.stop().await?;
    simulators.stop()?;
    tell(&demo, &prepared, &gone, measured, &evidence)?;
    Ok(evidence.broken.is_empty() && evidence.faults_found.is_empty())
}

/// Prints the report and the proof; with `--json` to standard error, and one JSON object to standard output.
fn tell(
    demo: &Demo,
    prepared: &Prepared,
    gone: &super::go::Gone,
    measured: Measured,
    evidence: &super::proof::Evidence,
) -> Result<()> {
    let summary = Summary::new(demo, prepared, gone, measured, evidence);
    let mut text = format!("\n{}\n{}", evidence.text, proof(demo, gone, &summary, evidence));
    if demo.trace_stages {
        text.push_str(&format!("\n{}", stages::table(summary.stages())));
    }
    if demo.json {
        eprint!("{text}");
        println!("{}", serde_json::to_string(&summary)?);
    } else {
        print!("{text}");
    }
    Ok(())
}

/// CPU of the simulators so far, in microseconds: APNs, FCM.
fn cpu_of(simulators: &Simulators) -> Result<[u64; 2]> {
    let cpu_us = |simulator: &Simulator| anyhow::Ok(simulator.control()?.stats()?.cpu_us);
    Ok([cpu_us(&simulators.apns)?, cpu_us(&simulators.fcm)?])
}

/// What happened to the connections of a simulator so far.
fn connections_of(simulator: &Simulator) -> Result<provider_sim::Connections> {
    Ok(simulator.control()?.stats()?.connections)
}

impl Demo {
    fn population(&self, registered_at: Timestamp) -> Population {
        let only = self.trials.platform();
        Population { seed: self.seed, devices: self.devices, registered_at, only }
    }

    /// Messages per minute that the FCM simulator grants.
    fn quota(&self, population: Population) -> u64 {
        let devices = population.of(Platform::Fcm);
        self.fcm_quota.unwrap_or(devices + devices / 10 + QUOTA_MARGIN)
    }

    fn apns_flags(&self, population: Population) -> Vec<String> {
        let errors = ("ServiceUnavailable", self.apns_latency);
        let mut flags = self.flags(errors, population.of(Platform::Apns));
        flags.extend(["--streams", "1000", "--one-stream-until-valid", "true"].map(str::to_owned));
        // Negative numbers are falsified accounts too, hence the form with `=`.
        flags.push(format!("--miscount={}", self.sim_miscount));
        flags.extend(self.trials.flags(Platform::Apns));
        flags
    }

    fn fcm_flags(&self, population: Population) -> Vec<String> {
        let mut flags = self.flags(("UNAVAILABLE", self.fcm_latency), population.of(Platform::Fcm));
        flags.extend([
            "--streams".to_owned(),
            "100".to_owned(),
            "--quota".to_owned(),
            self.quota(population).to_string(),
        ]);
        flags.extend(self.trials.flags(Platform::Fcm));
        flags
    }

    /// What both simulators are told: who is dead, how many requests find a provider that is busy, and when answers come.
    fn flags(&self, (busy, latency): (&str, Duration), devices: u64) -> Vec<String> {
        let mode = match self.sim_mode {
            Mode::Fast => "fast",
            Mode::Validating => "validating",
        };
        let pairs = [
            ("--mode", mode.to_owned()),
            ("--seed", self.seed.to_string()),
            ("--dead-seed", self.seed.to_string()),
            ("--dead", self.dead.to_string()),
            ("--shares", format!("{busy}={}", self.errors)),
            ("--latency", format!("{}us", latency.as_micros())),
            ("--expect", (devices + devices / 10 + 1_000).to_string()),
        ];
        pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
    }

    /// An installation for the demo alone, in `folder`.
    fn configure(&self, config: &mut Config, folder: &Path, [apns, fcm]: [u32; 2]) {
        config.backend.folder = folder.join("installation");
        config.api.listen = ([127, 0, 0, 1], 0).into();
        config.apns.connections = apns;
        config.fcm.connections = fcm;
        // A simulator takes nobody for an attacker.
        config.worker.open_spacing_ms = 0;
        if let Some(threads) = self.threads {
            config.worker.threads = threads;
        }
    }
}
