//! Pacing: a provider's quota is a row per project, from which a launch reserves windows for all of its shards at once.
//! The reservation is stored with the projects' rows in one transaction, so planning a slice again reserves nothing.

use std::collections::BTreeMap;

use backend::rows::Versioned;
use backend::rows::project::{self, Lane, Pace, Project};
use backend::store::{Expect, Transacted};
use model::{Group, Platform, ShardSpec, Timestamp};

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
        for group in &known.manifest.groups {
            let (platform, app) = (group.platform, &group.app);
            let key = (platform, app.to_owned());
            if projects.contains_key(&key) || !known.launch.wave.includes(group) {
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
    projects.retain(|_, row| row.body.quota(fcm_quota).is_some());
    if projects.is_empty() {
        return Pace::default();
    }
    let mut rows: Vec<_> = projects.iter_mut().collect();
    let lane = |(platform, app): &(Platform, String)| Lane {
        platform: *platform,
        app: app.clone(),
        windows: Vec::new(),
    };
    let mut lanes: Vec<Lane> = rows.iter().map(|(key, _)| lane(key)).collect();
    let lane_of_group = lanes_of_groups(known, &lanes);
    for shard in known.plan.shards() {
        let Some(at) = lane_of_group[shard.group as usize] else { continue };
        let ((_, row), lane) = (&mut rows[at], &mut lanes[at]);
        let quota = row.body.quota(fcm_quota);
        let from = row.body.reserve(quota, u64::from(shard.count), now);
        match lane.windows.last_mut() {
            Some((last, shards)) if *last == from => *shards += 1,
            _ => lane.windows.push((from, 1)),
        }
    }
    Pace { lanes }
}

/// By group, the lane that its shards go through.
fn lanes_of_groups(known: &Known, lanes: &[Lane]) -> Vec<Option<usize>> {
    let groups = known.manifest.groups.iter();
    let is_of = |group: &Group, lane: &Lane| (group.platform, &group.app) == (lane.platform, &lane.app);
    groups.map(|group| lanes.iter().position(|lane| is_of(group, lane))).collect()
}

/// Deals a pace out to the shards.
fn windows(known: &Known, pace: &Pace) -> Vec<Timestamp> {
    let lane_of_group = lanes_of_groups(known, &pace.lanes);
    let mut starts: Vec<_> = pace.lanes.iter().map(starts).collect();
    let window = |shard: &ShardSpec| {
        let lane = lane_of_group[shard.group as usize];
        lane.and_then(|at| starts[at].next()).unwrap_or_default()
    };
    known.plan.shards().iter().map(window).collect()
}

fn starts(lane: &Lane) -> impl Iterator<Item = Timestamp> + '_ {
    lane.windows.iter().flat_map(|&(from, shards)| std::iter::repeat_n(from, shards as usize))
}
