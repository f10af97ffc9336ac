//! A press of Go, judged in this order: a wave that is launched is answered with that launch, and nothing else is looked at;
//! then the version, then the interlocks; then one transaction decides. The rows of its slices are the outbox: triggers
//! are sent after it, and what is not sent a dispatcher sends.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use backend::rows::audit::{self, Event};
use backend::store::Transacted;
use backend::{Expect, Fifo, Outgoing, Queue, Write, rows};
use http::{HeaderMap, StatusCode};
use model::queued::Trigger;
use model::{Campaign, CampaignId, Launch, LaunchId, Purpose, Timestamp, Wave};
use report::{Stage, Stages};
use serde::Serialize;
use utoipa::ToSchema;

use super::campaigns;
use super::interlocks::{self, Judgement};
use crate::Api;
use crate::extract::{Actor, HasBody, Place, if_match};
use crate::metrics::Press;
use crate::problem::{Problem, Result};

/// The launch of a wave, and whether this press made it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Pressed {
    #[schema(value_type = String)]
    launch: LaunchId,
    /// False when the wave was launched before: nothing was sent for this press.
    is_new: bool,
    /// Who pressed first.
    pressed_by: String,
    /// When.
    #[schema(value_type = String)]
    pressed_at: Timestamp,
    /// How long before this press, in milliseconds.
    pressed_ms_before: u64,
    devices: u64,
    installation: String,
}

/// A press.
struct Go {
    actor: String,
    at: Timestamp,
    campaign: CampaignId,
    wave: String,
}

/// Press Go. `If-Match` names the version of the campaign that was read.
#[utoipa::path(post, path = "/v1/campaigns/{id}/waves/{wave}/launch", tag = "launch",
    params(("id" = String, Path), ("wave" = String, Path), ("If-Match" = String, Header)),
    responses((status = 201, description = "Launched", body = Pressed),
        (status = 200, description = "It was launched before", body = Pressed),
        (status = 409, description = "Interlocks that do not hold", body = Problem),
        (status = 412, body = Problem), (status = 428, body = Problem)))]
pub(crate) async fn press(
    State(api): State<Api>,
    Actor(actor): Actor,
    Place((campaign, wave)): Place<(CampaignId, String)>,
    headers: HeaderMap,
    HasBody(has_body): HasBody,
) -> Result<Response> {
    let go = Go { actor, at: api.runtime.clock.now(), campaign, wave };
    if let Some(answer) = earlier(&api, &go).await? {
        return Ok(answer);
    }
    let result = first(&api, &go, &headers, has_body).await;
    if let Err(problem) = &result {
        // Whoever pressed meanwhile has launched it: that is the answer, whatever this press lacked.
        if let Ok(Some(answer)) = earlier(&api, &go).await {
            return Ok(answer);
        }
        api.metrics.pressed(Press::Refused);
        let detail =
            serde_json::json!({ "wave": go.wave, "problem": problem.kind, "detail": problem.detail });
        let action = if problem.is_refusal() { "launch.refused" } else { "launch.not_known" };
        if let Err(unwritten) = note(&api, &go, action, go.campaign.to_string(), detail).await {
            tracing::error!(campaign = %go.campaign, detail = unwritten.detail, "a press could not be audited");
        }
    }
    result
}

/// The answer to a press on a wave that is launched.
async fn earlier(api: &Api, go: &Go) -> Result<Option<Response>> {
    let store = &*api.backend.store;
    let Some(id) = rows::campaign::wave_launch(store, go.campaign, &go.wave).await? else { return Ok(None) };
    let missing = || Problem::not_known(format!("launch {id} cannot be read"));
    let launch = rows::launch::get(store, id).await?.ok_or_else(missing)?;
    api.metrics.pressed(Press::Again);
    let answer = pressed(api, &launch, false, go.at);
    let detail = serde_json::json!({ "wave": go.wave, "pressed_ms_before": answer.pressed_ms_before });
    // The caller is answered whether or not the audit could be written: the launch is what counts.
    if let Err(problem) = note(api, go, "launch.pressed_again", id.to_string(), detail).await {
        tracing::error!(launch = %id, detail = problem.detail, "a press could not be audited");
    }
    Ok(Some((StatusCode::OK, Json(answer)).into_response()))
}

fn pressed(api: &Api, launch: &Launch, is_new: bool, at: Timestamp) -> Pressed {
    Pressed {
        launch: launch.id,
        is_new,
        pressed_by: launch.pressed_by.clone(),
        pressed_at: launch.pressed_at,
        pressed_ms_before: at.since(launch.pressed_at).as_millis() as u64,
        devices: launch.devices,
        installation: api.config.installation.clone(),
    }
}

async fn note(api: &Api, go: &Go, action: &str, subject: String, detail: serde_json::Value) -> Result<()> {
    let event = Event { at: go.at, actor: go.actor.clone(), action: action.into(), subject, detail };
    Ok(audit::record(&*api.backend.store, event).await?)
}

/// A press on a wave that was not launched a moment ago.
async fn first(api: &Api, go: &Go, headers: &HeaderMap, has_body: bool) -> Result<Response> {
    if has_body {
        let detail = "a press has no body: what it launches stands in its path; nothing was launched";
        return Err(Problem::bad_request(detail));
    }
    let version = if_match(headers)?;
    let row = campaigns::read(api, go.campaign).await?;
    campaigns::require_version(&row, version)?;
    let wave = interlocks::find_wave(&row.body, &go.wave)?;
    let judgement = interlocks::judge(api, &row.body, wave).await?;
    let broken = judgement.broken();
    if !broken.is_empty() {
        return Err(Problem::interlocks(broken));
    }
    let launch = launch(api, go, &row.body, version, wave, &judgement)?;
    match commit(api, go, &launch).await? {
        Committed::Ours => {}
        Committed::Earlier => {
            let unknown =
                || Problem::not_known("the wave is being launched; press again, it cannot go twice");
            return earlier(api, go).await?.ok_or_else(unknown);
        }
        Committed::Changed => return Err(campaigns::changed(&campaigns::read(api, go.campaign).await?)),
    }
    api.metrics.pressed(Press::New);
    let written = api.runtime.clock.now().since(go.at);
    tokio::join!(send_triggers(api, &launch), trace(api, &launch, written));
    let answer = pressed(api, &launch, true, go.at);
    let location = [(http::header::LOCATION, format!("/v1/launches/{}", launch.id))];
    Ok((StatusCode::CREATED, location, Json(answer)).into_response())
}

fn launch(
    api: &Api,
    go: &Go,
    campaign: &Campaign,
    version: u64,
    wave: &Wave,
    judgement: &Judgement,
) -> Result<Launch> {
    let (Some(snapshot), Some(plan)) = (judgement.snapshot, &judgement.plan) else {
        return Err(Problem::not_known("every interlock holds, but there is no plan"));
    };
    Ok(Launch {
        id: LaunchId::random(&*api.runtime.randomness),
        campaign: campaign.id,
        campaign_name: campaign.name.clone(),
        campaign_version: version,
        wave: wave.clone(),
        purpose: Purpose::Live,
        snapshot,
        content: campaign.content.clone(),
        policy: campaign.policy.clone(),
        sizes: api.config.sizes,
        slices: plan.slices(),
        shards: plan.shards().len() as u32,
        devices: plan.devices(),
        pressed_by: go.actor.clone(),
        pressed_at: go.at,
        not_after: go.at + Duration::from_secs(u64::from(campaign.policy.time_to_live_s)),
        ready_workers: judgement.ready_workers,
        late_list: judgement.late_list,
    })
}

/// What the transaction decided.
enum Committed {
    /// This press launched the wave.
    Ours,
    /// Another press had.
    Earlier,
    /// The campaign was changed meanwhile.
    Changed,
}

/// Position of the wave's row among the writes.
const WAVE: usize = 0;
/// Position of the campaign's version check.
const VERSION: usize = 1;

/// One transaction: the wave's row and the launch's rows are absent, the campaign has the version that was judged.
async fn commit(api: &Api, go: &Go, launch: &Launch) -> Result<Committed> {
    let store = &*api.backend.store;
    loop {
        let event = Event {
            at: go.at,
            actor: go.actor.clone(),
            action: "launch.pressed".into(),
            subject: launch.id.to_string(),
            detail: serde_json::json!({
                "campaign": launch.campaign, "wave": launch.wave.name, "version": launch.campaign_version,
                "snapshot": launch.snapshot, "content": launch.content.digest(), "devices": launch.devices,
            }),
        };
        let mut writes = vec![
            rows::campaign::put_wave_launch(launch.campaign, &launch.wave.name, launch.id),
            Write::check(rows::campaign::key(launch.campaign), Expect::Version(launch.campaign_version)),
        ];
        writes.extend(rows::launch::create(launch));
        writes.extend(audit::append(store, event).await?);
        match store.transact(writes).await {
            Ok(Transacted::Done) => return Ok(Committed::Ours),
            Ok(Transacted::Conflict(places)) if places.contains(&WAVE) => return Ok(Committed::Earlier),
            Ok(Transacted::Conflict(places)) if places.contains(&VERSION) => return Ok(Committed::Changed),
            // Another event came first into the audit: the same again with the new head.
            Ok(Transacted::Conflict(_)) => {}
            Err(error) => return settle(api, launch, error).await,
        }
    }
}

/// A lost answer is read again, never told as a refusal.
async fn settle(api: &Api, launch: &Launch, error: backend::Error) -> Result<Committed> {
    if !error.is_transient() {
        return Err(error.into());
    }
    tracing::warn!(%error, launch = %launch.id, "the launch's transaction has no answer");
    let store = &*api.backend.store;
    for _ in 0..3 {
        match rows::campaign::wave_launch(store, launch.campaign, &launch.wave.name).await {
            Ok(Some(id)) if id == launch.id => return Ok(Committed::Ours),
            Ok(Some(_)) => return Ok(Committed::Earlier),
            // It may still be under way: only another press can tell, and the wave's row makes it safe.
            Ok(None) => break,
            Err(error) if error.is_transient() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Problem::not_known("the press may have been registered; press again, it cannot go twice"))
}

/// Notes when the launch was written.
async fn trace(api: &Api, launch: &Launch, written: Duration) {
    let mut stages = Stages::default();
    stages.reach(Stage::Write, written.as_micros() as u64);
    let write = rows::launch::put_stages(launch.id, "api", stages.encode());
    if let Err(error) = api.backend.store.write(vec![write]).await {
        tracing::warn!(%error, launch = %launch.id, "the time of writing is not kept");
    }
}

/// Sends one trigger a slice. What fails here, a dispatcher's sweep sends.
async fn send_triggers(api: &Api, launch: &Launch) {
    let triggers = (0..launch.slices).map(|slice| Trigger { launch: launch.id, slice });
    let messages = triggers.filter_map(|trigger| {
        let body = serde_json::to_string(&trigger).ok()?;
        let fifo = Some(Fifo { group: trigger.name(), deduplication: trigger.name() });
        Some(Outgoing { body, delay: Duration::ZERO, fifo })
    });
    if let Err(error) = api.backend.queues.send(Queue::Triggers, messages.collect()).await {
        tracing::warn!(%error, launch = %launch.id, "triggers are left to the dispatchers");
    }
}
