//! From the configuration to whom this installation sends: endpoints, trust and credentials of each app.

use std::path::Path;

use anyhow::{Context, Result, bail};
use model::Platform;
use model::runtime::Randomness;
use push::apns::auth::Signer;
use push::fcm::auth::ServiceAccount;
use push::{Credential, Endpoint, Installation, Live, Secret, Target, Trust};

use crate::config::{Config, InstallationKind};

/// An app that a worker opens connections for.
pub(crate) struct App {
    pub(crate) platform: Platform,
    pub(crate) target: Target<Live>,
    pub(crate) connections: u32,
}

/// Every app of the configuration. Credentials are read here and nowhere else.
pub(crate) fn apps(config: &Config, randomness: &dyn Randomness) -> Result<Vec<App>> {
    let mut apps = Vec::new();
    let mut add = |platform, names: &[String], connections| -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let (endpoint, trust, credential) =
            (endpoint(config, platform)?, trust(config, platform)?, credential(config, platform)?);
        for name in names {
            let installation = installation(config.installation.kind);
            let target =
                Target::live(installation, platform, name, endpoint.clone(), &trust, &credential, randomness)
                    .with_context(|| format!("{platform} {name}"))?;
            apps.push(App { platform, target, connections });
        }
        Ok(())
    };
    add(Platform::Apns, &config.apns.topics, config.apns.connections)?;
    add(Platform::Fcm, &config.fcm.projects, config.fcm.connections)?;
    Ok(apps)
}

const fn installation(kind: InstallationKind) -> Installation {
    match kind {
        InstallationKind::Real => Installation::Real,
        InstallationKind::Simulated => Installation::Simulated,
    }
}

fn endpoint(config: &Config, platform: Platform) -> Result<Endpoint> {
    let named = match platform {
        Platform::Apns => &config.apns.endpoint,
        Platform::Fcm => &config.fcm.endpoint,
    };
    if !named.is_empty() {
        return parse_endpoint(named).with_context(|| format!("{platform}.endpoint"));
    }
    Ok(match platform {
        Platform::Apns if config.apns.sandbox => Endpoint::apns_sandbox(),
        Platform::Apns => Endpoint::apns_production(),
        Platform::Fcm => Endpoint::fcm(),
    })
}

/// `host:port`, or `[address]:port` for IPv6.
pub(crate) fn parse_endpoint(text: &str) -> Result<Endpoint> {
    let (host, port) = text.rsplit_once(':').with_context(|| format!("{text:?} is not HOST:PORT"))?;
    let port = port.parse().with_context(|| format!("{port:?} is no port"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        bail!("{text:?} has no host");
    }
    Ok(Endpoint { host, port })
}

fn trust(config: &Config, platform: Platform) -> Result<Trust> {
    let file = match platform {
        Platform::Apns => &config.apns.ca_file,
        Platform::Fcm => &config.fcm.ca_file,
    };
    if file.as_os_str().is_empty() {
        return Ok(Trust::Public);
    }
    Ok(Trust::Simulator(std::fs::read(file).with_context(|| file.display().to_string())?))
}

fn credential(config: &Config, platform: Platform) -> Result<Credential> {
    let apns = &config.apns;
    match (config.installation.kind, platform) {
        (InstallationKind::Simulated, _) => Ok(Credential::ThrowAway),
        (InstallationKind::Real, Platform::Apns) => {
            let signer = Signer::from_p8(&secret(&apns.key_file)?, &apns.key_id, &apns.team_id);
            Ok(Credential::Apns(signer.with_context(|| apns.key_file.display().to_string())?.into()))
        }
        (InstallationKind::Real, Platform::Fcm) => {
            let file = &config.fcm.service_account_file;
            let account = ServiceAccount::from_json(&secret(file)?);
            Ok(Credential::Fcm(account.with_context(|| file.display().to_string())?.into()))
        }
    }
}

fn secret(file: &Path) -> Result<Secret> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_host_and_port() {
        let endpoint = parse_endpoint("[::1]:2197").unwrap();
        assert_eq!((endpoint.host.as_str(), endpoint.port), ("::1", 2197));
        assert_eq!(parse_endpoint("localhost:443").unwrap().host, "localhost");
        for bad in ["localhost", "localhost:x", ":443"] {
            assert!(parse_endpoint(bad).is_err(), "{bad}");
        }
    }
}
