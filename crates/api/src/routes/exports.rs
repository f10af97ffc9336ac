//! Exports, device by device: of a launch's outcomes, of an audience, of what changed between two. Asked for here, written
//! by a resolver, fetched here.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use backend::{Expect, rows};
use http::{HeaderMap, StatusCode, header};
use model::campaign::Fault;
use model::export::{Export, ExportFormat, ExportState, Subject};
use model::queued::{ToResolver, WriteOut};
use model::{AudienceId, Digest, ExportId, LaunchId};
use serde::{Deserialize, Serialize};
use tokio_util::io::ReaderStream;
use utoipa::ToSchema;

use super::imports::enqueue;
use super::launches::require_over;
use super::live::Standing;
use super::{Shown, audiences};
use crate::change::{audited, event};
use crate::extract::{Actor, Json as Body_, Place};
use crate::problem::{Problem, Result};
use crate::{Api, idempotency, upload};

/// An export of a launch to write.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLaunchExport {
    /// `ndjson` or `csv`.
    #[schema(value_type = String)]
    format: ExportFormat,
    /// `outcomes` (every device, when absent) or `dead_devices` (those that the provider called dead, with their keys, for
    /// whoever owns the list that they came from).
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    what: OfLaunch,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OfLaunch {
    #[default]
    Outcomes,
    DeadDevices,
}

/// An export of an audience to write.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewExport {
    /// `members` (every device of the frozen audience) or `difference` (devices that it has and `against` has not, or the
    /// other way round; the state then has it in numbers).
    #[schema(value_type = String)]
    what: OfAudience,
    /// The audience.
    #[schema(value_type = String)]
    audience: AudienceId,
    /// Of a difference: the audience that it is compared with, usually an earlier one.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    against: Option<AudienceId>,
    /// `ndjson` or `csv`.
    #[schema(value_type = String)]
    format: ExportFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OfAudience {
    Members,
    Difference,
}

/// Ask for the outcomes of a launch that is over.
#[utoipa::path(post, path = "/v1/launches/{id}/exports", tag = "report",
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header, description = "the same request with the same key is done once")),
    request_body = NewLaunchExport, responses((status = 202, body = Object), (status = 409, body = Problem)))]
pub(crate) async fn create_of_launch(
    State(api): State<Api>,
    Actor(actor): Actor,
    Place(launch): Place<LaunchId>,
    headers: HeaderMap,
    Body_(new): Body_<NewLaunchExport>,
) -> Result<impl IntoResponse> {
    require_over(&Standing::read(&api, launch).await?)?;
    let subject = match new.what {
        OfLaunch::Outcomes => Subject::Outcomes { launch },
        OfLaunch::DeadDevices => Subject::DeadDevices { launch },
    };
    let made = make(&api, &actor, subject, new.format);
    let made = idempotency::once(&api, &headers, &("export", launch, &new), made).await?;
    Ok(taken(made))
}

/// Ask for the devices of a frozen audience, or for what changed since another.
#[utoipa::path(post, path = "/v1/exports", tag = "audiences",
    params(("Idempotency-Key" = Option<String>, Header, description = "the same request with the same key is done once")),
    request_body = NewExport, responses((status = 202, body = Object), (status = 409, body = Problem)))]
pub(crate) async fn create(
    State(api): State<Api>,
    Actor(actor): Actor,
    headers: HeaderMap,
    Body_(new): Body_<NewExport>,
) -> Result<impl IntoResponse> {
    let subject = subject(&api, &new).await?;
    let made = make(&api, &actor, subject, new.format);
    let made = idempotency::once(&api, &headers, &("export", &new), made).await?;
    Ok(taken(made))
}

/// What an export is of, by the snapshots as they are now: a frozen audience never changes.
async fn subject(api: &Api, new: &NewExport) -> Result<Subject> {
    let audience = new.audience;
    let (against, fault) = match (new.what, new.against) {
        (OfAudience::Members, None) => {
            return Ok(Subject::Members { audience, snapshot: snapshot(api, audience).await? });
        }
        (OfAudience::Difference, Some(against)) => (against, None),
        (OfAudience::Members, Some(against)) => (against, Some("members are of one audience")),
        (OfAudience::Difference, None) => (audience, Some("a difference is against another audience")),
    };
    if let Some(detail) = fault {
        let fault = Fault { pointer: "/against".into(), detail: detail.into() };
        return Err(Problem::faults(vec![fault]));
    }
    let (snapshot, against_snapshot) = (snapshot(api, audience).await?, snapshot(api, against).await?);
    Ok(Subject::Difference { audience, snapshot, against, against_snapshot })
}

async fn snapshot(api: &Api, id: AudienceId) -> Result<Digest> {
    audiences::read(api, id).await?.body.snapshot().ok_or_else(|| {
        let detail = format!("audience {id} is not frozen: it has no devices yet");
        Problem::conflict("/problems/not-frozen", "The audience is not frozen", detail)
    })
}

fn taken(made: Export) -> impl IntoResponse {
    let location = format!("/v1/exports/{}", made.id);
    (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(made))
}

async fn make(api: &Api, actor: &str, subject: Subject, format: ExportFormat) -> Result<Export> {
    let export = Export {
        id: ExportId::random(&*api.runtime.randomness),
        subject,
        format,
        state: ExportState::Asked,
        created_at: upload::now(api),
        worked_at: None,
    };
    let event = event(api, actor, "export.asked", export.id, serde_json::json!(subject));
    audited(api, vec![rows::export::put(&export, Expect::Absent)], event).await?;
    enqueue(api, &ToResolver::WriteOut(WriteOut { export: export.id })).await?;
    Ok(export)
}

/// The media type of a format, and the ending of file names.
pub(crate) const fn media_type(format: ExportFormat) -> (&'static str, &'static str) {
    match format {
        ExportFormat::Csv => ("text/csv; charset=utf-8", "csv"),
        ExportFormat::Ndjson => ("application/x-ndjson", "ndjson"),
    }
}

/// Look at an export.
#[utoipa::path(get, path = "/v1/exports/{id}", tag = "report", params(("id" = String, Path)),
    responses((status = 200, body = Object)))]
pub(crate) async fn get(State(api): State<Api>, Place(id): Place<ExportId>) -> Result<Json<Shown<Export>>> {
    Ok(Json(read(&api, id).await?.into()))
}

async fn read(api: &Api, id: ExportId) -> Result<rows::Versioned<Export>> {
    let row = rows::export::get(&*api.backend.store, id).await?;
    row.ok_or_else(|| Problem::not_found(format!("export {id}")))
}

/// Fetch the file of an export.
#[utoipa::path(get, path = "/v1/exports/{id}/file", tag = "report", params(("id" = String, Path)),
    responses((status = 200, content_type = "application/x-ndjson", body = String), (status = 409, body = Problem)))]
pub(crate) async fn file(State(api): State<Api>, Place(id): Place<ExportId>) -> Result<Response> {
    let export = read(&api, id).await?.body;
    let ExportState::Done { blob, bytes, .. } = &export.state else {
        let detail = format!("export {id} is not written yet, or failed: look at /v1/exports/{id}");
        return Err(Problem::conflict("/problems/not-written", "There is no file yet", detail));
    };
    let path = api.backend.blobs.file(blob).await?;
    let path = path.ok_or_else(|| {
        Problem::gone("it was kept long enough, or somebody in it was erased: ask for it again")
    })?;
    let file =
        tokio::fs::File::open(&path).await.map_err(|error| Problem::not_found(format!("file: {error}")))?;
    let (media_type, ending) = media_type(export.format);
    let headers = [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (header::CONTENT_LENGTH, bytes.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{id}.{ending}\"")),
    ];
    let body = Body::from_stream(ReaderStream::with_capacity(file, 256 * 1_024));
    Ok((headers, body).into_response())
}
