//! `fanfare demo`: the whole flow on one machine, through HTTP only, with proof: what the simulators received is
//! compared with what the records say.

mod account;
pub(crate) mod client;
mod go;
mod kill;
mod plot;
pub(crate) mod population;
pub(crate) mod preparation;
mod progress;
mod proof;
mod run;
mod service;
mod stages;
mod summary;
mod trials;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

pub(crate) use kill::Kill;

/// Show the whole flow on this machine.
#[derive(Args, Clone, Debug)]
pub(crate) struct Demo {
    /// Devices to reach, half of them iPhones.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=50_000_000))]
    pub(crate) devices: u64,
    /// Decides people, keys and faults.
    #[arg(long, default_value_t = 42)]
    pub(crate) seed: u64,
    /// End with one JSON object on standard output; everything else goes to standard error.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print where the time went: press, write, FIFO, plan, enqueue, claim, first byte, last answer.
    #[arg(long)]
    pub(crate) trace_stages: bool,
    /// Kill a role (api, resolver, dispatcher, worker) this long after the press and start it again; roles become processes.
    #[arg(long, value_name = "ROLE@TIME")]
    pub(crate) kill: Vec<Kill>,
    /// Falsify the simulators' account: 1 hides an arrival, -1 counts one twice. The demo must notice.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_name = "N")]
    pub(crate) sim_miscount: i64,
    /// How strictly the simulators judge requests: fast, or validating, which checks each as the provider would and is
    /// for some thousand devices. What they find breaks the demo.
    #[arg(long, default_value = "fast", value_parser = crate::sim::mode, value_name = "MODE")]
    pub(crate) sim_mode: provider_sim::config::Mode,
    /// Time to an APNs answer.
    #[arg(long, default_value = "60ms", value_parser = crate::sim::duration)]
    pub(crate) apns_latency: Duration,
    /// Time to an FCM answer.
    #[arg(long, default_value = "100ms", value_parser = crate::sim::duration)]
    pub(crate) fcm_latency: Duration,
    /// Connections to APNs, 1,000 streams each.
    #[arg(long, value_name = "N")]
    pub(crate) apns_connections: Option<u32>,
    /// Connections to FCM, 100 streams each.
    #[arg(long, value_name = "N")]
    pub(crate) fcm_connections: Option<u32>,
    /// Messages per minute that the FCM simulator grants, which the demo declares; what the campaign needs when absent.
    /// Less than that stretches the launch over minutes.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) fcm_quota: Option<u64>,
    /// Sending threads of the worker.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) threads: Option<u32>,
    /// Wait for the retries of passing errors, which takes a quarter of an hour: Apple asks for it.
    #[arg(long)]
    pub(crate) late_retries: bool,
    /// Share of devices whose app is gone.
    #[arg(long, default_value_t = 0.01, value_name = "SHARE", value_parser = share)]
    pub(crate) dead: f64,
    /// Share of requests that a provider answers with a passing error.
    #[arg(long, default_value_t = 0.001, value_name = "SHARE", value_parser = share)]
    pub(crate) errors: f64,
    /// Keep the installation in this folder instead of a temporary one.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
    // Last: its heading holds for whatever stands behind it.
    #[command(flatten)]
    pub(crate) trials: trials::Trials,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("a share is from 0 to 1".into()) }
}

impl Demo {
    /// Connections to each provider: what full size needs, or fewer when there is less to send.
    fn connections(&self) -> [u32; 2] {
        let scaled = |full: u64, least: u64| (full * self.devices / 2_000_000).clamp(least, full) as u32;
        [self.apns_connections.unwrap_or(scaled(240, 40)), self.fcm_connections.unwrap_or(scaled(1_500, 250))]
    }

    /// Runs the demo; `false` when an invariant is broken.
    pub(crate) fn run(self) -> Result<bool> {
        run::run(self)
    }
}
