//! Audiences: made, uploaded, looked at while a resolver freezes them.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use backend::rows::upload::Target;
use backend::{Expect, Write, rows};
use http::{HeaderMap, StatusCode};
use model::audience::UploadRows;
use model::campaign::Fault;
use model::queued::{Resolve, ToResolver};
use model::selection::{Control, Sample};
use model::{Audience, AudienceId, AudienceState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::imports::enqueue;
use super::uploads::{self, UploadFields};
use super::{Listed, Shown};
use crate::asked::{Asked, UploadQuery};
use crate::change::{audited, event};
use crate::extract::{Actor, Json as Body, Page, PageQuery, Params, Place, etag};
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
    /// Whether devices of APNs' sandbox come in; a sample has those of the audience that it is of. Without it they are left
    /// out, counted as `sandbox`.
    #[serde(default)]
    sandbox: bool,
}

/// Make an audience.
#[utoipa::path(post, path = "/v1/audiences", tag = "audiences", request_body = NewAudience,
    params(("Idempotency-Key" = Option<String>, Header, description = "the same request with the same key is done once")),
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
        if new.sandbox {
            fault("/sandbox", "a sample has of the sandbox what the audience has that it is of".into());
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
        sandbox: new.sandbox,
        upload: None,
        state: if new.sample.is_some() { AudienceState::Uploaded } else { AudienceState::Empty },
        report: None,
        created_at: upload::now(api),
        worked_at: None,
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
#[utoipa::path(get, path = "/v1/audiences", tag = "audiences", params(PageQuery),
    responses((status = 200, body = Object)))]
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

pub(crate) async fn read(api: &Api, id: AudienceId) -> Result<rows::Versioned<Audience>> {
    let row = rows::audience::get(&*api.backend.store, id).await?;
    row.ok_or_else(|| Problem::not_found(format!("audience {id}")))
}

/// Delete an audience that no campaign names, its upload, and its lists. Its snapshot goes a day after nobody names it any more.
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
    for blob in row.body.blobs() {
        api.backend.blobs.delete(blob).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Upload the list: CSV with the header `user`, or with the columns of an import for devices outright; or NDJSON. The same
/// once more is answered with what there is. With `Upload-Complete: ?0` the body is the first part of an upload that goes on
/// at the `Location` of the answer.
#[utoipa::path(put, path = "/v1/audiences/{id}/upload", tag = "audiences",
    params(("id" = String, Path), UploadQuery, UploadFields),
    request_body(content = String, content_type = "text/csv"),
    responses(
        (status = 202, description = "Stored; a resolver freezes it", body = Object),
        (status = 200, description = "The audience has this upload already", body = Object),
        (status = 201, description = "The upload has begun; go on at its Location"),
        (status = 400, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem),
        (status = 415, body = Problem)))]
pub(crate) async fn upload(
    State(api): State<Api>,
    Actor(actor): Actor,
    Place(id): Place<AudienceId>,
    Params(query): Params<UploadQuery>,
    request: Request,
) -> Result<Response> {
    let asked = Asked::read(query, request.headers())?;
    let bytes = upload::bytes_of(&request);
    upload::hand_over::check_uploadable(&read(&api, id).await?.body, bytes)?;
    upload::take(&api, Target::Audience(id), actor, asked, request).await
}

/// What uploads can be, and how large.
#[utoipa::path(options, path = "/v1/audiences/{id}/upload", tag = "audiences", params(("id" = String, Path)),
    responses((status = 204, description = "Accept-Patch and Upload-Limit say that uploads may come in parts")))]
pub(crate) async fn options(State(api): State<Api>) -> Response {
    uploads::offer(&api)
}

fn being_resolved() -> Problem {
    let detail = "an upload is being resolved: wait until it is frozen or has failed";
    Problem::conflict("/problems/being-resolved", "The audience is being resolved", detail)
}
