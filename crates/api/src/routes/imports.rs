//! Imports of devices: the file is stored, a resolver takes it in.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::Response;
use backend::rows::upload::Target;
use backend::{Outgoing, Queue, rows};
use model::ImportId;
use model::audience::Upload;
use model::import::Import;
use model::queued::ToResolver;

use super::uploads::{self, UploadFields};
use super::{Listed, Shown};
use crate::asked::{Asked, UploadQuery};
use crate::extract::{Actor, Page, PageQuery, Params, Place};
use crate::problem::{Problem, Result};
use crate::{Api, upload};

/// Import devices: CSV with the header `user,platform,key,app,locale,market` and optionally `registered_at`, or NDJSON
/// with these fields. With `Upload-Complete: ?0` the body is the first part of an upload that goes on at the `Location` of
/// the answer.
#[utoipa::path(post, path = "/v1/imports", tag = "devices",
    params(UploadQuery, UploadFields,
        ("Idempotency-Key" = Option<String>, Header, description = "the same bytes with the same key are one import")),
    request_body(content = String, content_type = "text/csv"),
    responses(
        (status = 202, description = "Stored; follow it by its id", body = Object),
        (status = 201, description = "The upload has begun; go on at its Location"),
        (status = 400, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem)))]
pub(crate) async fn create(
    State(api): State<Api>,
    Actor(actor): Actor,
    Params(query): Params<UploadQuery>,
    request: Request,
) -> Result<Response> {
    let asked = Asked::read(query, request.headers())?;
    let target = Target::Import(ImportId::random(&*api.runtime.randomness));
    upload::take(&api, target, actor, asked, request).await
}

/// What uploads can be, and how large.
#[utoipa::path(options, path = "/v1/imports", tag = "devices",
    responses((status = 204, description = "Accept-Patch and Upload-Limit say that uploads may come in parts")))]
pub(crate) async fn options(State(api): State<Api>) -> Response {
    uploads::offer(&api)
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
#[utoipa::path(get, path = "/v1/imports", tag = "devices", params(PageQuery), responses((status = 200, body = Object)))]
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
