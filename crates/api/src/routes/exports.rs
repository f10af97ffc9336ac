//! Exports of a launch's outcomes, device by device: asked for here, written by a resolver, fetched here.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use backend::{Expect, rows};
use http::{HeaderMap, StatusCode, header};
use model::export::{Export, ExportFormat, ExportState, ExportWhat};
use model::queued::{ToResolver, WriteOut};
use model::{ExportId, LaunchId};
use serde::{Deserialize, Serialize};
use tokio_util::io::ReaderStream;
use utoipa::ToSchema;

use super::Shown;
use super::imports::enqueue;
use super::launches::require_over;
use super::live::Standing;
use crate::change::{audited, event};
use crate::extract::{Actor, Json as Body_, Place};
use crate::problem::{Problem, Result};
use crate::{Api, idempotency, upload};

/// An export to write.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewExport {
    /// `ndjson` or `csv`.
    #[schema(value_type = String)]
    format: ExportFormat,
    /// `outcomes` (every device, when absent) or `dead_devices` (those that the provider called dead, with their keys, for
    /// whoever owns the list that they came from).
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    what: ExportWhat,
}

/// Ask for the outcomes of a launch that is over.
#[utoipa::path(post, path = "/v1/launches/{id}/exports", tag = "report",
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header, description = "the same request with the same key is done once")),
    request_body = NewExport, responses((status = 202, body = Object), (status = 409, body = Problem)))]
pub(crate) async fn create(
    State(api): State<Api>,
    Actor(actor): Actor,
    Place(id): Place<LaunchId>,
    headers: HeaderMap,
    Body_(new): Body_<NewExport>,
) -> Result<impl IntoResponse> {
    require_over(&Standing::read(&api, id).await?)?;
    let made = idempotency::once(&api, &headers, &("export", id, &new), make(&api, &actor, id, &new)).await?;
    let location = format!("/v1/exports/{}", made.id);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(made)))
}

async fn make(api: &Api, actor: &str, launch: LaunchId, new: &NewExport) -> Result<Export> {
    let export = Export {
        id: ExportId::random(&*api.runtime.randomness),
        launch,
        what: new.what,
        format: new.format,
        state: ExportState::Asked,
        created_at: upload::now(api),
        worked_at: None,
    };
    let detail = serde_json::json!({ "launch": launch, "what": new.what });
    let event = event(api, actor, "export.asked", export.id, detail);
    audited(api, vec![rows::export::put(&export, Expect::Absent)], event).await?;
    enqueue(api, &ToResolver::WriteOut(WriteOut { export: export.id })).await?;
    Ok(export)
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
    let (media_type, ending) = match export.format {
        ExportFormat::Csv => ("text/csv; charset=utf-8", "csv"),
        ExportFormat::Ndjson => ("application/x-ndjson", "ndjson"),
    };
    let headers = [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (header::CONTENT_LENGTH, bytes.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{id}.{ending}\"")),
    ];
    let body = Body::from_stream(ReaderStream::with_capacity(file, 256 * 1_024));
    Ok((headers, body).into_response())
}
