//! Two accounts of a launch, the records' and the simulators', compared device by device.

use std::collections::HashMap;

use backend::rows::shard;
use device_map::{Position, Snapshot};
use model::{Class, Launch, Outcome, Plan, Reason};
use provider_sim::{Fingerprint, KeyCount};
use report::{LaunchReport, ShardRecord, record};

use crate::stage::Stage;

/// What became of every device.
pub(crate) struct Account {
    pub(crate) report: LaunchReport,
    pub(crate) outcomes: HashMap<Fingerprint, Outcome>,
    /// What both simulators counted.
    pub(crate) keys: HashMap<Fingerprint, KeyCount>,
}

impl Stage {
    /// Every record of a launch.
    pub(crate) async fn records(&self, launch: &Launch) -> Vec<ShardRecord> {
        let mut records = Vec::new();
        for slice in 0..launch.slices {
            for is_late in [false, true] {
                let rows = shard::of_slice(&*self.backend.store, launch.id, slice, is_late).await.unwrap();
                for stored in rows.iter().filter(|stored| stored.row.is_recorded()) {
                    records.extend(stored.row.read_record().unwrap());
                }
            }
        }
        records
    }

    /// Reads both accounts of a launch that is over and checks what always holds.
    pub(crate) async fn account(&self, launch: &Launch) -> Account {
        let plan = Plan::new(&self.manifest, &launch.wave, &launch.sizes);
        let records = self.records(launch).await;
        let report = LaunchReport::new(launch, &plan, &self.manifest, records.clone());
        assert_eq!(report.check(), [], "{:?}", report.counts);
        let outcomes = self.outcomes(&plan, &records).await;
        let keys = self.simulators.iter().flat_map(|simulator| simulator.keys().unwrap());
        let keys = keys.map(|key| (key.key, key)).collect();
        let account = Account { report, outcomes, keys };
        account.compare();
        account
    }

    async fn outcomes(&self, plan: &Plan, records: &[ShardRecord]) -> HashMap<Fingerprint, Outcome> {
        let digest = self.manifest.digest;
        let file = self.backend.blobs.file(&backend::rows::audience::snapshot_blob(digest)).await.unwrap();
        let snapshot = Snapshot::open(&file.unwrap(), digest).unwrap();
        let mut outcomes = HashMap::new();
        for spec in plan.shards() {
            let of_shard = || records.iter().filter(|record| record.shard() == spec.number);
            let burst = of_shard().find(|record| record.attempt() == 0).unwrap();
            let late: Vec<&ShardRecord> = of_shard().filter(|record| record.attempt() > 0).collect();
            for (device, outcome) in (spec.start..).zip(record::settle(burst, &late).iter()) {
                let key = snapshot.device(Position { group: spec.group, device }).unwrap().text();
                let key = Fingerprint::of_key(spec.platform, &key).unwrap();
                assert!(outcomes.insert(key, outcome).is_none(), "a device stands in two shards");
            }
        }
        outcomes
    }
}

impl Account {
    fn compare(&self) {
        for key in self.keys.keys() {
            assert!(self.outcomes.contains_key(key), "a key arrived that was in no shard");
        }
        for (key, outcome) in &self.outcomes {
            let (processed, accepted) =
                self.keys.get(key).map_or((0, 0), |key| (key.processed, key.accepted));
            let told = format!("{outcome:?}, processed {processed}, accepted {accepted}");
            assert!(processed < 2 || outcome.is_resent(), "twice and not marked: {told}");
            match outcome.class() {
                Class::Accepted => assert!(accepted >= 1, "{told}"),
                Class::Rejected => assert!(accepted == 0 || outcome.is_resent(), "{told}"),
                Class::NotSent | Class::Expired | Class::Suppressed => assert_eq!(processed, 0, "{told}"),
                Class::Unknown => {}
            }
        }
    }

    pub(crate) fn class(&self, class: Class) -> u64 {
        self.report.counts.of(class)
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.class(Class::Accepted)
    }

    pub(crate) fn resent(&self) -> u64 {
        self.report.counts.resent
    }

    pub(crate) fn reason(&self, reason: Reason) -> usize {
        self.outcomes.values().filter(|outcome| outcome.reason() == reason).count()
    }

    /// Devices whose request a simulator processed more than once.
    pub(crate) fn twice(&self) -> usize {
        self.keys.values().filter(|key| key.processed > 1).count()
    }
}
