//! From the configuration to whom this installation sends: endpoints, trust and credentials of each app.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use model::Platform;
use model::device::is_sandbox;
use model::runtime::Randomness;
use push::apns::auth::Signer;
use push::fcm::auth::ServiceAccount;
use push::{Credential, Endpoint, Installation, Live, Secret, Target, Trust};

use crate::config::{Apns, Config, InstallationKind};

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
        let (trust, credentials) = (trust(config, platform)?, Credentials::read(config, platform, names)?);
        for name in names {
            let installation = installation(config.installation.kind);
            let (endpoint, credential) = (endpoint(config, platform, name)?, credentials.of(name)?);
            let target =
                Target::live(installation, platform, name, endpoint, &trust, &credential, randomness)
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

fn endpoint(config: &Config, platform: Platform, app: &str) -> Result<Endpoint> {
    let (apns, is_sandbox) = (&config.apns, platform == Platform::Apns && is_sandbox(app));
    // A simulator of production may stand for the sandbox; Apple's production never does.
    let is_simulated = config.installation.kind == InstallationKind::Simulated;
    let (named, key) = match platform {
        Platform::Apns if is_sandbox && !(apns.sandbox_endpoint.is_empty() && is_simulated) => {
            (&apns.sandbox_endpoint, "apns.sandbox_endpoint")
        }
        Platform::Apns => (&apns.endpoint, "apns.endpoint"),
        Platform::Fcm => (&config.fcm.endpoint, "fcm.endpoint"),
    };
    if !named.is_empty() {
        return parse_endpoint(named).context(key);
    }
    Ok(match platform {
        Platform::Apns if is_sandbox => Endpoint::apns_sandbox(),
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

/// What the apps of one provider are signed for with.
enum Credentials {
    ThrowAway,
    Apns { production: Arc<Signer>, sandbox: Arc<Signer> },
    Fcm(Vec<Arc<ServiceAccount>>),
}

impl Credentials {
    fn read(config: &Config, platform: Platform, apps: &[String]) -> Result<Self> {
        match (config.installation.kind, platform) {
            (InstallationKind::Simulated, _) => Ok(Credentials::ThrowAway),
            (InstallationKind::Real, Platform::Apns) => Self::apns(&config.apns),
            (InstallationKind::Real, Platform::Fcm) => Self::fcm(&config.fcm.service_account_files, apps),
        }
    }

    fn apns(apns: &Apns) -> Result<Self> {
        let signer = |file: &Path, id: &str| {
            let signer = Signer::from_p8(&secret(file)?, id, &apns.team_id);
            anyhow::Ok(Arc::new(signer.with_context(|| file.display().to_string())?))
        };
        let production = signer(&apns.key_file, &apns.key_id)?;
        let sandbox = if apns.sandbox_key_file.as_os_str().is_empty() {
            Arc::clone(&production)
        } else {
            signer(&apns.sandbox_key_file, &apns.sandbox_key_id)?
        };
        Ok(Credentials::Apns { production, sandbox })
    }

    fn fcm(files: &[PathBuf], projects: &[String]) -> Result<Self> {
        let mut accounts: Vec<Arc<ServiceAccount>> = Vec::new();
        for file in files {
            let account = ServiceAccount::from_json(&secret(file)?);
            let account = account.with_context(|| file.display().to_string())?;
            if account.project().is_some_and(|of| accounts.iter().any(|known| known.project() == Some(of))) {
                bail!("{}: another file of fcm.service_account_files is of the same project", file.display());
            }
            accounts.push(Arc::new(account));
        }
        let credentials = Credentials::Fcm(accounts);
        projects.iter().try_for_each(|project| credentials.of(project).map(drop))?;
        Ok(credentials)
    }

    fn of(&self, app: &str) -> Result<Credential> {
        Ok(match self {
            Credentials::ThrowAway => Credential::ThrowAway,
            Credentials::Apns { sandbox, .. } if is_sandbox(app) => Credential::Apns(Arc::clone(sandbox)),
            Credentials::Apns { production, .. } => Credential::Apns(Arc::clone(production)),
            Credentials::Fcm(accounts) => {
                let own = accounts.iter().find(|account| account.project() == Some(app));
                let only = || accounts.first().filter(|_| accounts.len() == 1);
                let account = own.or_else(only).with_context(|| {
                    format!("fcm {app}: none of several fcm.service_account_files is of this project")
                })?;
                Credential::Fcm(Arc::clone(account))
            }
        })
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
    fn the_sandbox_has_an_endpoint_of_its_own_unless_one_simulator_is_both() {
        let mut config = Config::default();
        config.installation.kind = InstallationKind::Real;
        let host = |config: &Config, app: &str| endpoint(config, Platform::Apns, app).unwrap().host;
        assert_eq!(host(&config, "a"), "api.push.apple.com");
        assert_eq!(host(&config, "a@sandbox"), "api.sandbox.push.apple.com");
        config.apns.endpoint = "api.push.apple.com:2197".into();
        assert_eq!(host(&config, "a@sandbox"), "api.sandbox.push.apple.com");
        config.installation.kind = InstallationKind::Simulated;
        config.apns.endpoint = "127.0.0.1:1".into();
        assert_eq!(host(&config, "a@sandbox"), "127.0.0.1");
        config.apns.sandbox_endpoint = "127.0.0.2:1".into();
        assert_eq!(
            (host(&config, "a"), host(&config, "a@sandbox")),
            ("127.0.0.1".into(), "127.0.0.2".into())
        );
    }

    #[test]
    fn each_project_is_sent_for_with_its_own_account() {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap().serialize_pem();
        let account = |project: &str| {
            let path = folder.path().join(format!("{project}.json"));
            let text = serde_json::json!({
                "type": "service_account", "project_id": project, "private_key": key,
                "client_email": format!("sender@{project}.example"), "token_uri": "https://oauth2.googleapis.com/token",
            });
            std::fs::write(&path, text.to_string()).unwrap();
            path
        };
        let read = |files: &[PathBuf], projects: &[&str]| {
            let projects: Vec<String> = projects.iter().map(|&project| project.into()).collect();
            Credentials::fcm(files, &projects)
        };
        let (one, two) = (account("one"), account("two"));
        let both = read(&[one.clone(), two.clone()], &["two", "one"]).unwrap();
        let name = |credentials: &Credentials, project| format!("{:?}", credentials.of(project).unwrap());
        assert!(name(&both, "one").contains("sender@one.example"), "{}", name(&both, "one"));
        assert!(name(&both, "two").contains("sender@two.example"));
        let only = read(std::slice::from_ref(&one), &["one", "another"]).unwrap();
        assert!(name(&only, "another").contains("sender@one.example"));
        let fault = |files: &[PathBuf], projects: &[&str]| read(files, projects).err().unwrap().to_string();
        assert!(fault(&[one.clone(), two], &["three"]).contains("fcm three: none of several"));
        assert!(fault(&[one.clone(), one], &["one"]).contains("is of the same project"));
    }

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
