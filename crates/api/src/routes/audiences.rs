//! Audiences: made, uploaded, looked at while a resolver freezes them.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use backend::{Expect, Write, rows};
use http::{HeaderMap, StatusCode};
use model::audience::UploadRows;
use model::campaign::Fault;
use model::queued::{Resolve, ToResolver};
use model::selection::{Control, Sample};
use model::{Audience, AudienceId, AudienceState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::imports::{enqueue, uploaded};
use super::{Listed, Shown};
use crate::asked::{Asked, UploadQuery};
use crate::change::{audited, event};
use crate::extract::{Actor, Json as Body, Page, Params, Place, etag};
use crate::problem::{Problem, Result};
use crate::{Api, idempotency, upload};

/// An audience to make.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAudience {
    /// For people.
    name: String,
    /// `users` or `devices`; read off the upload's columns when absent.
    #[schema(value_type = Option<String>)]
    rows: Option<UploadRows>,
    /// A part of a frozen audience, chosen by lot: `of` (its id), `users`, and optionally `seed`, `markets`, `platforms` and
    /// `disjoint_from` (ids of frozen audiences). It takes no upload and is drawn at once.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    sample: Option<Sample>,
    /// People who are held back when it is frozen: `share` (0 to 1) and optionally `seed`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    control: Option<Control>,
}

/// Make an audience.
#[utoipa::path(post, path = "/v1/audiences", tag = "audiences", request_body = NewAudience,
    responses((status = 201, body = Object)))]
pub(crate) async fn create(
    State(api): State<Api>,
    Actor(actor): Actor,
    headers: HeaderMap,
    Body(new): Body<NewAudience>,
) -> Result<impl IntoResponse> {
    let faults = check(&api, &new).await?;
    if !faults.is_empty() {
        return Err(Problem::faults(faults));
    }
    let made = idempotency::once(&api, &headers, &("audience", &new), make(&api, &actor, &new)).await?;
    let location = format!("/v1/audiences/{}", made.id);
    Ok((StatusCode::CREATED, [(http::header::LOCATION, location)], Json(made)))
}

/// Every fault of an audience to make.
async fn check(api: &Api, new: &NewAudience) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    let mut fault = |pointer: &str, detail: String| faults.push(Fault { pointer: pointer.into(), detail });
    if new.name.trim().is_empty() || new.name.len() > 200 {
        fault("/name", "must have 1 to 200 bytes".into());
    }
    if let Some(sample) = &new.sample {
        if new.rows.is_some() {
            fault("/rows", "a sample takes no upload".into());
        }
        if sample.users == 0 {
            fault("/sample/users", "must be at least 1".into());
        }
        let others = sample.disjoint_from.iter().enumerate();
        let others = others.map(|(index, id)| (format!("/sample/disjoint_from/{index}"), *id));
        for (pointer, id) in std::iter::once(("/sample/of".to_owned(), sample.of)).chain(others) {
            match rows::audience::get(&*api.backend.store, id).await? {
                None => fault(&pointer, format!("there is no audience {id}")),
                Some(row) if row.body.snapshot().is_none() => {
                    fault(&pointer, format!("audience {id} is not frozen"))
                }
                Some(_) => {}
            }
        }
    }
    Ok(faults)
}

async fn make(api: &Api, actor: &str, new: &NewAudience) -> Result<Audience> {
    let audience = Audience {
        id: AudienceId::random(&*api.runtime.randomness),
        name: new.name.clone(),
        rows: new.rows,
        sample: new.sample.clone(),
        control: new.control,
        upload: None,
        state: if new.sample.is_some() { AudienceState::Uploaded } else { AudienceState::Empty },
        report: None,
        created_at: upload::now(api),
    };
    let detail = serde_json::json!({ "sample": audience.sample, "control": audience.control });
    let event = event(api, actor, "audience.created", audience.id, detail);
    audited(api, vec![rows::audience::put(&audience, Expect::Absent)], event).await?;
    if audience.sample.is_some() {
        enqueue(api, &ToResolver::Resolve(Resolve { audience: audience.id })).await?;
    }
    Ok(audience)
}

/// List audiences.
#[utoipa::path(get, path = "/v1/audiences", tag = "audiences", responses((status = 200, body = Object)))]
pub(crate) async fn list(State(api): State<Api>, page: Page) -> Result<Json<Listed<Shown<Audience>>>> {
    let (rows, has_more) = rows::audience::list(&*api.backend.store, &page.after, page.limit).await?;
    let last = rows.last().map(|row| row.body.id.to_string());
    Ok(Listed::new(rows.into_iter().map(Shown::from).collect(), has_more, last))
}

/// Look at an audience: its state, and the report of what became of the rows.
#[utoipa::path(get, path = "/v1/audiences/{id}", tag = "audiences", params(("id" = String, Path)),
    responses((status = 200, body = Object)))]
pub(crate) async fn get(State(api): State<Api>, Place(id): Place<AudienceId>) -> Result<impl IntoResponse> {
    let row = read(&api, id).await?;
    Ok((etag(row.version), Json(Shown::from(row))))
}

async fn read(api: &Api, id: AudienceId) -> Result<rows::Versioned<Audience>> {
    let row = rows::audience::get(&*api.backend.store, id).await?;
    row.ok_or_else(|| Problem::not_found(format!("audience {id}")))
}

/// Delete an audience that no campaign names. Its snapshot goes a day after nobody names it any more.
#[utoipa::path(delete, path = "/v1/audiences/{id}", tag = "audiences", params(("id" = String, Path)),
    responses((status = 204), (status = 409, body = Problem)))]
pub(crate) async fn delete(
    State(api): State<Api>,
    Actor(actor): Actor,
    Place(id): Place<AudienceId>,
) -> Result<StatusCode> {
    let row = read(&api, id).await?;
    if matches!(row.body.state, AudienceState::Uploaded | AudienceState::Resolving { .. }) {
        return Err(being_resolved());
    }
    let campaigns = rows::campaign::all(&*api.backend.store).await?;
    if let Some(campaign) = campaigns.iter().find(|campaign| campaign.audience == Some(id)) {
        let detail =
            format!("campaign {} ({}) names it: give it another audience first", campaign.id, campaign.name);
        return Err(Problem::conflict("/problems/in-use", "A campaign needs this audience", detail));
    }
    let write = Write::delete(rows::audience::key(id), Expect::Version(row.version));
    let detail = serde_json::json!({ "snapshot": row.body.snapshot() });
    let event = event(&api, &actor, "audience.deleted", id, detail);
    if !audited(&api, vec![write], event).await?.is_empty() {
        return Err(being_resolved());
    }
    if let Some(upload) = row.body.upload {
        api.backend.blobs.delete(&upload.blob).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Upload the list: CSV with the header `user`, or with the columns of an import for devices outright; or NDJSON.
#[utoipa::path(put, path = "/v1/audiences/{id}/upload", tag = "audiences",
    params(("id" = String, Path), UploadQuery),
    request_body(content = String, content_type = "text/csv"),
    responses((status = 202, description = "Stored; a resolver freezes it", body = Object)))]
pub(crate) async fn upload(
    State(api): State<Api>,
    Actor(actor): Actor,
    Place(id): Place<AudienceId>,
    Params(query): Params<UploadQuery>,
    request: Request,
) -> Result<impl IntoResponse> {
    let asked = Asked::read(query, request.headers())?;
    check_uploadable(&read(&api, id).await?.body)?;
    let blob = rows::audience::upload_blob(id, upload::attempt(&api));
    let upload = upload::store(&api, blob, asked, request.into_body()).await?;
    // Read again: the upload may have taken minutes, and another may have come first.
    let row = read(&api, id).await?;
    let mut refusal = check_uploadable(&row.body).err();
    let audience =
        Audience { upload: Some(upload.clone()), state: AudienceState::Uploaded, report: None, ..row.body };
    if refusal.is_none() {
        let write = rows::audience::put(&audience, Expect::Version(row.version));
        let event = event(&api, &actor, "audience.uploaded", id, uploaded(&upload));
        let conflicts = audited(&api, vec![write], event).await?;
        refusal = (!conflicts.is_empty()).then(being_resolved);
    }
    if let Some(refusal) = refusal {
        api.backend.blobs.delete(&upload.blob).await?;
        return Err(refusal);
    }
    enqueue(&api, &ToResolver::Resolve(Resolve { audience: id })).await?;
    Ok((StatusCode::ACCEPTED, Json(audience)))
}

/// An audience takes uploads until one is being resolved; a frozen one never changes.
fn check_uploadable(audience: &Audience) -> Result<()> {
    if let Some(sample) = &audience.sample {
        let detail = format!("it is a sample of audience {}: make another audience", sample.of);
        return Err(Problem::conflict("/problems/sample", "A sample takes no upload", detail));
    }
    match &audience.state {
        AudienceState::Empty | AudienceState::Failed { .. } => Ok(()),
        AudienceState::Uploaded | AudienceState::Resolving { .. } => Err(being_resolved()),
        AudienceState::Frozen { snapshot, .. } => {
            let detail = format!("it is frozen as snapshot {snapshot}: make another audience");
            Err(Problem::conflict("/problems/frozen", "A frozen audience does not change", detail))
        }
    }
}

fn being_resolved() -> Problem {
    let detail = "another upload is being resolved: wait until it is frozen or has failed";
    Problem::conflict("/problems/being-resolved", "Another upload came first", detail)
}
