//! A backend, two simulators and a population; roles that come and go; a launch and what became of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use backend::rows::{audience, fleet, launch, project};
use backend::store::{Expect, Transacted};
use backend::{Backend, Fifo, Outgoing, Queue};
use backend_embedded::{Embedded, Place, open};
use device_map::{Limits, SnapshotBuilder, snapshot_path, users_path};
use model::launch::{Control, Finish, Stop};
use model::queued::Trigger;
use model::runtime::{Runtime, mix};
use model::{
    CampaignId, Content, Device, Launch, LaunchId, Manifest, Plan, Platform, Policy, Purpose, ShardSizes,
    Timestamp, Variant, Wave,
};
use provider_sim::Simulator;
use push::{Credential, Endpoint, EngineConfig, Installation, Live, Outside, PoolConfig, Target, Trust};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::{self, SkippingClock};

/// Nothing in a test takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
pub(crate) const APP: &str = "org.example.app";

/// What a test varies.
pub(crate) struct Play {
    pub(crate) apns_devices: u32,
    pub(crate) fcm_devices: u32,
    pub(crate) apns: provider_sim::Config,
    pub(crate) fcm: provider_sim::Config,
    pub(crate) sizes: ShardSizes,
    pub(crate) policy: Policy,
    /// Topics and projects at once; devices take turns.
    pub(crate) apps: &'static [&'static str],
    /// Of each provider's pools.
    pub(crate) connections: [u32; 2],
    pub(crate) answer_within: Duration,
    pub(crate) seed: u64,
    /// Where the backend lives; in memory unless told otherwise.
    pub(crate) folder: Option<PathBuf>,
}

impl Default for Play {
    fn default() -> Self {
        Self {
            apns_devices: 3_000,
            fcm_devices: 1_500,
            apns: provider_sim::Config::apns(),
            fcm: provider_sim::Config::fcm(),
            sizes: ShardSizes { apns: 200, fcm: 100, slices_max: 8 },
            policy: Policy::default(),
            apps: &[APP],
            connections: [3, 3],
            answer_within: EngineConfig::default().answer_within,
            seed: 7,
            folder: None,
        }
    }
}

/// Where it plays.
pub(crate) struct Stage {
    pub(crate) play: Play,
    pub(crate) runtime: Runtime,
    pub(crate) clock: Arc<SkippingClock>,
    pub(crate) backend: Backend,
    pub(crate) manifest: Manifest,
    pub(crate) simulators: [Simulator; 2],
    _embedded: Embedded,
}

/// A running role.
pub(crate) struct Role {
    pub(crate) task: JoinHandle<()>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) handle: worker::Handle,
}

impl Role {
    /// As kill -9 does it: at its next step it is gone.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// Asks it to stop and waits.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

struct Machine;

impl worker::Machine for Machine {
    fn clock_error(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn resident_bytes(&self) -> u64 {
        1
    }
}

impl Stage {
    pub(crate) async fn new(play: Play) -> Self {
        let (runtime, clock) = clock::runtime(play.seed);
        let place = play.folder.clone().map_or(Place::Memory, Place::Folder);
        let embedded = open(&place, &runtime).unwrap();
        let backend = embedded.backend.clone();
        let manifest = freeze(&backend, &play).await;
        let simulators =
            [play.apns.clone(), play.fcm.clone()].map(|config| provider_sim::start(config).unwrap());
        let stage = Self { play, runtime, clock, backend, manifest, simulators, _embedded: embedded };
        let wanted =
            fleet::Wanted { campaign: CampaignId(1), snapshot: stage.manifest.digest, at: stage.now() };
        stage.backend.store.write(vec![fleet::put_wanted(&wanted)]).await.unwrap();
        stage.declare(None).await;
        stage
    }

    /// Declares the FCM project's quota.
    pub(crate) async fn declare(&self, quota_per_minute: Option<u64>) {
        for app in self.play.apps {
            let mut project = project::Project::new(Platform::Fcm, app);
            project.quota_per_minute = quota_per_minute;
            self.backend.store.write(vec![project::put(&project, Expect::Anything)]).await.unwrap();
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.runtime.clock.now()
    }

    pub(crate) fn dispatcher(&self, name: &str) -> Role {
        let config = dispatcher::Config { fcm_quota: None, ..dispatcher::Config::new(name) };
        self.dispatcher_with(config)
    }

    pub(crate) fn dispatcher_with(&self, config: dispatcher::Config) -> Role {
        self.dispatcher_on(self.backend.clone(), config)
    }

    pub(crate) fn dispatcher_on(&self, backend: Backend, config: dispatcher::Config) -> Role {
        let shutdown = CancellationToken::new();
        let (runtime, token) = (self.runtime.clone(), shutdown.clone());
        let task = clock::role(dispatcher::run(backend, runtime, config, token));
        Role { task, shutdown, handle: worker::Handle::default() }
    }

    pub(crate) fn worker(&self, name: &str) -> Role {
        self.worker_with(worker::Config::new(name, "test"))
    }

    pub(crate) fn worker_with(&self, config: worker::Config) -> Role {
        self.worker_on(self.backend.clone(), config)
    }

    pub(crate) fn worker_on(&self, backend: Backend, config: worker::Config) -> Role {
        let (shutdown, handle) = (CancellationToken::new(), worker::Handle::default());
        let sending = worker::Sending {
            engine: EngineConfig { answer_within: self.play.answer_within, ..EngineConfig::default() },
            outside: Outside::new(self.runtime.clone()),
            pools: Platform::ALL.into_iter().flat_map(|platform| self.pools(platform)).collect(),
        };
        let runtime = self.runtime.clone();
        let (token, ours) = (shutdown.clone(), handle.clone());
        let task = clock::role(async move {
            worker::run(backend, runtime, config, Arc::new(Machine), sending, ours, token).await.unwrap();
        });
        Role { task, shutdown, handle }
    }

    fn pools(&self, platform: Platform) -> Vec<(Target<Live>, PoolConfig)> {
        self.play.apps.iter().map(|app| self.pool(platform, app)).collect()
    }

    fn pool(&self, platform: Platform, app: &str) -> (Target<Live>, PoolConfig) {
        let simulator = &self.simulators[platform.index()];
        let endpoint = Endpoint { host: "127.0.0.1".into(), port: simulator.address().port() };
        let target = Target::live(
            Installation::Simulated,
            platform,
            app,
            endpoint,
            &Trust::Simulator(simulator.ca_pem().as_bytes().to_vec()),
            &Credential::ThrowAway,
            &*self.runtime.randomness,
        );
        let config = PoolConfig {
            open_spacing: Duration::ZERO,
            back_off_min: Duration::from_millis(20),
            back_off_max: Duration::from_millis(200),
            ..PoolConfig::new(platform, self.play.connections[platform.index()])
        };
        (target.unwrap(), config)
    }

    /// Waits until a worker could send at once.
    pub(crate) async fn ready(&self, role: &Role) {
        self.until("worker is ready", async || role.handle.is_ready(self.manifest.digest, 0, self.now()))
            .await;
    }

    /// Presses Go, as the API does it.
    pub(crate) async fn press(&self) -> Launch {
        let launch = self.launch(LaunchId::random(&*self.runtime.randomness));
        let written = self.backend.store.transact(launch::create(&launch)).await.unwrap();
        assert_eq!(written, Transacted::Done);
        self.trigger(&launch).await;
        launch
    }

    pub(crate) async fn trigger(&self, launch: &Launch) {
        let triggers = (0..launch.slices).map(|slice| {
            let trigger = Trigger { launch: launch.id, slice };
            let fifo = Fifo { group: trigger.name(), deduplication: trigger.name() };
            let body = serde_json::to_string(&trigger).unwrap();
            Outgoing { body, delay: Duration::ZERO, fifo: Some(fifo) }
        });
        self.backend.queues.send(Queue::Triggers, triggers.collect()).await.unwrap();
    }

    pub(crate) fn launch(&self, id: LaunchId) -> Launch {
        let wave = Wave { name: "all".into(), markets: Vec::new() };
        let plan = Plan::new(&self.manifest, &wave, &self.play.sizes);
        let variant = Variant { title: "Fanfare".into(), body: "It begins.".into(), ..Variant::default() };
        let pressed_at = self.now();
        Launch {
            id,
            campaign: CampaignId(1),
            campaign_name: "test".into(),
            campaign_version: 1,
            wave,
            purpose: Purpose::Live,
            snapshot: self.manifest.digest,
            content: Content { variants: BTreeMap::from([("en".into(), variant)]), fallback: "en".into() },
            policy: self.play.policy.clone(),
            sizes: self.play.sizes,
            slices: plan.slices(),
            shards: plan.shards().len() as u32,
            devices: plan.devices(),
            pressed_by: "ann".into(),
            pressed_at,
            not_after: pressed_at + Duration::from_secs(u64::from(self.play.policy.time_to_live_s)),
            ready_workers: 1,
            late_list: 0,
        }
    }

    /// Changes the control row.
    pub(crate) async fn control(&self, launch: &Launch, change: impl Fn(&mut Control, Stop)) {
        let store = &*self.backend.store;
        let row = launch::control(store, launch.id).await.unwrap().unwrap();
        let mut control = row.body;
        change(&mut control, Stop { at: self.now(), by: "ann".into(), why: String::new() });
        let write = launch::put_control(launch.id, &control, Expect::Version(row.version));
        assert_eq!(store.transact(vec![write]).await.unwrap(), Transacted::Done);
    }

    pub(crate) async fn finish(&self, launch: &Launch) -> Option<Finish> {
        let finish = launch::finish(&*self.backend.store, launch.id).await.unwrap();
        finish.map(|row| row.body)
    }

    /// Waits for the end of the burst.
    pub(crate) async fn finished(&self, launch: &Launch) -> Finish {
        self.until("launch finishes", async || self.finish(launch).await.is_some()).await;
        self.finish(launch).await.unwrap()
    }

    /// Requests that a provider has received.
    pub(crate) fn received(&self, platform: Platform) -> u64 {
        let stats = self.simulators[platform.index()].stats().unwrap();
        stats.requests - stats.probes
    }

    pub(crate) async fn until(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        for _ in 0..PATIENCE.as_millis() / LOOK_EVERY.as_millis() {
            if is_so().await {
                return;
            }
            self.runtime.clock.sleep(LOOK_EVERY).await;
        }
        panic!("waited in vain: {what}");
    }

    /// Waits until a provider has received `requests` and nothing more comes for a while.
    pub(crate) async fn settled(&self, platform: Platform, requests: u64) {
        self.until("requests come", async || self.received(platform) >= requests).await;
        let mut quiet = 0;
        self.until("requests stay away", async || {
            quiet = if self.received(platform) == requests { quiet + 1 } else { 0 };
            quiet > 60
        })
        .await;
    }
}

/// Makes the snapshot and stores it as the resolver does.
async fn freeze(backend: &Backend, play: &Play) -> Manifest {
    let folder = tempfile::tempdir().unwrap();
    let mut builder = SnapshotBuilder::new(folder.path(), Limits::default());
    let apns = (0..play.apns_devices).map(|number| device(Platform::Apns, number));
    let fcm = (0..play.fcm_devices).map(|number| device(Platform::Fcm, number));
    for (device, app) in apns.chain(fcm).zip(play.apps.iter().cycle()) {
        builder.push(&Device { app: (*app).into(), ..device }).unwrap();
    }
    let manifest = builder.finish().unwrap();
    let digest = manifest.digest;
    let (snapshot, users) = (snapshot_path(folder.path(), &digest), users_path(folder.path(), &digest));
    backend.blobs.put_file(&audience::snapshot_blob(digest), &snapshot).await.unwrap();
    backend.blobs.put_file(&audience::users_blob(digest), &users).await.unwrap();
    let bytes = audience::manifest_bytes(&manifest);
    backend.blobs.put(&audience::manifest_blob(digest), bytes).await.unwrap();
    manifest
}

/// A device that follows from its number.
pub(crate) fn device(platform: Platform, number: u32) -> Device {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let seed = u64::from(number) << 1 | platform.index() as u64;
    let key = match platform {
        Platform::Apns => (0..4).map(|word| format!("{:016x}", mix(seed << 8 | word))).collect(),
        Platform::Fcm => {
            let text = (0..163).map(|at| ALPHABET[mix(seed << 8 | at) as usize & 63] as char);
            let mut text: Vec<char> = text.collect();
            text[22] = ':';
            text.into_iter().collect()
        }
    };
    Device {
        user: format!("user-{}", number / 2),
        platform,
        key,
        app: APP.into(),
        locale: if number.is_multiple_of(3) { "de" } else { "en" }.into(),
        market: if number.is_multiple_of(2) { "eu" } else { "us" }.into(),
        registered_at: Timestamp::from_secs(1_700_000_000),
    }
}
