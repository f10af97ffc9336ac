//! Campaigns: what is said to whom in which waves; previews of the very bytes; and asking workers to get ready.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use backend::rows::audit::Event;
use backend::{Expect, Write, rows};
use http::{HeaderMap, StatusCode};
use model::audience::AudienceState;
use model::campaign::Fault;
use model::{AudienceId, Campaign, CampaignId, Content, Digest, LaunchId, Policy, Wave};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Listed, Shown};
use crate::change::{audited, event};
use crate::extract::{Actor, Json as Body, Page, PageQuery, Place, etag, if_match};
use crate::problem::{Problem, Result};
use crate::{Api, idempotency, upload};

/// What people write of a campaign.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CampaignBody {
    /// For people: 1 to 200 bytes.
    name: String,
    /// Variants by locale, and the fallback.
    #[schema(value_type = Object)]
    content: Content,
    /// The audience; needed to launch.
    #[schema(value_type = Option<String>)]
    audience: Option<AudienceId>,
    /// At least one; disjoint.
    #[schema(value_type = Vec<Object>)]
    waves: Vec<Wave>,
    /// Time to live, and what becomes of unknown and transient answers.
    #[serde(default)]
    #[schema(value_type = Object)]
    policy: Policy,
}

/// Waves of a campaign: a change checks each in one transaction, which has room for a hundred writes.
const WAVES_MAX: usize = 64;

impl CampaignBody {
    async fn check(&self, api: &Api) -> Result<()> {
        let mut faults = model::campaign::check(&self.name, &self.content, &self.waves, &self.policy);
        faults.extend(message::check(&self.content).faults);
        if self.waves.len() > WAVES_MAX {
            let detail = format!("there are {}, at most {WAVES_MAX}", self.waves.len());
            faults.push(Fault { pointer: "/waves".into(), detail });
        }
        if let Some(audience) = self.audience
            && rows::audience::get(&*api.backend.store, audience).await?.is_none()
        {
            faults.push(Fault {
                pointer: "/audience".into(),
                detail: format!("there is no audience {audience}"),
            });
        }
        if faults.is_empty() { Ok(()) } else { Err(Problem::faults(faults)) }
    }
}

/// Make a campaign.
#[utoipa::path(post, path = "/v1/campaigns", tag = "campaigns", request_body = CampaignBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "the same request with the same key is done once")),
    responses((status = 201, body = Object), (status = 422, body = Problem)))]
pub(crate) async fn create(
    State(api): State<Api>,
    Actor(actor): Actor,
    headers: HeaderMap,
    Body(body): Body<CampaignBody>,
) -> Result<impl IntoResponse> {
    body.check(&api).await?;
    let made = idempotency::once(&api, &headers, &("campaign", &body), make(&api, &actor, &body)).await?;
    let location = format!("/v1/campaigns/{}", made.id);
    let headers = [(http::header::LOCATION, location), (http::header::ETAG, "\"1\"".to_owned())];
    Ok((StatusCode::CREATED, headers, Json(Shown { body: made, version: 1 })))
}

async fn make(api: &Api, actor: &str, body: &CampaignBody) -> Result<Campaign> {
    let now = upload::now(api);
    let campaign = Campaign {
        id: CampaignId::random(&*api.runtime.randomness),
        name: body.name.clone(),
        content: body.content.clone(),
        audience: body.audience,
        waves: body.waves.clone(),
        policy: body.policy.clone(),
        created_at: now,
        updated_at: now,
    };
    let write = rows::campaign::put(&campaign, Expect::Absent);
    // Nobody else has this id.
    audited(api, vec![write], changed_event(api, "campaign.created", actor, &campaign)).await?;
    Ok(campaign)
}

fn changed_event(api: &Api, action: &str, actor: &str, campaign: &Campaign) -> Event {
    let detail = serde_json::json!({ "content": campaign.content.digest(), "audience": campaign.audience });
    event(api, actor, action, campaign.id, detail)
}

/// List campaigns.
#[utoipa::path(get, path = "/v1/campaigns", tag = "campaigns", params(PageQuery), responses((status = 200, body = Object)))]
pub(crate) async fn list(State(api): State<Api>, page: Page) -> Result<Json<Listed<Shown<Campaign>>>> {
    let (rows, has_more) = rows::campaign::list(&*api.backend.store, &page.after, page.limit).await?;
    let last = rows.last().map(|row| row.body.id.to_string());
    Ok(Listed::new(rows.into_iter().map(Shown::from).collect(), has_more, last))
}

/// A campaign, or the problem that there is none.
pub(crate) async fn read(api: &Api, id: CampaignId) -> Result<rows::Versioned<Campaign>> {
    let row = rows::campaign::get(&*api.backend.store, id).await?;
    row.ok_or_else(|| Problem::not_found(format!("campaign {id}")))
}

/// Look at a campaign. Its `ETag` is what `If-Match` of changes and of Go names.
#[utoipa::path(get, path = "/v1/campaigns/{id}", tag = "campaigns", params(("id" = String, Path)),
    responses((status = 200, body = Object)))]
pub(crate) async fn get(State(api): State<Api>, Place(id): Place<CampaignId>) -> Result<impl IntoResponse> {
    let row = read(&api, id).await?;
    Ok((etag(row.version), Json(Shown::from(row))))
}

/// Replace a campaign. A wave that was launched stays as it was, and nothing that is being sent changes.
#[utoipa::path(put, path = "/v1/campaigns/{id}", tag = "campaigns", params(("id" = String, Path)),
    request_body = CampaignBody,
    responses((status = 200, body = Object), (status = 412, body = Problem), (status = 428, body = Problem)))]
pub(crate) async fn replace(
    State(api): State<Api>,
    Actor(actor): Actor,
    Place(id): Place<CampaignId>,
    headers: HeaderMap,
    Body(body): Body<CampaignBody>,
) -> Result<impl IntoResponse> {
    let version = if_match(&headers)?;
    let row = read(&api, id).await?;
    require_version(&row, version)?;
    body.check(&api).await?;
    loop {
        let launched = rows::campaign::wave_launches(&*api.backend.store, id).await?;
        check_launched_waves(&row.body, &body, &launched)?;
        let CampaignBody { name, content, audience, waves, policy } = body.clone();
        let updated_at = upload::now(&api);
        let campaign = Campaign { name, content, audience, waves, policy, updated_at, ..row.body.clone() };
        let event = changed_event(&api, "campaign.changed", &actor, &campaign);
        let places = audited(&api, replacing(&row, &campaign, &launched), event).await?;
        if places.is_empty() {
            let version = version + 1;
            return Ok((etag(version), Json(Shown { body: campaign, version })));
        }
        if places.contains(&0) {
            return Err(changed(&read(&api, id).await?));
        }
        // A wave was launched meanwhile: judged again.
    }
}

/// The campaign's row first, then what must not happen while it changes: a launch of a wave as it was.
fn replacing(old: &rows::Versioned<Campaign>, new: &Campaign, launched: &[(String, LaunchId)]) -> Vec<Write> {
    let unlaunched = old.body.waves.iter().filter(|wave| launched.iter().all(|(name, _)| *name != wave.name));
    let checks = unlaunched.map(|wave| rows::campaign::check_not_launched(new.id, &wave.name));
    std::iter::once(rows::campaign::put(new, Expect::Version(old.version))).chain(checks).collect()
}

/// Once a wave is launched, it and the audience are history: another wave may not reach into it.
fn check_launched_waves(old: &Campaign, new: &CampaignBody, launched: &[(String, LaunchId)]) -> Result<()> {
    if launched.is_empty() {
        return Ok(());
    }
    let mut faults = Vec::new();
    let mut fault = |pointer: &str, detail: String| faults.push(Fault { pointer: pointer.into(), detail });
    if old.audience != new.audience {
        fault("/audience", "a wave was launched: the audience stays".into());
    }
    for (name, _) in launched {
        let find = |waves: &[Wave]| waves.iter().find(|wave| wave.name == *name).cloned();
        if find(&old.waves) != find(&new.waves) {
            fault("/waves", format!("wave {name:?} was launched: it stays as it is"));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Problem::faults(faults)) }
}

/// Whether `version` is what there is.
pub(crate) fn require_version(row: &rows::Versioned<Campaign>, version: u64) -> Result<()> {
    if row.version == version { Ok(()) } else { Err(changed(row)) }
}

/// The problem that a campaign has another version.
pub(crate) fn changed(row: &rows::Versioned<Campaign>) -> Problem {
    Problem::changed(row.version, &format!(", last changed {}", row.body.updated_at))
}

/// What leaves, by locale: sizes in bytes, warnings, faults.
#[utoipa::path(get, path = "/v1/campaigns/{id}/preview", tag = "campaigns", params(("id" = String, Path)),
    responses((status = 200, body = Object)))]
pub(crate) async fn preview(
    State(api): State<Api>,
    Place(id): Place<CampaignId>,
) -> Result<Json<message::Findings>> {
    let row = read(&api, id).await?;
    Ok(Json(message::check(&row.body.content)))
}

/// The frozen snapshot of a campaign's audience, or why there is none.
pub(crate) async fn snapshot(api: &Api, campaign: &Campaign) -> Result<std::result::Result<Digest, String>> {
    let Some(id) = campaign.audience else { return Ok(Err("the campaign has no audience".into())) };
    let Some(row) = rows::audience::get(&*api.backend.store, id).await? else {
        return Ok(Err(format!("there is no audience {id}")));
    };
    Ok(match row.body.state {
        AudienceState::Frozen { snapshot, .. } => Ok(snapshot),
        AudienceState::Empty => Err(format!("audience {id} has no upload yet")),
        AudienceState::Uploaded | AudienceState::Resolving { .. } => {
            Err(format!("audience {id} is being resolved"))
        }
        AudienceState::Failed { why } => Err(format!("audience {id} failed: {why}")),
    })
}

/// Have workers load the campaign's snapshot and keep it.
#[utoipa::path(put, path = "/v1/campaigns/{id}/prepare", tag = "campaigns", params(("id" = String, Path)),
    responses((status = 202), (status = 409, body = Problem)))]
pub(crate) async fn prepare(
    State(api): State<Api>,
    Actor(actor): Actor,
    Place(id): Place<CampaignId>,
) -> Result<StatusCode> {
    let row = read(&api, id).await?;
    let not_frozen = |detail| Problem::conflict("/problems/not-frozen", "The audience is not frozen", detail);
    let snapshot = snapshot(&api, &row.body).await?.map_err(not_frozen)?;
    let wanted = rows::fleet::Wanted { campaign: id, snapshot, at: upload::now(&api) };
    let detail = serde_json::json!({ "snapshot": snapshot });
    let event = event(&api, &actor, "campaign.prepared", id, detail);
    audited(&api, vec![rows::fleet::put_wanted(&wanted)], event).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Let workers drop it.
#[utoipa::path(delete, path = "/v1/campaigns/{id}/prepare", tag = "campaigns", params(("id" = String, Path)),
    responses((status = 204)))]
pub(crate) async fn release(
    State(api): State<Api>,
    Actor(actor): Actor,
    Place(id): Place<CampaignId>,
) -> Result<StatusCode> {
    let event = event(&api, &actor, "campaign.released", id, serde_json::Value::Null);
    audited(&api, vec![rows::fleet::delete_wanted(id)], event).await?;
    Ok(StatusCode::NO_CONTENT)
}
