//! The roles of a process: built from the configuration, run until somebody says stop, drained within a bound.

pub(crate) mod settings;
mod stop;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use backend_embedded::{Embedded, Place};
use model::runtime::Runtime;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{BackendKind, Config};
use crate::providers::App;
use crate::{installation, machine, providers, runtime, telemetry};

pub(crate) use stop::Stop;

/// What a process may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RoleName {
    Api,
    Resolver,
    Dispatcher,
    Worker,
}

impl RoleName {
    pub(crate) const ALL: [RoleName; 4] =
        [RoleName::Api, RoleName::Resolver, RoleName::Dispatcher, RoleName::Worker];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            RoleName::Api => "api",
            RoleName::Resolver => "resolver",
            RoleName::Dispatcher => "dispatcher",
            RoleName::Worker => "worker",
        }
    }
}

/// What a drain takes besides the worker's requests: calls that wait for messages end, stores are written.
const DRAIN_MARGIN: Duration = Duration::from_secs(10);

/// Running roles over one backend.
pub(crate) struct Service {
    address: Option<SocketAddr>,
    shutdown: CancellationToken,
    roles: JoinSet<(RoleName, Result<()>)>,
    embedded: Embedded,
    drain: Duration,
}

impl Service {
    /// Opens what the roles need and starts them. Everything that can be wrong from the outside is found here.
    pub(crate) async fn start(config: &Config, roles: &[RoleName]) -> Result<Self> {
        let has = |role| roles.contains(&role);
        let runtime = runtime::real();
        let apps =
            if has(RoleName::Worker) { providers::apps(config, &*runtime.randomness)? } else { Vec::new() };
        machine::raise_open_files(settings::open_files(&apps))?;
        let listener = if has(RoleName::Api) { Some(listen(config.api.listen).await?) } else { None };
        let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
        let embedded = open(config, &runtime)?;
        if let Err(error) = installation::fix(&*embedded.backend.store, config.installation.kind).await {
            embedded.close().await;
            return Err(error);
        }
        let mut service = Self {
            address,
            shutdown: CancellationToken::new(),
            roles: JoinSet::new(),
            embedded,
            drain: Duration::from_secs(config.worker.drain_s_max) + DRAIN_MARGIN,
        };
        if let Some(listener) = listener {
            service.spawn_api(config, &runtime, listener);
        }
        if has(RoleName::Resolver) {
            service.spawn_resolver(config, &runtime);
        }
        if has(RoleName::Dispatcher) {
            service.spawn_dispatcher(config, &runtime);
        }
        if has(RoleName::Worker) {
            service.spawn_worker(config, &runtime, apps);
        }
        Ok(service)
    }

    /// What its roles stand on.
    pub(crate) const fn backend(&self) -> &backend::Backend {
        &self.embedded.backend
    }

    fn spawn_api(&mut self, config: &Config, runtime: &Runtime, listener: TcpListener) {
        let (backend, shutdown) = (self.embedded.backend.clone(), self.shutdown.clone());
        let api = api::Api::new(backend, runtime.clone(), settings::api(config), shutdown);
        self.roles.spawn(async move {
            let served = api::serve(listener, api).await.context("listening for HTTP");
            (RoleName::Api, served)
        });
    }

    fn spawn_resolver(&mut self, config: &Config, runtime: &Runtime) {
        let (backend, shutdown) = (self.embedded.backend.clone(), self.shutdown.clone());
        let run = audience::run(backend, runtime.clone(), settings::resolver(config), shutdown);
        self.roles.spawn(async move {
            run.await;
            (RoleName::Resolver, Ok(()))
        });
    }

    fn spawn_dispatcher(&mut self, config: &Config, runtime: &Runtime) {
        let (backend, shutdown) = (self.embedded.backend.clone(), self.shutdown.clone());
        let run = dispatcher::run(backend, runtime.clone(), settings::dispatcher(config, runtime), shutdown);
        self.roles.spawn(async move {
            run.await;
            (RoleName::Dispatcher, Ok(()))
        });
    }

    fn spawn_worker(&mut self, config: &Config, runtime: &Runtime, apps: Vec<App>) {
        let (backend, shutdown) = (self.embedded.backend.clone(), self.shutdown.clone());
        let run = worker::run(
            backend,
            runtime.clone(),
            settings::worker(config, runtime),
            settings::machine(),
            settings::sending(config, runtime, apps),
            worker::Handle::default(),
            shutdown,
        );
        self.roles.spawn(async move {
            let ended = run.await.context("sending");
            (RoleName::Worker, ended)
        });
    }

    /// Where the API listens, if it is among the roles.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Waits for a role that ends by itself, which none should.
    async fn broken(&mut self) -> anyhow::Error {
        match self.roles.join_next().await {
            Some(Ok((role, Err(error)))) => error.context(format!("{} ended", role.name())),
            Some(Ok((role, Ok(())))) => anyhow::anyhow!("{} ended without being told to", role.name()),
            Some(Err(error)) => anyhow::Error::from(error).context("a role broke"),
            None => anyhow::anyhow!("there is no role to run"),
        }
    }

    /// Runs until `stop` or until a role breaks; then drains.
    pub(crate) async fn run(mut self, mut stop: Stop) -> Result<()> {
        let broken = tokio::select! {
            why = stop.wait() => {
                tracing::info!(why, "stopping");
                None
            }
            error = self.broken() => Some(error),
        };
        let drained = self.stop().await;
        match broken {
            Some(error) => Err(error),
            None => drained,
        }
    }

    /// Tells every role to stop, waits for a bounded time until they have, and closes the backend.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.shutdown.cancel();
        let drained = tokio::time::timeout(self.drain, async {
            while let Some(ended) = self.roles.join_next().await {
                let (role, result) = ended.context("a role broke while it stopped")?;
                result.with_context(|| format!("{} failed while it stopped", role.name()))?;
            }
            anyhow::Ok(())
        })
        .await;
        self.roles.shutdown().await;
        self.embedded.close().await;
        match drained {
            Ok(result) => result,
            Err(_) => bail!("stopped without having drained within {} s", self.drain.as_secs()),
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => " (another program listens there: choose another port)",
            std::io::ErrorKind::PermissionDenied => {
                " (ports below 1024 need privileges: choose another port)"
            }
            _ => "",
        };
        anyhow::anyhow!("cannot listen on {address}, which api.listen names: {error}{hint}")
    })
}

/// Opens the backend of the configuration.
pub(crate) fn open(config: &Config, runtime: &Runtime) -> Result<Embedded> {
    let BackendKind::Embedded = config.backend.kind;
    let place = Place::Folder(config.backend.folder.clone());
    let named = || format!("backend.folder {}", config.backend.folder.display());
    backend_embedded::open(&place, runtime).with_context(named)
}

/// Runs roles as a process: until SIGTERM, SIGINT, or the end of standard input if that is asked for. `announce` is called
/// once everything is open.
pub(crate) fn run(
    config: &Config,
    roles: &[RoleName],
    stops_with_stdin: bool,
    announce: impl FnOnce(&Service) -> Result<()>,
) -> Result<()> {
    telemetry::start(&config.log);
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    tokio.block_on(async {
        let stop = Stop::new(stops_with_stdin)?;
        let service = Service::start(config, roles).await?;
        if let Err(error) = announce(&service) {
            service.stop().await?;
            return Err(error);
        }
        service.run(stop).await
    })
}
