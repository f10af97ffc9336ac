//! `fanfare up`: all roles in one process; with `--sim` its providers are simulators that it starts itself.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};

use crate::cli::Up;
use crate::config::{Config, InstallationKind};
use crate::roles::{self, RoleName};
use crate::simulators::Simulators;

/// What the simulators of `up --sim` do unless somebody starts others: answer as the providers usually do.
const APNS_FLAGS: &[&str] = &["--latency", "60ms", "--spread", "10ms"];
const FCM_FLAGS: &[&str] = &["--latency", "100ms", "--spread", "20ms", "--quota", "600000"];

/// Runs everything until it is told to stop.
pub(crate) fn run(up: Up, mut config: Config) -> Result<()> {
    if let Some(listen) = up.listen {
        config.api.listen = listen;
    }
    if let Some(folder) = up.folder {
        config.backend.folder = folder;
    }
    let simulators = if up.sim { Some(simulate(&mut config)?) } else { None };
    let config = config.checked()?;
    roles::run(&config, &RoleName::ALL, false, |service| {
        if let Some(address) = service.address() {
            print!("{}", welcome(&config, address));
        }
        Ok(())
    })?;
    simulators.map_or(Ok(()), Simulators::stop)
}

fn simulate(config: &mut Config) -> Result<Simulators> {
    let flags = |flags: &[&str]| flags.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>();
    let folder = config.backend.folder.clone();
    let named = || format!("backend.folder {}", folder.display());
    if folder.exists() && !folder.is_dir() {
        bail!("{} is a file; a folder is needed", named());
    }
    std::fs::create_dir_all(&folder).with_context(named)?;
    let simulators = Simulators::start(&flags(APNS_FLAGS), &flags(FCM_FLAGS))?;
    simulators.configure(config, &folder).with_context(named)?;
    Ok(simulators)
}

/// What somebody who has just started it wants to know.
fn welcome(config: &Config, address: SocketAddr) -> String {
    let kind = match config.installation.kind {
        InstallationKind::Real => "a REAL installation: Go reaches phones",
        InstallationKind::Simulated => "a simulated installation: nothing reaches a phone",
    };
    let apps = [("APNs", &config.apns.topics), ("FCM", &config.fcm.projects)].map(|(provider, names)| {
        if names.is_empty() {
            let key = if provider == "APNs" { "apns.topics" } else { "fcm.projects" };
            format!("{provider} to nobody: {key} is empty")
        } else {
            format!("{provider} for {}", names.join(", "))
        }
    });
    format!(
        "Fanfare is up, {kind}.\n\
         \n  HTTP API       http://{address}/v1/openapi.json describes it\
         \n  kept in        {}\
         \n  sends          {}; {}\n\
         \nNext: import devices, upload an audience, write a campaign, prepare it, press Go. For example:\n\
         \n  curl -H 'Content-Type: text/csv' --data-binary @devices.csv http://{address}/v1/imports\
         \n  curl http://{address}/readyz\n\
         \nCtrl-C stops it: requests in flight finish, the rest is kept.\n",
        config.backend.folder.display(),
        apps[0],
        apps[1],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_welcome_says_what_a_press_of_go_would_reach() {
        let mut config = Config::default();
        let address = "127.0.0.1:8080".parse().unwrap();
        let text = welcome(&config, address);
        assert!(
            text.contains("a REAL installation") && text.contains("APNs to nobody: apns.topics is empty"),
            "{text}"
        );
        config.installation.kind = InstallationKind::Simulated;
        config.fcm.projects = vec!["demo".into()];
        let text = welcome(&config, address);
        assert!(text.contains("nothing reaches a phone") && text.contains("FCM for demo"), "{text}");
    }
}
