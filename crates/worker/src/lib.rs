//! Worker: receives shards, claims each just before its first write, has them sent, and records what became of every
//! device. It holds the snapshots that somebody is about to launch and says when it is ready. Whatever it leaves undone,
//! because it is told to stop or dies, somebody else takes up.

mod claims;
mod config;
mod done;
mod error;
mod held;
mod intake;
mod judge;
mod keys;
mod late_list;
mod launches;
mod lease;
mod permission;
mod progress;
mod prune;
mod readiness;
mod records;
mod snapshots;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use backend::{Backend, Queue};
use model::runtime::Runtime;
use model::{Monotonic, Platform, Purpose, ShardSizes, Timestamp};
use push::{
    Engine, EngineConfig, LaunchStop, Listener, Outside, Pool, PoolConfig, PoolId, Rehearsal, ShardDone,
    ShardSoFar, Side, Target,
};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

pub use config::{Config, Machine};
pub use error::{Error, Result};
pub use readiness::Handle;

use crate::intake::Room;
use crate::keys::ShardKeys;

/// Everything that sends: the engine's settings and the pools of the configured apps.
pub struct Sending<S> {
    /// Of the sending engine.
    pub engine: EngineConfig,
    /// Resolver and token shelf.
    pub outside: Outside,
    /// Whom to reach, and with how many connections.
    pub pools: Vec<(Target<S>, PoolConfig)>,
}

/// Runs the role until `shutdown`: then nothing more is claimed, what is in flight finishes within
/// [`Config::drain`], the rest is given back.
///
/// # Errors
/// The engine does not start, or a pool cannot be opened.
pub async fn run<S: Side>(
    backend: Backend,
    runtime: Runtime,
    config: Config,
    machine: Arc<dyn Machine>,
    sending: Sending<S>,
    handle: Handle,
    shutdown: CancellationToken,
) -> std::result::Result<(), push::Error> {
    let (outbox, inbox) = mpsc::channel(NEWS_MAX);
    let engine = Engine::start(sending.engine, sending.outside, Outbox(outbox.clone()))?;
    let mut pools = HashMap::new();
    for (target, config) in sending.pools {
        let pool = engine.open(target, config)?;
        let status = pool.status();
        pools.insert((status.platform, status.app), pool);
    }
    let worker = Arc::new(Worker {
        owner: runtime.randomness.u128(),
        started_at: runtime.clock.now(),
        backend,
        runtime,
        config,
        machine,
        engine,
        pools,
        outbox,
        handle,
        launches: launches::Launches::default(),
        snapshots: snapshots::Snapshots::default(),
        late_list: late_list::LateList::default(),
        table: held::Table::default(),
        stragglers: Arc::new(Semaphore::new(STRAGGLERS_MAX)),
    });
    worker.run(inbox, shutdown).await;
    Ok(())
}

/// What waits to be taken from the engine, at most: more than there is room for, and each shard may straggle and end.
const NEWS_MAX: usize = 32_768;

/// What the engine has to say.
enum News {
    /// A shard is finished.
    Done(ShardDone),
    /// All but a few devices of a shard are.
    Straggles(ShardSoFar),
    /// A fault that every device would meet, met by a device of this shard.
    Stopped(u64, LaunchStop),
    /// The project's quota is used up for so long.
    Paused(PoolId, Duration),
}

/// The way out of the engine. There is room for every shard that the worker may hold, and as much again.
struct Outbox(mpsc::Sender<News>);

impl Listener for Outbox {
    fn done(&self, shard: ShardDone) {
        if self.0.try_send(News::Done(shard)).is_err() {
            error!("a finished shard is lost: its lease ends, and somebody takes it over");
        }
    }

    fn straggles(&self, shard: ShardSoFar) {
        // Should it not fit, the shard is counted when it is done.
        let _ = self.0.try_send(News::Straggles(shard));
    }

    fn stopped(&self, shard: u64, stop: LaunchStop) {
        // Should it not fit, the shard itself says so too.
        let _ = self.0.try_send(News::Stopped(shard, stop));
    }

    fn paused(&self, pool: PoolId, pause: Duration) {
        // The same.
        let _ = self.0.try_send(News::Paused(pool, pause));
    }

    fn alarm(&self, alarm: push::Alarm) {
        error!(reason = %alarm.reason, stops = ?alarm.stops, "a provider answers what people should look at");
    }
}

/// The role's state.
pub(crate) struct Worker<S: Side> {
    /// This worker in claims.
    owner: u128,
    started_at: Timestamp,
    backend: Backend,
    runtime: Runtime,
    config: Config,
    machine: Arc<dyn Machine>,
    engine: Engine<ShardKeys, Outbox>,
    pools: HashMap<(Platform, String), Pool<S>>,
    outbox: mpsc::Sender<News>,
    handle: Handle,
    launches: launches::Launches<S>,
    snapshots: snapshots::Snapshots,
    late_list: late_list::LateList,
    table: held::Table<S>,
    stragglers: Arc<Semaphore>,
}

/// Calls on a delayed queue at once: its messages come when their time has, not all together.
const DELAYED_RECEIVERS: usize = 1;
/// Shards of one provider that a worker holds, at most, besides those that straggle.
const ROOM_MAX: usize = 4_096;
/// Shards that straggle and do not keep others out, at most. With both providers' others these are 12,288; each has two
/// things to say at most, and that fits into `NEWS_MAX`.
const STRAGGLERS_MAX: usize = 4_096;
/// Tries of a small write that nobody else would make.
const TRIES: usize = 5;

impl<S: Side> Worker<S> {
    async fn run(self: Arc<Self>, inbox: mpsc::Receiver<News>, shutdown: CancellationToken) {
        info!(worker = self.config.name, pools = self.pools.len(), "worker starts");
        let end = CancellationToken::new();
        let receiving = async {
            self.receive_all(&shutdown).await;
            self.drain().await;
            end.cancel();
        };
        futures::join!(
            Box::pin(receiving),
            Box::pin(self.keep_ready(&shutdown)),
            Box::pin(self.keep_permissions(&end)),
            Box::pin(self.keep_leases(&end)),
            Box::pin(self.keep_recording(inbox, &end)),
            Box::pin(self.keep_publishing(&end)),
        );
        self.publish(&self.launches.all()).await;
        self.prune_at_end().await;
        let gone = backend::rows::fleet::delete_heartbeat(&self.config.name);
        if let Err(failure) = self.backend.store.write(vec![gone]).await {
            error!(error = &failure as &dyn std::error::Error, "heartbeat stays until it is too old");
        }
        info!(worker = self.config.name, "worker stops");
    }

    /// Receives shards of every provider that it has pools for, until `shutdown`.
    async fn receive_all(&self, shutdown: &CancellationToken) {
        let mut receivers = Vec::new();
        for platform in Platform::ALL {
            let Some(room) = self.room(platform) else { continue };
            let room = Room::new(room, self.config.receivers + DELAYED_RECEIVERS);
            let shards = std::iter::repeat_n(Queue::Shards(platform), self.config.receivers);
            let delayed = std::iter::repeat_n(Queue::Delayed(platform), DELAYED_RECEIVERS);
            for queue in shards.chain(delayed) {
                receivers.push(Box::pin(self.receive(queue, room.clone(), shutdown)));
            }
        }
        futures::future::join_all(receivers).await;
    }

    /// How many shards of a provider fit into its pools; each pool takes twice what its connections carry.
    fn room(&self, platform: Platform) -> Option<usize> {
        let pools = self.pools.iter().filter(|((of, _), _)| *of == platform);
        let devices: u64 = pools.map(|(_, pool)| u64::from(pool.free_devices())).sum();
        let sizes = ShardSizes::default();
        let size = match platform {
            Platform::Apns => sizes.apns,
            Platform::Fcm => sizes.fcm,
        };
        let shards = usize::try_from(devices / u64::from(size)).unwrap_or(ROOM_MAX);
        (devices > 0).then(|| shards.clamp(receivers_room(&self.config), ROOM_MAX))
    }

    /// Lets what is in flight finish, then takes back what is not written.
    async fn drain(&self) {
        let half = self.config.drain / 2;
        if !self.is_drained_within(half).await {
            self.engine.stop(half);
            self.is_drained_within(half + self.config.receive_wait).await;
        }
    }

    async fn is_drained_within(&self, within: Duration) -> bool {
        let until = self.monotonic() + within;
        loop {
            let is_less = self.table.is_less.notified();
            let left = until.since(self.monotonic());
            if self.table.is_empty() || left.is_zero() {
                return self.table.is_empty();
            }
            tokio::select! {
                () = is_less => {}
                () = self.runtime.clock.sleep(left) => {}
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.runtime.clock.now()
    }

    fn monotonic(&self) -> Monotonic {
        self.runtime.clock.monotonic()
    }

    /// Whether launches of this purpose go through the pools of this side.
    fn sends(&self, purpose: Purpose) -> bool {
        (purpose == Purpose::Rehearsal) == (S::NAME == Rehearsal::NAME)
    }

    /// Waits for `duration`; false when `stop` came first.
    async fn rest(&self, duration: Duration, stop: &CancellationToken) -> bool {
        tokio::select! {
            biased;
            () = stop.cancelled() => false,
            () = self.runtime.clock.sleep(duration) => true,
        }
    }

    /// Calls again after a transient failure, a few times.
    async fn retried<T, F>(&self, call: impl Fn() -> F) -> backend::Result<T>
    where
        F: Future<Output = backend::Result<T>>,
    {
        let mut tries = 1;
        loop {
            match call().await {
                Err(failure) if failure.is_transient() && tries < TRIES => {
                    tries += 1;
                    self.runtime.clock.sleep(self.config.retry_every).await;
                }
                result => return result,
            }
        }
    }
}

/// Room enough that waiting calls do not starve one another.
fn receivers_room(config: &Config) -> usize {
    (config.receivers + DELAYED_RECEIVERS) * 2
}
