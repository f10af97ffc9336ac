//! From the trigger to the end of a launch: a slice is planned and its shards are enqueued at the providers' pace; what a
//! crash left is taken up; when every shard is recorded the launch is declared over. Truth is the plan minus the
//! records, queues only carry work: any number of dispatchers may run, and doing anything twice is harmless.

mod close;
mod config;
mod dead;
mod decide;
mod error;
mod known;
mod late;
mod messages;
mod pace;
mod scan;
mod slices;
mod watch;

use std::sync::Arc;

use backend::Backend;
use model::Timestamp;
use model::runtime::Runtime;
use tokio_util::sync::CancellationToken;

pub use config::{Config, LateDelays};
pub use error::{Error, Result};

/// Who acts where no person does, as audit and control rows write it.
pub(crate) const SERVICE: &str = "service";

/// Runs the role until `shutdown`: what is being planned is finished, what was not begun comes again by its visibility.
pub async fn run(backend: Backend, runtime: Runtime, config: Config, shutdown: CancellationToken) {
    let dispatcher = Arc::new(Dispatcher::new(backend, runtime, config));
    let triggers = (0..dispatcher.config.receivers).map(|_| dispatcher.receive_triggers(&shutdown));
    let triggers = futures::future::join_all(triggers);
    let watch = Box::pin(dispatcher.watch(&shutdown));
    let dead = Box::pin(dispatcher.drain_dead(&shutdown));
    futures::join!(triggers, watch, dead);
}

/// The role's state: what it was given, and the launches it knows.
pub(crate) struct Dispatcher {
    backend: Backend,
    runtime: Runtime,
    config: Config,
    launches: known::Launches,
}

impl Dispatcher {
    pub(crate) fn new(backend: Backend, runtime: Runtime, config: Config) -> Self {
        Self { backend, runtime, config, launches: known::Launches::default() }
    }

    fn now(&self) -> Timestamp {
        self.runtime.clock.now()
    }

    /// Waits for `duration`; false when shutdown came first.
    async fn rest(&self, duration: std::time::Duration, shutdown: &CancellationToken) -> bool {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => false,
            () = self.runtime.clock.sleep(duration) => true,
        }
    }
}
