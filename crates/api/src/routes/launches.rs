//! Launches: where they stand, and stopping, pausing and resuming them. None of these needs `If-Match`: what stops must
//! never be refused for a detail.

use ::report::Counts;
use axum::Json;
use axum::extract::State;
use backend::{Expect, rows};
use model::launch::{Control, Stop};
use model::{Campaign, Launch, LaunchId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::live::{Figures, Standing, figures};
use super::{Listed, report};
use crate::Api;
use crate::change::{audited, event};
use crate::extract::{Actor, OptionalJson, Page, PageQuery, Place};
use crate::problem::{Problem, Result};

/// A launch without its content.
#[derive(Serialize, ToSchema)]
pub(crate) struct LaunchView {
    #[schema(value_type = String)]
    id: LaunchId,
    #[schema(value_type = String)]
    campaign: model::CampaignId,
    campaign_name: String,
    campaign_version: u64,
    wave: String,
    #[schema(value_type = String)]
    purpose: model::Purpose,
    #[schema(value_type = String)]
    snapshot: model::Digest,
    devices: u64,
    shards: u32,
    pressed_by: String,
    #[schema(value_type = String)]
    pressed_at: Timestamp,
    #[schema(value_type = String)]
    not_after: Timestamp,
    ready_workers: u32,
    installation: String,
    #[schema(value_type = Object)]
    control: Control,
    #[schema(value_type = Option<String>)]
    finished_at: Option<Timestamp>,
    /// What became of the devices, from the records, once each shard has one: what had left is accepted, rejected and
    /// unknown.
    #[schema(value_type = Option<Object>)]
    counts: Option<Counts>,
    #[schema(value_type = Object)]
    live: Figures,
}

/// Look at a launch. `live.state` is `aborting` once an abort is registered and `aborted` once everything has stopped;
/// `counts` then says exactly what had left.
#[utoipa::path(get, path = "/v1/launches/{id}", tag = "launch", params(("id" = String, Path)),
    responses((status = 200, body = LaunchView)))]
pub(crate) async fn get(State(api): State<Api>, Place(id): Place<LaunchId>) -> Result<Json<LaunchView>> {
    Ok(Json(look(&api, id).await?))
}

/// A launch as it is now; its final counts too, which every record is read for.
async fn look(api: &Api, id: LaunchId) -> Result<LaunchView> {
    let standing = Standing::read(api, id).await?;
    let report = match standing.finish {
        Some(_) => Some(report::of(api, &standing).await?),
        None => None,
    };
    let view = view(api, standing).await?;
    Ok(match report {
        Some(report) => LaunchView { counts: Some(report.counts), live: view.live.settled(&report), ..view },
        None => view,
    })
}

async fn view(api: &Api, standing: Standing) -> Result<LaunchView> {
    let live = figures(api, &standing).await?;
    let Standing { launch, control, finish } = standing;
    Ok(LaunchView {
        id: launch.id,
        campaign: launch.campaign,
        campaign_name: launch.campaign_name,
        campaign_version: launch.campaign_version,
        wave: launch.wave.name,
        purpose: launch.purpose,
        snapshot: launch.snapshot,
        devices: launch.devices,
        shards: launch.shards,
        pressed_by: launch.pressed_by,
        pressed_at: launch.pressed_at,
        not_after: launch.not_after,
        ready_workers: launch.ready_workers,
        installation: api.config.installation.clone(),
        control,
        finished_at: finish.map(|finish| finish.at),
        counts: None,
        live,
    })
}

/// List launches, campaign by campaign.
#[utoipa::path(get, path = "/v1/launches", tag = "launch", params(PageQuery), responses((status = 200, body = Object)))]
pub(crate) async fn list(State(api): State<Api>, page: Page) -> Result<Json<Listed<LaunchView>>> {
    let store = &*api.backend.store;
    let (campaigns, has_more) = rows::campaign::list(store, &page.after, page.limit).await?;
    let last = campaigns.last().map(|row| row.body.id.to_string());
    let mut views = Vec::new();
    for row in campaigns {
        let Campaign { id, .. } = row.body;
        for (_, launch) in rows::campaign::wave_launches(store, id).await? {
            views.push(view(&api, Standing::read(&api, launch).await?).await?);
        }
    }
    Ok(Listed::new(views, has_more, last))
}

/// Why.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Why {
    /// For the audit and the report.
    #[serde(default)]
    why: String,
}

/// Abort a launch, for ever. The answer is the acknowledgement: no request starts later than 250 ms after it.
#[utoipa::path(post, path = "/v1/launches/{id}/abort", tag = "launch", params(("id" = String, Path)),
    request_body = Why, responses((status = 200, body = LaunchView)))]
pub(crate) async fn abort(
    State(api): State<Api>,
    Actor(by): Actor,
    Place(id): Place<LaunchId>,
    OptionalJson(Why { why }): OptionalJson<Why>,
) -> Result<Json<LaunchView>> {
    let standing = Standing::read(&api, id).await?;
    if !standing.state().is_over() {
        let stop = Stop { at: api.runtime.clock.now(), by, why };
        // False means that it was aborted before: the answer shows by whom.
        rows::launch::abort(&*api.backend.store, id, stop).await?;
    }
    Ok(Json(look(&api, id).await?))
}

/// Pause a launch: what is not sent yet waits until it is resumed, or until its time to live has passed.
#[utoipa::path(post, path = "/v1/launches/{id}/pause", tag = "launch", params(("id" = String, Path)),
    request_body = Why, responses((status = 200, body = LaunchView)))]
pub(crate) async fn pause(
    State(api): State<Api>,
    Actor(by): Actor,
    Place(id): Place<LaunchId>,
    OptionalJson(Why { why }): OptionalJson<Why>,
) -> Result<Json<LaunchView>> {
    let detail = serde_json::json!({ "why": why });
    let stop = Stop { at: api.runtime.clock.now(), by: by.clone(), why };
    change(&api, id, (&by, "launch.paused", detail), |control| {
        control.paused.is_none() && control.aborted.is_none() && {
            control.paused = Some(stop.clone());
            true
        }
    })
    .await
}

/// Resume a paused launch.
#[utoipa::path(post, path = "/v1/launches/{id}/resume", tag = "launch", params(("id" = String, Path)),
    responses((status = 200, body = LaunchView)))]
pub(crate) async fn resume(
    State(api): State<Api>,
    Actor(by): Actor,
    Place(id): Place<LaunchId>,
) -> Result<Json<LaunchView>> {
    let said = (by.as_str(), "launch.resumed", serde_json::Value::Null);
    change(&api, id, said, |control| control.paused.take().is_some()).await
}

/// Changes the control row of a launch that is not over, and audits it with actor, action and detail; `edit` says
/// whether there is anything to change.
async fn change(
    api: &Api,
    id: LaunchId,
    (actor, action, detail): (&str, &str, serde_json::Value),
    edit: impl Fn(&mut Control) -> bool,
) -> Result<Json<LaunchView>> {
    let store = &*api.backend.store;
    while !Standing::read(api, id).await?.state().is_over() {
        let row = rows::launch::control(store, id).await?;
        let mut row = row.ok_or_else(|| Problem::not_found(format!("launch {id}")))?;
        if !edit(&mut row.body) {
            break;
        }
        let write = rows::launch::put_control(id, &row.body, Expect::Version(row.version));
        let event = event(api, actor, action, id, detail.clone());
        if audited(api, vec![write], event).await?.is_empty() {
            break;
        }
    }
    Ok(Json(look(api, id).await?))
}

/// A launch must be over before its outcomes are final.
pub(crate) fn require_over(standing: &Standing) -> Result<&Launch> {
    if standing.finish.is_some() {
        return Ok(&standing.launch);
    }
    let detail = format!(
        "launch {} is still {:?}: wait until every shard is recorded",
        standing.launch.id,
        standing.state()
    );
    Err(Problem::conflict("/problems/not-over", "The launch is not over", detail))
}
