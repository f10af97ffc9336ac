//! Imports of devices: the file is stored, a resolver takes it in.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use backend::{Expect, Outgoing, Queue, rows};
use http::StatusCode;
use model::ImportId;
use model::audience::Upload;
use model::import::{Import, ImportState};
use model::queued::{TakeIn, ToResolver};

use super::{Listed, Shown};
use crate::Api;
use crate::asked::{Asked, UploadQuery};
use crate::change::{audited, event};
use crate::extract::{Actor, Page, Params, Place};
use crate::problem::{Problem, Result};
use crate::upload;

/// Import devices: CSV with the header `user,platform,key,app,locale,market` and optionally `registered_at`, or NDJSON
/// with these fields.
#[utoipa::path(post, path = "/v1/imports", tag = "devices",
    params(UploadQuery),
    request_body(content = String, content_type = "text/csv"),
    responses((status = 202, description = "Stored; follow it by its id", body = Object)))]
pub(crate) async fn create(
    State(api): State<Api>,
    Actor(actor): Actor,
    Params(query): Params<UploadQuery>,
    request: Request,
) -> Result<impl IntoResponse> {
    let asked = Asked::read(query, request.headers())?;
    let id = ImportId::random(&*api.runtime.randomness);
    let blob = rows::import::upload_blob(id, upload::attempt(&api));
    let upload = upload::store(&api, blob, asked, request.into_body()).await?;
    let import =
        Import { id, upload, state: ImportState::Uploaded, report: None, created_at: upload::now(&api) };
    let event = event(&api, &actor, "devices.uploaded", id, uploaded(&import.upload));
    audited(&api, vec![rows::import::put(&import, Expect::Absent)], event).await?;
    enqueue(&api, &ToResolver::TakeIn(TakeIn { import: id })).await?;
    Ok((StatusCode::ACCEPTED, [(http::header::LOCATION, format!("/v1/imports/{id}"))], Json(import)))
}

/// What the audit says of an upload.
pub(crate) fn uploaded(upload: &Upload) -> serde_json::Value {
    serde_json::json!({ "bytes": upload.bytes, "digest": upload.digest })
}

/// Hands something to a resolver.
pub(crate) async fn enqueue(api: &Api, message: &ToResolver) -> Result<()> {
    let body = serde_json::to_string(message).map_err(|error| Problem::bad_request(error.to_string()))?;
    Ok(api.backend.queues.send(Queue::Resolve, vec![Outgoing::now(body)]).await?)
}

/// List imports.
#[utoipa::path(get, path = "/v1/imports", tag = "devices", responses((status = 200, body = Object)))]
pub(crate) async fn list(State(api): State<Api>, page: Page) -> Result<Json<Listed<Shown<Import>>>> {
    let (rows, has_more) = rows::import::list(&*api.backend.store, &page.after, page.limit).await?;
    let last = rows.last().map(|row| row.body.id.to_string());
    Ok(Listed::new(rows.into_iter().map(Shown::from).collect(), has_more, last))
}

/// Look at an import.
#[utoipa::path(get, path = "/v1/imports/{id}", tag = "devices", params(("id" = String, Path)),
    responses((status = 200, body = Object)))]
pub(crate) async fn get(State(api): State<Api>, Place(id): Place<ImportId>) -> Result<Json<Shown<Import>>> {
    let row = rows::import::get(&*api.backend.store, id).await?;
    Ok(Json(row.ok_or_else(|| Problem::not_found(format!("import {id}")))?.into()))
}
