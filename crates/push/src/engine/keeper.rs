//! Keeps a pool supplied: opens and replaces its connections, staggered and with back-off, and renews its token ahead.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use model::runtime::Runtime;

use super::port::{Order, Port};
use crate::error::Error;
use crate::pool::{CLASSES, PoolState, Share};

/// A name server answers within this, or not at all.
const RESOLVE_WITHIN: Duration = Duration::from_secs(5);
/// A token endpoint answers within this; its client's own repetitions included.
const TOKEN_WITHIN: Duration = Duration::from_secs(10);
/// How often a token's age is looked at.
const TOKEN_CHECK: Duration = Duration::from_secs(15);
/// After a token could not be had.
const TOKEN_BACK_OFF: Duration = Duration::from_secs(1);

/// Turns the name of an endpoint into addresses.
#[async_trait]
pub trait Resolver: Send + Sync + std::fmt::Debug {
    /// All addresses of `host`, asked for anew with each call.
    async fn resolve(&self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>>;
}

/// The operating system's resolver.
#[derive(Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}

/// What the tasks of a pool work with.
#[derive(Clone)]
pub(crate) struct Keeper {
    pub(crate) pool: Arc<PoolState>,
    pub(crate) ports: Arc<[Arc<Port>]>,
    pub(crate) runtime: Runtime,
    pub(crate) resolver: Arc<dyn Resolver>,
}

impl Keeper {
    /// Keeps the pool's connections open until the pool is stopped.
    pub(crate) async fn keep_connections(self) {
        while !self.is_stopped() {
            match self.next_missing() {
                Some((thread, class)) => {
                    let clock = &self.runtime.clock;
                    let began = clock.monotonic();
                    if let Err(error) = self.open(thread, class).await {
                        self.pool.note_error(&describe(&error));
                        self.pool.failures.add(began.0, false, clock.monotonic().0);
                    }
                    self.pause().await;
                }
                None => self.pool.connection_wanted.notified().await,
            }
        }
    }

    /// Keeps the pool's token fresh until the pool is stopped.
    pub(crate) async fn keep_token(self) {
        while !self.is_stopped() {
            let wait = match self.renew().await {
                Ok(()) => TOKEN_CHECK,
                Err(error) => {
                    self.pool.note_error(&describe(&error));
                    tracing::warn!(pool = self.pool.key, error = describe(&error), "no token");
                    TOKEN_BACK_OFF
                }
            };
            // A refusal that cannot be cured yet is looked at again soon, but not at once.
            let is_urgent = self.pool.tokens.is_wanting();
            let wait = if is_urgent { wait.min(TOKEN_BACK_OFF) } else { wait };
            tokio::select! {
                () = self.runtime.clock.sleep(wait) => {}
                () = self.pool.token_wanted.notified(), if !is_urgent => {}
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.pool.is_closing.load(Ordering::Acquire)
    }

    async fn renew(&self) -> Result<(), Error> {
        let before = self.pool.tokens.generation();
        let is_busy = self.pool.devices.load(Ordering::Relaxed) > 0;
        tokio::select! {
            result = self.pool.tokens.keep(self.runtime.clock.now(), is_busy) => result?,
            () = self.runtime.clock.sleep(TOKEN_WITHIN) => return Err(Error::Deadline("token")),
        }
        if self.pool.tokens.generation() != before {
            self.ports.iter().for_each(|port| port.wake());
        }
        Ok(())
    }

    /// The thread and class that lack most connections. `None` when none does, or enough are being opened.
    fn next_missing(&self) -> Option<(usize, usize)> {
        let shares = || {
            let threads = self.pool.shares.iter().enumerate();
            threads
                .flat_map(|(thread, classes)| (0..CLASSES).map(move |class| (thread, class, &classes[class])))
        };
        let opening: u32 = shares().map(|(_, _, share)| share.opening.load(Ordering::Relaxed)).sum();
        if opening >= self.pool.config.opening_max || self.is_stopped() {
            return None;
        }
        let missing = |share: &Share| share.wanted.saturating_sub(share.alive.load(Ordering::Relaxed));
        let lacking = shares().map(|(thread, class, share)| (missing(share), thread, class));
        let most = lacking
            .max_by_key(|(missing, thread, class)| (*missing, usize::MAX - thread, usize::MAX - class));
        most.filter(|(missing, ..)| *missing > 0).map(|(_, thread, class)| (thread, class))
    }

    /// Looks the name up and has the thread open a connection.
    async fn open(&self, thread: usize, class: usize) -> Result<(), Error> {
        let address = self.address().await?;
        let share = &self.pool.shares[thread][class];
        share.alive.fetch_add(1, Ordering::Relaxed);
        share.opening.fetch_add(1, Ordering::Relaxed);
        self.ports[thread].order(Order::Open { pool: self.pool.id, class, address });
        Ok(())
    }

    async fn address(&self) -> Result<SocketAddr, Error> {
        let endpoint = &self.pool.endpoint;
        let addresses = tokio::select! {
            result = self.resolver.resolve(&endpoint.host, endpoint.port) => result.map_err(Error::Resolve)?,
            () = self.runtime.clock.sleep(RESOLVE_WITHIN) => return Err(Error::Deadline("answer of the name server")),
        };
        if addresses.is_empty() {
            return Err(Error::Resolve(std::io::ErrorKind::NotFound.into()));
        }
        let address = addresses[self.runtime.randomness.u64() as usize % addresses.len()];
        self.pool.reach.check_address(&endpoint.host, address.ip())?;
        Ok(address)
    }

    /// Waits before the next opening: longer and longer while connections fail, until one of them works.
    async fn pause(&self) {
        let clock = &self.runtime.clock;
        let began = clock.monotonic();
        let jitter = self.runtime.randomness.u64();
        loop {
            let wait = self.back_off(jitter).max(self.pool.config.open_spacing);
            let left = (began + wait).since(clock.monotonic());
            if left.is_zero() || self.is_stopped() {
                return;
            }
            tokio::select! {
                () = clock.sleep(left) => {}
                () = self.pool.connection_wanted.notified() => {}
            }
        }
    }

    /// Zero as long as connections succeed; then doubling from its minimum, less up to a half, to its maximum. What that is
    /// changes when devices come.
    fn back_off(&self, jitter: u64) -> Duration {
        let config = &self.pool.config;
        let is_busy = self.pool.devices.load(Ordering::Relaxed) > 0;
        let max =
            if is_busy { config.back_off_max.min(config.busy_back_off_max) } else { config.back_off_max };
        let whole = self.pool.failures.wait(config.back_off_min, max);
        whole - Duration::from_nanos(jitter % (whole.as_nanos() as u64 / 2).max(1))
    }
}

/// An error with its sources.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
