//! Pacing: a provider's quota is a row per project, from which a launch reserves windows for all of its shards at once.
//! The reservation is stored with the projects' rows in one transaction, so planning a slice again reserves nothing.

use std::collections::BTreeMap;

use backend::rows::Versioned;
use backend::rows::project::{self, Lane, Pace, Project};
use backend::store::{Expect, Transacted};
use model::{Platform, Timestamp};

use crate::Dispatcher;
use crate::error::Result;
use crate::known::Known;

type Projects = BTreeMap<(Platform, String), Versioned<Project>>;

impl Dispatcher {
    /// By shard, the start of its send window; zero for those that may go at once.
    pub(crate) async fn windows<'a>(&self, known: &'a Known) -> Result<&'a [Timestamp]> {
        let reserve = || async { Result::Ok(windows(known, &self.reserve(known).await?)) };
        Ok(known.windows.get_or_try_init(reserve).await?)
    }

    /// The launch's pace: the stored one, or one reserved now. Of two dispatchers one reserves, the other reads.
    async fn reserve(&self, known: &Known) -> Result<Pace> {
        let store = &*self.backend.store;
        loop {
            if let Some(pace) = project::pace(store, known.id()).await? {
                return Ok(pace);
            }
            let mut projects = self.projects(known).await?;
            let pace = allot(known, &mut projects, self.now(), self.config.fcm_quota);
            if pace.lanes.is_empty() {
                return Ok(pace);
            }
            let mut writes = vec![project::put_pace(known.id(), &pace)];
            for row in projects.values() {
                let expect = if row.version == 0 { Expect::Absent } else { Expect::Version(row.version) };
                writes.push(project::put(&row.body, expect));
            }
            if store.transact(writes).await? == Transacted::Done {
                return Ok(pace);
            }
        }
    }

    /// Every project of the wave; version 0 for one that has no row.
    async fn projects(&self, known: &Known) -> Result<Projects> {
        let mut projects = Projects::new();
        for shard in known.plan.shards() {
            let (platform, app) = (shard.platform, known.app(shard));
            let key = (platform, app.to_owned());
            if projects.contains_key(&key) {
                continue;
            }
            let row = project::get(&*self.backend.store, platform, app).await?;
            let none = || Versioned { version: 0, body: Project::new(platform, app) };
            projects.insert(key, row.unwrap_or_else(none));
        }
        Ok(projects)
    }
}

/// Reserves every shard of a project with a quota, in the order of the plan; projects without one are dropped from
/// `projects`, their rows need no write.
fn allot(known: &Known, projects: &mut Projects, now: Timestamp, fcm_quota: Option<u64>) -> Pace {
    let quota = |row: &Project| match row.platform {
        Platform::Apns => row.quota_per_minute,
        Platform::Fcm => row.quota_per_minute.or(fcm_quota),
    };
    projects.retain(|_, row| quota(&row.body).is_some());
    let lane = |(platform, app): &(Platform, String)| {
        let lane = Lane { platform: *platform, app: app.clone(), windows: Vec::new() };
        ((*platform, app.clone()), lane)
    };
    let mut lanes: BTreeMap<_, Lane> = projects.keys().map(lane).collect();
    for shard in known.plan.shards() {
        let key = (shard.platform, known.app(shard).to_owned());
        let (Some(row), Some(lane)) = (projects.get_mut(&key), lanes.get_mut(&key)) else { continue };
        let declared = row.body.quota_per_minute;
        row.body.quota_per_minute = quota(&row.body);
        let from = row.body.reserve(u64::from(shard.count), now);
        row.body.quota_per_minute = declared;
        match lane.windows.last_mut() {
            Some((last, shards)) if *last == from => *shards += 1,
            _ => lane.windows.push((from, 1)),
        }
    }
    Pace { lanes: lanes.into_values().collect() }
}

/// Deals a pace out to the shards.
fn windows(known: &Known, pace: &Pace) -> Vec<Timestamp> {
    let mut lanes: Vec<_> = pace.lanes.iter().map(|lane| (lane, starts(lane))).collect();
    let window = |shard: &model::ShardSpec| {
        let app = known.app(shard);
        let lane = lanes.iter_mut().find(|(lane, _)| lane.platform == shard.platform && lane.app == app);
        lane.and_then(|(_, starts)| starts.next()).unwrap_or_default()
    };
    known.plan.shards().iter().map(window).collect()
}

fn starts(lane: &Lane) -> impl Iterator<Item = Timestamp> + '_ {
    lane.windows.iter().flat_map(|&(from, shards)| std::iter::repeat_n(from, shards as usize))
}
