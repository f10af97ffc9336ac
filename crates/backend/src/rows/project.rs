//! A provider's project: the quota it grants, what of it is reserved, and its pause.

use std::time::Duration;

use model::{LaunchId, Platform, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Versioned, encode, read};
use crate::error::Result;
use crate::store::{Expect, Key, Row, Store, Write, query_all};

/// The window in which a quota counts.
pub const QUOTA_WINDOW: Duration = Duration::from_secs(60);

/// Messages reserved in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// Start of the window; it lasts [`QUOTA_WINDOW`].
    pub from: Timestamp,
    /// Messages.
    pub messages: u64,
}

/// A project (FCM) or topic (APNs).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Provider.
    pub platform: Platform,
    /// Topic or project.
    pub app: String,
    /// Messages per minute that the provider grants; `None` when it states no quota.
    pub quota_per_minute: Option<u64>,
    /// Nobody sends before this: the provider said 429 to the project.
    #[serde(default, skip_serializing_if = "is_never")]
    pub paused_until: Timestamp,
    /// What is reserved, by window, oldest first; windows that are over are dropped.
    #[serde(default)]
    pub reservations: Vec<Reservation>,
}

fn is_never(time: &Timestamp) -> bool {
    *time == Timestamp(0)
}

impl Project {
    /// One without quota or pause.
    pub fn new(platform: Platform, app: &str) -> Self {
        let app = app.to_owned();
        Self { platform, app, quota_per_minute: None, paused_until: Timestamp(0), reservations: Vec::new() }
    }

    /// The quota that counts: the declared one, or `fcm_undeclared` for an FCM project of which nobody declared one.
    pub fn quota(&self, fcm_undeclared: Option<u64>) -> Option<u64> {
        match self.platform {
            Platform::Apns => self.quota_per_minute,
            Platform::Fcm => self.quota_per_minute.or(fcm_undeclared),
        }
    }

    /// Reserves `messages` of `quota` in the earliest window with room that is not over at `now`; the windows follow one another from the first
    /// reservation. Returns the window's start (up to [`QUOTA_WINDOW`] ago), or `now` when there is no quota. A number above the whole
    /// quota gets a window of its own.
    pub fn reserve(&mut self, quota: Option<u64>, messages: u64, now: Timestamp) -> Timestamp {
        let Some(quota) = quota else { return now };
        self.reservations.retain(|window| window.from + QUOTA_WINDOW > now);
        for window in &mut self.reservations {
            if window.messages + messages <= quota || window.messages == 0 {
                window.messages += messages;
                return window.from;
            }
        }
        let from = self.reservations.last().map_or(now, |last| last.from + QUOTA_WINDOW);
        self.reservations.push(Reservation { from, messages });
        from
    }
}

const PROJECTS: &str = "projects";

/// The row of a project.
pub fn key(platform: Platform, app: &str) -> Key {
    Key::new(PROJECTS, format!("{platform}/{app}"))
}

/// A project, if it is there.
pub async fn get(store: &dyn Store, platform: Platform, app: &str) -> Result<Option<Versioned<Project>>> {
    read(store, key(platform, app)).await
}

/// Reads a project's row that came with others in one `get`.
pub fn read_project(row: &Row) -> Result<Project> {
    super::decode(row)
}

/// Puts a project if `expect` holds.
pub fn put(project: &Project, expect: Expect) -> Write {
    Write::put(key(project.platform, &project.app), expect, encode(project))
}

/// Every project.
pub async fn list(store: &dyn Store) -> Result<Vec<Versioned<Project>>> {
    query_all(store, PROJECTS).await?.iter().map(super::versioned).collect()
}

/// When the shards of a launch may go, project by project. It is reserved once for the whole launch, together with the
/// projects' rows, so that whoever plans a slice again reserves nothing again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// The projects with a quota; shards of others may go at once.
    pub lanes: Vec<Lane>,
}

/// One project's part of a [`Pace`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Provider.
    pub platform: Platform,
    /// Topic or project.
    pub app: String,
    /// Start of a window, and how many of the project's shards, in the order of the plan, go in it; runs.
    pub windows: Vec<(Timestamp, u32)>,
}

fn pace_key(launch: LaunchId) -> Key {
    Key::new(format!("launches/{launch}"), "pace")
}

/// A launch's pace, once it is reserved.
pub async fn pace(store: &dyn Store, launch: LaunchId) -> Result<Option<Pace>> {
    Ok(read(store, pace_key(launch)).await?.map(|row: Versioned<Pace>| row.body))
}

/// Stores a launch's pace, unless there is one.
pub fn put_pace(launch: LaunchId, pace: &Pace) -> Write {
    Write::put(pace_key(launch), Expect::Absent, encode(pace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_window_sends_the_next_reservation_a_minute_on() {
        let mut project = Project::new(Platform::Fcm, "p");
        let now = Timestamp::from_secs(100);
        let mut reserve = |messages, now| project.reserve(Some(1_000), messages, now);
        assert_eq!(reserve(600, now), now);
        assert_eq!(reserve(400, now), now);
        assert_eq!(reserve(1, now), now + QUOTA_WINDOW);
        assert_eq!(reserve(999, now + Duration::from_secs(70)), now + QUOTA_WINDOW);
    }

    #[test]
    fn what_nobody_declared_counts_for_fcm_only() {
        let of = |platform, declared| {
            let quota_per_minute = declared;
            Project { quota_per_minute, ..Project::new(platform, "p") }.quota(Some(600))
        };
        assert_eq!((of(Platform::Fcm, None), of(Platform::Fcm, Some(7))), (Some(600), Some(7)));
        assert_eq!((of(Platform::Apns, None), of(Platform::Apns, Some(7))), (None, Some(7)));
    }

    #[test]
    fn no_quota_is_no_window() {
        let mut project = Project::new(Platform::Apns, "t");
        assert_eq!(project.reserve(None, 9_999_999, Timestamp(5)), Timestamp(5));
        assert!(project.reservations.is_empty());
    }
}
