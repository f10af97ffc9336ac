//! The service that the demo shows: all roles in this process, or each in one of its own so that it can be killed.

use std::collections::HashMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::children::Child;
use crate::config::Config;
use crate::machine;
use crate::roles::{RoleName, Service};

/// What an `api` says of itself once it listens.
#[derive(Deserialize)]
struct Listening {
    address: SocketAddr,
}

/// The running service.
pub(crate) enum Shown {
    /// All roles in this process.
    Here(Box<Service>),
    /// Each in a process of its own.
    Apart(Arc<Processes>),
}

impl Shown {
    /// Starts it; where its API listens.
    pub(crate) async fn start(config: Config, folder: &Path, is_apart: bool) -> Result<(Self, SocketAddr)> {
        if is_apart {
            let folder = folder.to_owned();
            let starting = tokio::task::spawn_blocking(move || Processes::start(config, &folder));
            let (processes, address) = starting.await??;
            return Ok((Shown::Apart(Arc::new(processes)), address));
        }
        let service = Service::start(&config, &RoleName::ALL).await?;
        let address = service.address().context("the api has no address")?;
        Ok((Shown::Here(Box::new(service)), address))
    }

    /// Its CPU time so far, in microseconds; the demo's own part, which is small during a launch, included. `None` when
    /// roles are processes: one that was killed cannot be asked.
    pub(crate) fn cpu_us(&self) -> Option<u64> {
        match self {
            Shown::Here(_) => Some(machine::cpu_us()),
            Shown::Apart(_) => None,
        }
    }

    /// The processes of the roles, if each has its own.
    pub(crate) fn processes(&self) -> Option<Arc<Processes>> {
        match self {
            Shown::Here(_) => None,
            Shown::Apart(processes) => Some(Arc::clone(processes)),
        }
    }

    pub(crate) async fn stop(self) -> Result<()> {
        match self {
            Shown::Here(service) => service.stop().await,
            Shown::Apart(processes) => tokio::task::spawn_blocking(move || processes.stop()).await?,
        }
    }
}

/// A process for each role.
pub(crate) struct Processes {
    config: PathBuf,
    children: Mutex<HashMap<RoleName, Child>>,
}

impl Processes {
    fn start(mut config: Config, folder: &Path) -> Result<(Self, SocketAddr)> {
        let path = folder.join("fanfare.toml");
        let write = |config: &Config| {
            std::fs::write(&path, config.print()).with_context(|| path.display().to_string())
        };
        write(&config)?;
        let (api, listening): (_, Listening) = spawn(RoleName::Api, &path)?;
        // Whoever starts again listens where the first did.
        config.api.listen = listening.address;
        write(&config)?;
        let mut children = HashMap::from([(RoleName::Api, api)]);
        for role in [RoleName::Resolver, RoleName::Dispatcher, RoleName::Worker] {
            children.insert(role, spawn::<Value>(role, &path)?.0);
        }
        Ok((Self { config: path, children: Mutex::new(children) }, listening.address))
    }

    /// SIGKILL, and the same role again in a new process.
    pub(crate) fn replace(&self, role: RoleName) -> Result<()> {
        // A child is in the map or is being replaced by whoever holds the lock.
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut child) = children.remove(&role) {
            child.kill()?;
        }
        children.insert(role, spawn::<Value>(role, &self.config)?.0);
        Ok(())
    }

    fn stop(&self) -> Result<()> {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        let stopped: Vec<_> = children.drain().map(|(_, child)| child.stop()).collect();
        stopped.into_iter().collect()
    }
}

fn spawn<T: serde::de::DeserializeOwned>(role: RoleName, config: &Path) -> Result<(Child, T)> {
    let arguments: [OsString; 4] =
        [role.name().into(), "--config".into(), config.into(), "--exit-when-stdin-closes".into()];
    Child::start(role.name(), &arguments)
}
