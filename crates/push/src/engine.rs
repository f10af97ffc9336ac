//! The engine: sending threads, each with its share of every pool's connections, and the tasks that keep pools supplied.

mod ends;
mod keeper;
mod lane;
mod port;
mod queue;
mod rounds;
mod sender;
mod shard;
mod tag;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use burst_h2::ConnectionConfig;
use burst_h2::driver::{Driver, DriverConfig};
use model::runtime::Runtime;

pub use ends::Alarm;
pub(crate) use keeper::describe;
pub use keeper::{Resolver, SystemResolver};

use crate::error::Error;
use crate::installation::Side;
use crate::pool::{CLASSES, Pool, PoolConfig, PoolId, PoolState, PoolStatus};
use crate::target::Target;
use crate::token::{NoShelf, TokenShelf};
use crate::work::{Keys, LaunchStop, ShardDone, ShardSoFar, ShardWork, Work};
use keeper::Keeper;
use port::{Order, Port};
use queue::Queue;
use sender::Sender;

/// How far apart rounds begin while answers trickle in one by one: a provider that writes each answer by itself would
/// otherwise cost a wake-up and a read for each of them (docs/capacity.md, "Reading on a tick").
const ROUND_AT_LEAST: Duration = Duration::from_micros(500);

/// Limits of an engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Sending threads, 1 to 64. Each connection belongs to one.
    pub threads: usize,
    /// From the start of a request until nobody waits for its answer any longer.
    pub answer_within: Duration,
    /// How long a pool may be without a connection before its devices end as not sent, those that come later at once.
    pub no_connection_within: Duration,
    /// How long devices wait for a token before their launch is stopped.
    pub token_within: Duration,
    /// How long a shard without permission stays here before it is handed back.
    pub patience: Duration,
    /// Of the driver of each thread.
    pub driver: DriverConfig,
    /// Of each connection; the pool decides about streams, the header table and timeouts.
    pub connection: ConnectionConfig,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            threads: 1,
            answer_within: Duration::from_secs(30),
            no_connection_within: Duration::from_secs(10),
            token_within: Duration::from_secs(15),
            patience: Duration::from_secs(1),
            driver: DriverConfig { round_at_least: ROUND_AT_LEAST, ..DriverConfig::default() },
            connection: ConnectionConfig::default(),
        }
    }
}

/// Who hears what became of shards. Called on sending threads: it must not block.
pub trait Listener: Send + Sync + 'static {
    /// Every shard submitted comes back exactly once.
    fn done(&self, shard: ShardDone);

    /// All but a few devices of a shard have their outcomes, and the rest waits for answers, perhaps for as long as
    /// answers are waited for: its room is free for others. Told once for a shard, if at all, and before it comes back.
    fn straggles(&self, shard: ShardSoFar) {
        let _ = shard;
    }

    /// A fault that every device would meet has stopped the launch of this shard, in this process: told once for each
    /// launch, before its shards come back.
    fn stopped(&self, shard: u64, stop: LaunchStop) {
        let _ = (shard, stop);
    }

    /// A project's quota is used up: the fleet should pause this long. Told when it is news, before shards come back.
    fn paused(&self, pool: PoolId, pause: Duration) {
        let _ = (pool, pause);
    }

    /// Something people should look at; the same is not told more often than every 10 s.
    fn alarm(&self, alarm: Alarm) {
        let _ = alarm;
    }
}

impl<F: Fn(ShardDone) + Send + Sync + 'static> Listener for F {
    fn done(&self, shard: ShardDone) {
        self(shard);
    }
}

/// What an engine needs from outside besides its configuration.
#[derive(Clone, Debug)]
pub struct Outside {
    /// Time, randomness and tasks. Tasks run on tokio.
    pub runtime: Runtime,
    /// Names to addresses.
    pub resolver: Arc<dyn Resolver>,
    /// Where the fleet shares its tokens.
    pub shelf: Arc<dyn TokenShelf>,
}

impl Outside {
    /// With the system's resolver, sharing tokens with nobody.
    pub fn new(runtime: Runtime) -> Self {
        Self { runtime, resolver: Arc::new(SystemResolver), shelf: Arc::new(NoShelf) }
    }
}

/// A pool and the shards that wait for it, one queue for each kind of keys.
pub(crate) struct Entry<K> {
    pub(crate) state: Arc<PoolState>,
    pub(crate) queues: [Arc<Queue<K>>; CLASSES],
}

impl<K> Clone for Entry<K> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), queues: self.queues.clone() }
    }
}

/// What the threads of an engine share. None of it is touched per device.
pub(crate) struct Shared<K, L> {
    pub(crate) config: EngineConfig,
    pub(crate) listener: L,
    pub(crate) pool_count: AtomicUsize,
    pools: RwLock<Vec<Entry<K>>>,
}

impl<K, L> Shared<K, L> {
    pub(crate) fn pools_from(&self, index: usize) -> Vec<Entry<K>> {
        self.pools.read().unwrap_or_else(PoisonError::into_inner).iter().skip(index).cloned().collect()
    }
}

/// Sending threads and their pools. `K` is where keys come from, `L` who hears what became of shards.
pub struct Engine<K: Keys, L: Listener> {
    shared: Arc<Shared<K, L>>,
    ports: Arc<[Arc<Port>]>,
    outside: Outside,
    threads: Vec<JoinHandle<()>>,
    is_stopping: AtomicBool,
}

/// A shard that was not taken: the pool is full, or the engine shuts down.
pub struct Refused<K, S>(pub ShardWork<K, S>);

impl<K, S> std::fmt::Debug for Refused<K, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Refused").field(&self.0.id).finish()
    }
}

impl<K: Keys, L: Listener> Engine<K, L> {
    /// Starts the sending threads, without pools.
    ///
    /// # Errors
    /// A number out of its bounds, no descriptors, or no threads to be had.
    pub fn start(config: EngineConfig, outside: Outside, listener: L) -> Result<Self, Error> {
        if !(1..=64).contains(&config.threads) {
            return Err(Error::Bounds { what: "sending threads", bounds: "1 to 64" });
        }
        let count = config.threads;
        let pools = RwLock::new(Vec::new());
        let shared = Arc::new(Shared { config, listener, pool_count: AtomicUsize::new(0), pools });
        let drivers: Vec<Driver> = (0..count)
            .map(|_| Driver::new(shared.config.driver.clone()).map_err(Error::Thread))
            .collect::<Result<_, _>>()?;
        let ports: Arc<[Arc<Port>]> =
            drivers.iter().map(|driver| Arc::new(Port::new(driver.waker()))).collect();
        let mut engine =
            Self { shared, ports, outside, threads: Vec::new(), is_stopping: AtomicBool::new(false) };
        for (thread, driver) in drivers.into_iter().enumerate() {
            let handle = engine.spawn(thread, driver)?;
            engine.threads.push(handle);
        }
        Ok(engine)
    }

    fn spawn(&self, thread: usize, driver: Driver) -> Result<JoinHandle<()>, Error> {
        let clock = Arc::clone(&self.outside.runtime.clock);
        let connection = self.shared.config.connection.clone();
        let port = Arc::clone(&self.ports[thread]);
        let mut sender = Sender::new(thread, Arc::clone(&self.shared), port, Arc::clone(&clock), connection);
        let run = move || {
            let broken = Broken(thread);
            let result = driver.run(&|| clock.monotonic().0, &mut sender);
            sender.finish();
            match result {
                Ok(()) => std::mem::forget(broken),
                Err(error) => tracing::error!(thread, %error, "a sending thread cannot poll"),
            }
        };
        std::thread::Builder::new().name(format!("push-{thread}")).spawn(run).map_err(Error::Thread)
    }

    /// Opens a pool, or finds the one with the same side, provider, environment, credential and topic or project.
    ///
    /// # Errors
    /// A number of the configuration is out of its bounds, or the engine shuts down.
    pub fn open<S: Side>(&self, target: Target<S>, config: PoolConfig) -> Result<Pool<S>, Error> {
        config.check()?;
        let mut pools = self.shared.pools.write().unwrap_or_else(PoisonError::into_inner);
        if self.is_stopping.load(Ordering::Acquire) {
            return Err(Error::Stopped);
        }
        let key = target.key();
        let is_it =
            |entry: &&Entry<K>| entry.state.key == key && !entry.state.is_closing.load(Ordering::Acquire);
        if let Some(entry) = pools.iter().find(is_it) {
            return Ok(Pool::new(Arc::clone(&entry.state)));
        }
        let id = PoolId(pools.len() as u32);
        let shelf = Arc::clone(&self.outside.shelf);
        let state = Arc::new(PoolState::new(id, target, config, self.shared.config.threads, shelf));
        pools.push(Entry {
            state: Arc::clone(&state),
            queues: std::array::from_fn(|_| Arc::new(Queue::new())),
        });
        self.shared.pool_count.store(pools.len(), Ordering::Release);
        drop(pools);
        self.keep(&state);
        Ok(Pool::new(state))
    }

    fn keep(&self, state: &Arc<PoolState>) {
        let keeper = Keeper {
            pool: Arc::clone(state),
            ports: Arc::clone(&self.ports),
            runtime: self.outside.runtime.clone(),
            resolver: Arc::clone(&self.outside.resolver),
        };
        let spawner = &self.outside.runtime.spawner;
        spawner.spawn("push token", Box::pin(keeper.clone().keep_token()));
        spawner.spawn("push connections", Box::pin(keeper.keep_connections()));
    }

    /// Closes a pool for good: its shards come back with what was not written open, its connections end when their
    /// answers are in. Opening the same target again makes a new pool.
    pub fn close<S: Side>(&self, pool: &Pool<S>) {
        let pools = self.shared.pools.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = pools.get(pool.id().0 as usize) {
            entry.state.close();
        }
        drop(pools);
        self.ports.iter().for_each(|port| port.wake());
    }

    /// Hands over a shard. It comes back by [`Listener::done`], exactly once.
    ///
    /// # Errors
    /// The pool has as many devices as it takes, or is closed, or the engine shuts down: the shard is given back. A pool without
    /// devices takes a shard of any size.
    pub fn submit<S: Side>(&self, work: ShardWork<K, S>) -> Result<(), Refused<K, S>> {
        let pools = self.shared.pools.read().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = pools.get(work.message.inner().pool.0 as usize) else { return Err(Refused(work)) };
        let devices = work.keys.len();
        let takes = |open: u32| {
            let fits = open == 0 || open.saturating_add(devices) <= entry.state.config.devices_max;
            fits.then(|| open + devices)
        };
        let counter = &entry.state.devices;
        // Under the lock that `stop` and `close` take: a shard is either refused or seen by the threads before they end.
        if entry.state.is_closing.load(Ordering::Acquire) {
            return Err(Refused(work));
        }
        let taken = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, takes);
        let Ok(before) = taken else { return Err(Refused(work)) };
        if before == 0 {
            // A pause before the next connection is shorter now.
            entry.state.connection_wanted.notify_one();
        }
        let class = entry.state.class(work.is_doubtful);
        entry.queues[class].push(Work::from(work), self.outside.runtime.clock.monotonic().0);
        self.ports.iter().for_each(|port| port.feed());
        Ok(())
    }

    /// How every pool stands.
    pub fn status(&self) -> Vec<PoolStatus> {
        let pools = self.shared.pools.read().unwrap_or_else(PoisonError::into_inner);
        pools.iter().map(|entry| entry.state.status()).collect()
    }

    /// Writes no more, hands back what was not written, and waits for answers this long. Returns at once; the threads
    /// end by themselves, [`Engine::join`] waits for them.
    pub fn stop(&self, within: Duration) {
        let pools = self.shared.pools.write().unwrap_or_else(PoisonError::into_inner);
        self.is_stopping.store(true, Ordering::Release);
        pools.iter().for_each(|entry| entry.state.close());
        drop(pools);
        let until = (self.outside.runtime.clock.monotonic() + within).0;
        self.ports.iter().for_each(|port| port.order(Order::Stop { until }));
    }

    /// Waits for the threads to end, after [`Engine::stop`]. Every shard has come back then.
    pub fn join(mut self) {
        self.wait();
    }

    fn wait(&mut self) {
        for thread in self.threads.drain(..) {
            // One that panics ends the process.
            let _ = thread.join();
        }
    }
}

impl<K: Keys, L: Listener> Drop for Engine<K, L> {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.stop(Duration::ZERO);
            self.wait();
        }
    }
}

/// A sending thread that breaks takes the process with it, as a kill would: its shards would never come back, while their
/// leases were renewed for ever. Another worker takes over what a dead process held.
struct Broken(usize);

impl Drop for Broken {
    fn drop(&mut self) {
        tracing::error!(
            thread = self.0,
            "a sending thread broke: the process ends, others take over its shards"
        );
        std::process::abort();
    }
}
