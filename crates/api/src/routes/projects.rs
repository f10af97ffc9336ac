//! FCM projects and APNs topics: the quota that each provider grants.

use axum::Json;
use axum::extract::State;
use backend::Expect;
use backend::rows::project::{self, Project};
use model::Platform;
use model::campaign::Fault;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Shown;
use crate::Api;
use crate::change::{audited, event};
use crate::extract::{Actor, Json as Body, Place};
use crate::problem::{Problem, Result};

/// What a provider grants.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quota {
    /// Messages per minute; null when the provider states none.
    quota_per_minute: Option<u64>,
}

/// List projects with their quotas, reservations and pauses.
#[utoipa::path(get, path = "/v1/projects", tag = "projects", responses((status = 200, body = Object)))]
pub(crate) async fn list(State(api): State<Api>) -> Result<Json<Vec<Shown<Project>>>> {
    let rows = project::list(&*api.backend.store).await?;
    Ok(Json(rows.into_iter().map(Shown::from).collect()))
}

/// Look at a project.
#[utoipa::path(get, path = "/v1/projects/{platform}/{app}", tag = "projects",
    params(("platform" = String, Path), ("app" = String, Path)), responses((status = 200, body = Object)))]
pub(crate) async fn get(
    State(api): State<Api>,
    Place((platform, app)): Place<(Platform, String)>,
) -> Result<Json<Shown<Project>>> {
    let row = project::get(&*api.backend.store, platform, &app).await?;
    Ok(Json(row.ok_or_else(|| Problem::not_found(format!("{platform} project {app:?}")))?.into()))
}

/// Declare the quota that a provider grants. Reservations and pauses stay.
#[utoipa::path(put, path = "/v1/projects/{platform}/{app}", tag = "projects",
    params(("platform" = String, Path), ("app" = String, Path)), request_body = Quota,
    responses((status = 200, body = Object)))]
pub(crate) async fn put(
    State(api): State<Api>,
    Actor(actor): Actor,
    Place((platform, app)): Place<(Platform, String)>,
    Body(Quota { quota_per_minute }): Body<Quota>,
) -> Result<Json<Project>> {
    if quota_per_minute == Some(0) {
        let detail = "must be at least 1, or null for no quota".into();
        return Err(Problem::faults(vec![Fault { pointer: "/quota_per_minute".into(), detail }]));
    }
    let store = &*api.backend.store;
    let detail = serde_json::json!({ "quota_per_minute": quota_per_minute });
    let event = event(&api, &actor, "project.quota", format_args!("{platform}/{app}"), detail);
    loop {
        let (mut project, expect) = match project::get(store, platform, &app).await? {
            Some(row) => (row.body, Expect::Version(row.version)),
            None => (Project::new(platform, &app), Expect::Absent),
        };
        project.quota_per_minute = quota_per_minute;
        if audited(&api, vec![project::put(&project, expect)], event.clone()).await?.is_empty() {
            return Ok(Json(project));
        }
    }
}
