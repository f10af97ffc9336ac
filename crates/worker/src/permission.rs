//! Send permission: control and project rows, read every 50 ms and good for 200 ms. Without it nothing is written, so an
//! abort stops every worker, also one that cannot be reached.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use backend::rows::{launch, project};
use backend::store::{Expect, Written};
use backend::{Key, Row};
use model::launch::{Control, Stop};
use model::{Platform, Timestamp};
use push::{Fault, LaunchStop, PoolId, Side};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::Worker;
use crate::error::Result;
use crate::judge::Permit;
use crate::launches::{Active, Lane, Read};

/// Keys of one read.
const KEYS_MAX: usize = 100;
/// Who acts where no person does, as audit and control rows write it.
const SERVICE: &str = "service";

type Rows = HashMap<Key, Row>;

impl<S: Side> Worker<S> {
    /// Reads permissions until `shutdown`, as long as there is a launch.
    pub(crate) async fn keep_permissions(&self, shutdown: &CancellationToken) {
        let mut was_failing = false;
        while self.rest(self.config.permission_every, shutdown).await {
            let actives = self.launches.all();
            if actives.is_empty() {
                continue;
            }
            let result = self.read_permissions(&actives).await;
            if let Err(failure) = &result
                && !was_failing
            {
                warn!(
                    error = failure as &dyn std::error::Error,
                    "no send permission: its rows cannot be read"
                );
            }
            was_failing = result.is_err();
        }
    }

    /// Reads what holds these launches back, all in one call where they fit.
    pub(crate) async fn read_permissions(&self, actives: &[Arc<Active<S>>]) -> Result<()> {
        let mut keys: Vec<Key> = actives.iter().map(|active| launch::control_key(active.id())).collect();
        let projects = actives.iter().flat_map(|active| active.lanes.keys());
        keys.extend(projects.map(|(platform, app)| project::key(*platform, app)));
        keys.sort_unstable();
        keys.dedup();
        let began = self.monotonic();
        let mut rows = Rows::new();
        for chunk in keys.chunks(KEYS_MAX) {
            let found = self.backend.store.get(chunk).await?;
            rows.extend(found.into_iter().flatten().map(|row| (row.key.clone(), row)));
        }
        let now = self.now();
        for active in actives {
            let control =
                rows.get(&launch::control_key(active.id())).map(launch::read_control).transpose()?;
            for ((platform, app), lane) in &active.lanes {
                let project =
                    rows.get(&project::key(*platform, app)).map(project::read_project).transpose()?;
                let permit = permit(control.as_ref(), project.as_ref(), now);
                let undeclared = || project::Project::new(*platform, app);
                let quota = project.unwrap_or_else(undeclared).quota(self.config.fcm_quota);
                let has_quota = quota.is_some();
                lane.apply(Read { permit, has_quota, until: began + self.config.permission });
            }
        }
        Ok(())
    }

    /// Stops the launch of a shard at once, before its last answers are in.
    pub(crate) async fn stop_launch_of(&self, shard: u64, stop: LaunchStop) {
        if let Some(held) = self.table.get(shard) {
            self.stop_launch(&held.active, stop).await;
        }
    }

    /// Pauses the project of a pool at once.
    pub(crate) async fn pause_project_of(&self, pool: PoolId, pause: Duration) {
        let project = self.pools.iter().find(|(_, known)| known.id() == pool);
        if let Some(((platform, app), _)) = project {
            self.pause_project(*platform, app, pause).await;
        }
    }

    /// Stops a launch that every device would refuse.
    pub(crate) async fn stop_launch(&self, active: &Active<S>, stop: LaunchStop) {
        let whose = match stop.fault {
            Fault::Message => "message",
            Fault::Credentials => "credentials",
        };
        self.stop_because(active, format!("the provider refuses the {whose}: {}", stop.reason)).await;
    }

    /// Stops a launch that cannot be sent by anybody.
    pub(crate) async fn stop_because(&self, active: &Active<S>, why: String) {
        // Every shard that is left says the same.
        if active.is_stopped.swap(true, Ordering::Relaxed) {
            return;
        }
        error!(launch = %active.id(), why, "launch is stopped");
        active.lanes.values().for_each(|lane| lane.gate.stop());
        let stop = Stop { at: self.now(), by: SERVICE.into(), why };
        let aborted = self.retried(|| launch::abort(&*self.backend.store, active.id(), stop.clone())).await;
        if let Err(failure) = aborted {
            active.is_stopped.store(false, Ordering::Relaxed);
            error!(launch = %active.id(), error = &failure as &dyn std::error::Error, "abort is not stored");
        }
    }

    /// Pauses a project for the whole fleet.
    pub(crate) async fn pause_project(&self, platform: Platform, app: &str, pause: Duration) {
        let until = self.now() + pause;
        if let Err(failure) = self.retried(|| self.put_pause(platform, app, until)).await {
            warn!(%platform, app, error = &failure as &dyn std::error::Error, "pause of project is not stored");
        }
    }

    async fn put_pause(&self, platform: Platform, app: &str, until: Timestamp) -> backend::Result<()> {
        let store = &*self.backend.store;
        loop {
            let row = project::get(store, platform, app).await?;
            let expect = row.as_ref().map_or(Expect::Absent, |row| Expect::Version(row.version));
            let mut body = row.map_or_else(|| project::Project::new(platform, app), |row| row.body);
            // Every shard that meets the limit asks for it: a second more is no news.
            if body.paused_until + PAUSE_NEWS >= until {
                return Ok(());
            }
            body.paused_until = until;
            let written = store.write(vec![project::put(&body, expect)]).await?;
            if matches!(written.first(), Some(Written::Done(_))) {
                info!(%platform, app, %until, "project is paused: its quota is used up");
                return Ok(());
            }
        }
    }
}

const PAUSE_NEWS: Duration = Duration::from_secs(1);

fn permit(control: Option<&Control>, project: Option<&project::Project>, now: Timestamp) -> Permit {
    let paused_until = project.map_or(Timestamp(0), |project| project.paused_until);
    match control {
        None => Permit::Unknown,
        Some(Control { aborted: Some(_), .. }) => Permit::Aborted,
        Some(Control { paused: Some(_), .. }) => Permit::Paused,
        Some(_) if paused_until > now => Permit::PausedUntil(paused_until),
        Some(_) => Permit::Go,
    }
}

impl<S: Side> Lane<S> {
    /// Takes in what the rows say, and moves the gate.
    fn apply(&self, read: Read) {
        self.set(read);
        match read.permit {
            Permit::Go => {
                self.gate.reopen();
                self.gate.permit(read.until);
            }
            Permit::Paused | Permit::PausedUntil(_) => self.gate.hand_back(),
            Permit::Aborted => self.gate.abort(),
            Permit::Unknown => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abort_outranks_a_pause_and_a_pause_of_the_launch_one_of_the_project() {
        let now = Timestamp::from_secs(9);
        let stop = || Some(Stop { at: now, by: "ann".into(), why: String::new() });
        let mut project = project::Project::new(Platform::Fcm, "p");
        let control = |aborted, paused| Control { aborted, paused };
        assert_eq!(permit(None, None, now), Permit::Unknown);
        assert_eq!(permit(Some(&control(None, None)), Some(&project), now), Permit::Go);
        project.paused_until = now + Duration::from_secs(1);
        let until = Permit::PausedUntil(project.paused_until);
        assert_eq!(permit(Some(&control(None, None)), Some(&project), now), until);
        assert_eq!(permit(Some(&control(None, stop())), Some(&project), now), Permit::Paused);
        assert_eq!(permit(Some(&control(stop(), stop())), Some(&project), now), Permit::Aborted);
    }
}
