//! The two simulators of a simulated installation, as child processes of this one.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result};
use model::Platform;
use provider_sim::{Control, Ready};

use crate::children::Child;
use crate::config::{Config, InstallationKind};
use crate::demo::population::{PROJECT, TOPIC};

/// A running simulator.
pub(crate) struct Simulator {
    child: Child,
    ready: Ready,
}

impl Simulator {
    /// Starts one with the flags of `fanfare sim`.
    fn start(platform: Platform, flags: &[String]) -> Result<Self> {
        let mut arguments: Vec<OsString> =
            vec!["sim".into(), platform.name().into(), "--exit-when-stdin-closes".into()];
        arguments.extend(flags.iter().map(OsString::from));
        let (child, ready) = Child::start(&format!("{platform} simulator"), &arguments)?;
        Ok(Self { child, ready })
    }

    /// A caller of its control channel.
    pub(crate) fn control(&self) -> Result<Control> {
        Control::connect(self.ready.control).context("control channel of a simulator")
    }
}

/// One of each provider.
pub(crate) struct Simulators {
    pub(crate) apns: Simulator,
    pub(crate) fcm: Simulator,
}

impl Simulators {
    /// Starts both, with the flags of `fanfare sim` for each.
    pub(crate) fn start(apns: &[String], fcm: &[String]) -> Result<Self> {
        Ok(Self { apns: Simulator::start(Platform::Apns, apns)?, fcm: Simulator::start(Platform::Fcm, fcm)? })
    }

    /// Makes `config` one of a simulated installation that sends to them. Their authorities, which are made anew at each
    /// start, are written to `folder`.
    pub(crate) fn configure(&self, config: &mut Config, folder: &Path) -> Result<()> {
        let write_ca = |simulator: &Simulator| {
            let path = folder.join(format!("simulator-{}-ca.pem", simulator.ready.provider));
            std::fs::write(&path, &simulator.ready.ca_pem).with_context(|| path.display().to_string())?;
            anyhow::Ok(path)
        };
        config.installation.kind = InstallationKind::Simulated;
        config.apns.endpoint = self.apns.ready.address.to_string();
        config.fcm.endpoint = self.fcm.ready.address.to_string();
        config.apns.ca_file = write_ca(&self.apns)?;
        config.fcm.ca_file = write_ca(&self.fcm)?;
        if config.apns.topics.is_empty() {
            config.apns.topics = vec![TOPIC.to_owned()];
        }
        if config.fcm.projects.is_empty() {
            config.fcm.projects = vec![PROJECT.to_owned()];
        }
        Ok(())
    }

    /// Stops both and waits until they have.
    pub(crate) fn stop(self) -> Result<()> {
        let (apns, fcm) = (self.apns.child.stop(), self.fcm.child.stop());
        apns.and(fcm)
    }
}
