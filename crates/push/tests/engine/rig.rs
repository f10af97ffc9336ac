//! A simulator, an engine and made-up devices; and the two accounts of what happened, compared.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::runtime::Clock;
use model::{Class, LaunchId, OnUnknown, Outcome, Platform, Reason};
use provider_sim::{Fingerprint, Simulator};
use push::{
    Alarm, Credential, Endpoint, Engine, EngineConfig, GroupMessage, Installation, LaunchGate, Listener,
    Live, Outside, Pool, PoolConfig, PoolStatus, ShardDone, ShardSoFar, ShardWork, Target, Trust,
};

use crate::outside::{MadeUp, message, runtime};

/// Nothing in a test takes this long.
const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const APP: &str = "org.example.app";

/// Passes on what it hears.
pub(crate) struct Ear {
    done: Mutex<Sender<ShardDone>>,
    pub(crate) alarms: Arc<Mutex<Vec<Alarm>>>,
    stragglers: Arc<Mutex<Vec<ShardSoFar>>>,
}

impl Listener for Ear {
    fn done(&self, shard: ShardDone) {
        // The test may be over already.
        let _ = self.done.lock().unwrap().send(shard);
    }

    fn straggles(&self, shard: ShardSoFar) {
        self.stragglers.lock().unwrap().push(shard);
    }

    fn alarm(&self, alarm: Alarm) {
        self.alarms.lock().unwrap().push(alarm);
    }
}

pub(crate) struct Rig {
    pub(crate) engine: Engine<MadeUp, Ear>,
    pub(crate) pool: Pool<Live>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) alarms: Arc<Mutex<Vec<Alarm>>>,
    pub(crate) stragglers: Arc<Mutex<Vec<ShardSoFar>>>,
    done: Receiver<ShardDone>,
    // Behind the engine: it outlives the engine's connections.
    pub(crate) simulator: Simulator,
}

/// What the engine says, and what the simulator says, by device number.
pub(crate) struct Accounts {
    pub(crate) shards: Vec<ShardDone>,
    pub(crate) outcomes: BTreeMap<u32, Outcome>,
}

/// Opens quickly, retries quickly: the tests' network is a loopback.
pub(crate) fn pool_config(platform: Platform, connections: u32) -> PoolConfig {
    PoolConfig {
        open_spacing: Duration::ZERO,
        opening_max: 64,
        back_off_min: Duration::from_millis(20),
        back_off_max: Duration::from_millis(200),
        doubtful_connections: 0,
        devices_max: u32::MAX,
        ..PoolConfig::new(platform, connections)
    }
}

impl Rig {
    pub(crate) fn new(simulator: provider_sim::Config, connections: u32) -> Self {
        let pool = pool_config(simulator.provider, connections);
        Self::with(simulator, pool, EngineConfig::default())
    }

    pub(crate) fn with(simulator: provider_sim::Config, pool: PoolConfig, engine: EngineConfig) -> Self {
        let platform = simulator.provider;
        let simulator = provider_sim::start(simulator).unwrap();
        let port = simulator.address().port();
        let ca = simulator.ca_pem().as_bytes().to_vec();
        Self::on(simulator, platform, port, ca, pool, engine)
    }

    /// With another port or another authority than the simulator's.
    pub(crate) fn on(
        simulator: Simulator,
        platform: Platform,
        port: u16,
        ca: Vec<u8>,
        pool: PoolConfig,
        engine: EngineConfig,
    ) -> Self {
        let runtime = runtime();
        let clock = Arc::clone(&runtime.clock);
        let (sender, done) = channel();
        let alarms = Arc::default();
        let stragglers = Arc::default();
        let ear = Ear {
            done: Mutex::new(sender),
            alarms: Arc::clone(&alarms),
            stragglers: Arc::clone(&stragglers),
        };
        let endpoint = Endpoint { host: "127.0.0.1".into(), port };
        let target = Target::live(
            Installation::Simulated,
            platform,
            APP,
            endpoint,
            &Trust::Simulator(ca),
            &Credential::ThrowAway,
            &*runtime.randomness,
        );
        let engine = Engine::start(engine, Outside::new(runtime), ear).unwrap();
        let pool = engine.open(target.unwrap(), pool).unwrap();
        Self { engine, pool, clock, alarms, stragglers, done, simulator }
    }

    pub(crate) fn platform(&self) -> Platform {
        self.pool.status().platform
    }

    pub(crate) fn group_message(&self, launch: u128) -> GroupMessage<Live> {
        let (apns, fcm) = message();
        match self.platform() {
            Platform::Apns => self.pool.apns_message(LaunchId(launch << 64), &apns).unwrap(),
            Platform::Fcm => self.pool.fcm_message(&fcm, 3_600).unwrap(),
        }
    }

    /// A gate that lets everything pass for ten minutes.
    pub(crate) fn open_gate(&self) -> LaunchGate<Live> {
        let gate = LaunchGate::new(self.clock.monotonic() + Duration::from_secs(600));
        gate.permit(self.clock.monotonic() + Duration::from_secs(600));
        gate
    }

    /// A shard of the devices with these numbers. Its id is the first of them.
    pub(crate) fn shard(&self, gate: &LaunchGate<Live>, first: u32, count: u32) -> ShardWork<MadeUp, Live> {
        ShardWork {
            id: u64::from(first),
            message: self.group_message(1),
            keys: MadeUp { platform: self.platform(), first, count, has_unusable: false },
            launch: gate.clone(),
            lease_until: Arc::new(AtomicU64::new(u64::MAX)),
            is_taken_over: false,
            is_doubtful: false,
            on_unknown: OnUnknown::ResendOnce,
            pressed: self.clock.monotonic(),
        }
    }

    /// Submits devices 0 to `devices` in shards, after `change` of each, and does not wait.
    pub(crate) fn submit(
        &self,
        gate: &LaunchGate<Live>,
        devices: u32,
        size: u32,
        change: impl Fn(&mut ShardWork<MadeUp, Live>),
    ) -> usize {
        let message = self.group_message(1);
        let starts = (0..devices).step_by(size as usize);
        starts
            .map(|first| {
                let mut shard = self.shard(gate, first, size.min(devices - first));
                shard.message = message.clone();
                change(&mut shard);
                self.engine.submit(shard).unwrap();
            })
            .count()
    }

    pub(crate) fn wait(&self, shards: usize) -> Accounts {
        let shards: Vec<_> = (0..shards).map(|_| self.done.recv_timeout(PATIENCE).unwrap()).collect();
        let mut outcomes = BTreeMap::new();
        for shard in &shards {
            for (number, outcome) in (shard.id as u32..).zip(&shard.outcomes) {
                assert!(outcomes.insert(number, *outcome).is_none(), "a device came back twice");
            }
        }
        Accounts { shards, outcomes }
    }

    /// Submits devices 0 to `devices` and waits until all have come back.
    pub(crate) fn send(&self, devices: u32, size: u32) -> Accounts {
        let shards = self.submit(&self.open_gate(), devices, size, |_| {});
        self.wait(shards)
    }

    /// Waits until the pool stands as wanted.
    pub(crate) fn until(&self, is_wanted: impl Fn(&PoolStatus) -> bool) -> PoolStatus {
        let start = self.clock.monotonic();
        loop {
            let status = self.pool.status();
            if is_wanted(&status) {
                return status;
            }
            assert!(self.clock.monotonic().since(start) < PATIENCE, "never came to it: {status:?}");
            std::thread::yield_now();
        }
    }

    /// Compares the accounts device by device: what always holds, whatever went wrong.
    pub(crate) fn compare(&self, accounts: &Accounts) {
        let platform = self.platform();
        let keys: HashMap<_, _> =
            self.simulator.keys().unwrap().into_iter().map(|key| (key.key, key)).collect();
        for (number, outcome) in &accounts.outcomes {
            let key = keys.get(&fingerprint(platform, *number));
            let (received, processed, accepted) =
                key.map_or((0, 0, 0), |key| (key.received, key.processed, key.accepted));
            let told = format!(
                "device {number}: {outcome:?}, received {received}, processed {processed}, accepted {accepted}"
            );
            assert!(received < 2 || outcome.is_resent(), "twice and not marked: {told}");
            assert!(processed <= 2, "more than twice: {told}");
            match outcome.class() {
                Class::Accepted => assert!(accepted >= 1, "{told}"),
                Class::Rejected => assert!(accepted == 0 || outcome.is_resent(), "{told}"),
                Class::NotSent | Class::Expired | Class::Suppressed => assert_eq!(processed, 0, "{told}"),
                Class::Unknown => {}
            }
        }
        let strangers = keys.len().saturating_sub(accounts.outcomes.len());
        assert_eq!(strangers, 0, "keys that nobody submitted");
    }
}

impl Accounts {
    pub(crate) fn count(&self, class: Class, reason: Reason) -> usize {
        let is_it = |outcome: &&Outcome| (outcome.class(), outcome.reason()) == (class, reason);
        self.outcomes.values().filter(is_it).count()
    }

    pub(crate) fn class(&self, class: Class) -> usize {
        self.outcomes.values().filter(|outcome| outcome.class() == class).count()
    }

    pub(crate) fn accepted(&self) -> usize {
        self.class(Class::Accepted)
    }

    pub(crate) fn resent(&self) -> usize {
        self.outcomes.values().filter(|outcome| outcome.is_resent()).count()
    }

    pub(crate) fn open(&self) -> usize {
        self.shards.iter().map(|shard| shard.open.len()).sum()
    }

    pub(crate) fn requests(&self) -> u64 {
        self.shards.iter().map(|shard| u64::from(shard.requests)).sum()
    }
}

/// The key of the device with this number, as the simulator knows it.
pub(crate) fn fingerprint(platform: Platform, number: u32) -> Fingerprint {
    let keys = MadeUp { platform, first: number, count: 1, has_unusable: false };
    let mut room = [0; 256];
    Fingerprint::of_bytes(keys.write(0, &mut room))
}
