//! A backend under a manual clock, a launch of known shards, and dispatchers as tasks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use backend::rows::{audience, launch, shard};
use backend::store::{Expect, Transacted};
use backend::{Backend, Delivery, Queue};
use backend_embedded::{Embedded, Place, open};
use model::launch::{Control, Finish, Stop};
use model::queued::ShardMessage;
use model::runtime::{BoxFuture, Clock, ManualClock, Runtime, SeededRandomness, Spawner};
use model::{
    CampaignId, Content, Digest, Group, Launch, LaunchId, Manifest, Outcome, Plan, Platform, Policy, Purpose,
    ShardSizes, Timestamp, Variant, Wave,
};
use tokio_util::sync::CancellationToken;

pub(crate) const APP: &str = "org.example.app";
const STEP: Duration = Duration::from_millis(50);

#[derive(Debug)]
struct TokioSpawner;

impl Spawner for TokioSpawner {
    #[allow(clippy::disallowed_methods, reason = "this is what the argument is made of")]
    fn spawn(&self, _name: &'static str, task: BoxFuture) {
        drop(tokio::spawn(task));
    }
}

/// A launch of 10 APNs and 10 FCM shards of ten devices each, in four slices.
pub(crate) struct Stage {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) runtime: Runtime,
    pub(crate) backend: Backend,
    pub(crate) manifest: Manifest,
    pub(crate) policy: Policy,
    pub(crate) shutdown: CancellationToken,
    _embedded: Embedded,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_800_000_000)));
        let randomness = Arc::new(SeededRandomness::new(5));
        let runtime = Runtime { clock: clock.clone(), randomness, spawner: Arc::new(TokioSpawner) };
        let embedded = open(&Place::Memory, &runtime).unwrap();
        let group = |platform| Group {
            market: "eu".into(),
            platform,
            app: APP.into(),
            locale: "en".into(),
            devices: 100,
        };
        let manifest = Manifest {
            digest: Digest::of(b"some snapshot"),
            devices: 200,
            users: 200,
            duplicate_devices: 0,
            file_bytes: 0,
            groups: Platform::ALL.map(group).into(),
        };
        let backend = embedded.backend.clone();
        let (policy, shutdown) = (Policy::default(), CancellationToken::new());
        let stage = Self { clock, runtime, backend, manifest, policy, shutdown, _embedded: embedded };
        let name = audience::manifest_blob(stage.manifest.digest);
        stage.backend.blobs.put(&name, audience::manifest_bytes(&stage.manifest)).await.unwrap();
        stage
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Starts a dispatcher as a task of this test.
    pub(crate) fn dispatcher(&self, config: dispatcher::Config) {
        let (backend, runtime) = (self.backend.clone(), self.runtime.clone());
        let task = dispatcher::run(backend, runtime, config, self.shutdown.clone());
        self.runtime.spawner.spawn("dispatcher", Box::pin(task));
    }

    /// Lets time pass, with everybody doing in between what there is to do.
    pub(crate) async fn pass(&self, duration: Duration) {
        let mut left = duration;
        while !left.is_zero() {
            let step = left.min(STEP.max(duration / 100));
            self.clock.advance(step);
            left -= step;
            for _ in 0..200 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Writes a launch and sends no trigger.
    pub(crate) async fn launch(&self) -> Launch {
        let launch = self.made(LaunchId::random(&*self.runtime.randomness));
        assert_eq!(self.backend.store.transact(launch::create(&launch)).await.unwrap(), Transacted::Done);
        launch
    }

    pub(crate) fn made(&self, id: LaunchId) -> Launch {
        let sizes = ShardSizes { apns: 10, fcm: 10, slices_max: 4 };
        let wave = Wave { name: "all".into(), markets: Vec::new() };
        let plan = Plan::new(&self.manifest, &wave, &sizes);
        let variant = Variant { title: "Hi".into(), ..Variant::default() };
        let now = self.now();
        Launch {
            id,
            campaign: CampaignId(1),
            campaign_name: "test".into(),
            campaign_version: 1,
            wave,
            purpose: Purpose::Live,
            snapshot: self.manifest.digest,
            content: Content { variants: BTreeMap::from([("en".into(), variant)]), fallback: "en".into() },
            policy: self.policy.clone(),
            sizes,
            slices: plan.slices(),
            shards: plan.shards().len() as u32,
            devices: plan.devices(),
            pressed_by: "ann".into(),
            pressed_at: now,
            not_after: now + Duration::from_secs(u64::from(self.policy.time_to_live_s)),
            ready_workers: 1,
            late_list: 0,
        }
    }

    pub(crate) async fn abort(&self, launch: &Launch) {
        let stop = Stop { at: self.now(), by: "ann".into(), why: String::new() };
        let control = Control { aborted: Some(stop), paused: None };
        let write = launch::put_control(launch.id, &control, Expect::Anything);
        self.backend.store.write(vec![write]).await.unwrap();
    }

    pub(crate) async fn control(&self, launch: &Launch) -> Control {
        launch::control(&*self.backend.store, launch.id).await.unwrap().unwrap().body
    }

    pub(crate) async fn finish(&self, launch: &Launch) -> Option<Finish> {
        launch::finish(&*self.backend.store, launch.id).await.unwrap().map(|row| row.body)
    }

    /// Receives everything that is visible and leaves it in flight.
    pub(crate) async fn receive(&self, queue: Queue) -> Vec<Delivery> {
        let mut all = Vec::new();
        loop {
            let some = self.backend.queues.receive(queue, 10, Duration::ZERO).await.unwrap();
            if some.is_empty() {
                return all;
            }
            all.extend(some);
        }
    }

    /// Receives and deletes everything that is visible, as a worker that loses it would.
    pub(crate) async fn lose(&self, queue: Queue) -> Vec<ShardMessage> {
        let deliveries = self.receive(queue).await;
        let messages = deliveries.iter().map(|one| serde_json::from_str(&one.body).unwrap()).collect();
        let receipts = deliveries.into_iter().map(|one| one.receipt).collect();
        self.backend.queues.delete(queue, receipts).await.unwrap();
        messages
    }

    /// Each recorded device's outcome.
    pub(crate) async fn outcomes(&self, launch: &Launch) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for slice in 0..launch.slices {
            for stored in shard::of_slice(&*self.backend.store, launch.id, slice, false).await.unwrap() {
                let record = stored.row.read_record().unwrap();
                outcomes.extend(record.unwrap().outcomes().1.iter());
            }
        }
        outcomes
    }
}

/// Without a quota unless a test declares one.
pub(crate) fn config(name: &str) -> dispatcher::Config {
    dispatcher::Config { fcm_quota: None, ..dispatcher::Config::new(name) }
}
