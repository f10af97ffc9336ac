//! What trials of the service ask of a demo besides what it shows: other flags for the simulators, devices of one provider,
//! shorter deadlines. `cargo xtask faults` is built on it.

use std::time::Duration;

use clap::Args;
use model::Platform;

use crate::config::Config;
use crate::sim::Provider;

/// Trials.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Trials of the service")]
pub(crate) struct Trials {
    /// All devices are of this provider; half of them are iPhones when absent.
    #[arg(long, value_enum, value_name = "PROVIDER")]
    platform: Option<Provider>,
    /// More flags of `fanfare sim` for the APNs simulator, separated by spaces; they outrank the demo's own.
    #[arg(long, default_value = "", allow_hyphen_values = true, value_name = "FLAGS")]
    sim_apns: String,
    /// The same for the FCM simulator.
    #[arg(long, default_value = "", allow_hyphen_values = true, value_name = "FLAGS")]
    sim_fcm: String,
    /// The simulators are called by this name instead of their address.
    #[arg(long, value_name = "NAME")]
    sim_host: Option<String>,
    /// How long a request may go without an answer, in whole seconds; as the service is configured when absent.
    #[arg(long, value_name = "TIME", value_parser = whole_seconds)]
    answer_within: Option<Duration>,
    /// How long preparing may come to a standstill.
    #[arg(long, default_value = "120s", value_parser = crate::sim::duration, value_name = "TIME")]
    pub(crate) patience: Duration,
}

impl Trials {
    /// The provider of all devices, if there is only one.
    pub(crate) fn platform(&self) -> Option<Platform> {
        self.platform.map(Platform::from)
    }

    /// More flags for the simulator of `platform`.
    pub(crate) fn flags(&self, platform: Platform) -> impl Iterator<Item = String> + '_ {
        let flags = match platform {
            Platform::Apns => &self.sim_apns,
            Platform::Fcm => &self.sim_fcm,
        };
        flags.split_whitespace().map(str::to_owned)
    }

    /// Makes the installation one of the trial; called once the simulators' addresses stand in it.
    pub(crate) fn configure(&self, config: &mut Config) {
        if let Some(host) = &self.sim_host {
            for endpoint in [&mut config.apns.endpoint, &mut config.fcm.endpoint] {
                let port = endpoint.rsplit_once(':').map_or("443", |(_, port)| port);
                *endpoint = format!("{host}:{port}");
            }
        }
        if let Some(within) = self.answer_within {
            config.worker.answer_s_max = within.as_secs();
        }
    }
}

fn whole_seconds(text: &str) -> Result<Duration, String> {
    let time = crate::sim::duration(text)?;
    let is_whole = time.subsec_nanos() == 0 && !time.is_zero();
    is_whole.then_some(time).ok_or_else(|| "has to be whole seconds, at least one, for example 2s".to_owned())
}
