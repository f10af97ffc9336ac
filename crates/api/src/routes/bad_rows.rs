//! The full list of an upload's bad rows: stored packed, told plain, a line of JSON each.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use backend::rows;
use http::header;
use model::audience::ReadReport;
use model::{AudienceId, ImportId};

use crate::Api;
use crate::extract::Place;
use crate::packed;
use crate::problem::{Problem, Result};

/// List the rows of an audience's upload that could not be read: line, byte, reason and cause of each.
#[utoipa::path(get, path = "/v1/audiences/{id}/bad-rows", tag = "audiences", params(("id" = String, Path)),
    responses((status = 200, content_type = "application/x-ndjson", body = String), (status = 409, body = Problem)))]
pub(crate) async fn of_audience(State(api): State<Api>, Place(id): Place<AudienceId>) -> Result<Response> {
    let row = rows::audience::get(&*api.backend.store, id).await?;
    let audience = row.ok_or_else(|| Problem::not_found(format!("audience {id}")))?.body;
    answer(&api, audience.report.map(|report| report.read)).await
}

/// List the rows of an import that could not be read: line, byte, reason and cause of each.
#[utoipa::path(get, path = "/v1/imports/{id}/bad-rows", tag = "devices", params(("id" = String, Path)),
    responses((status = 200, content_type = "application/x-ndjson", body = String), (status = 409, body = Problem)))]
pub(crate) async fn of_import(State(api): State<Api>, Place(id): Place<ImportId>) -> Result<Response> {
    let row = rows::import::get(&*api.backend.store, id).await?;
    let import = row.ok_or_else(|| Problem::not_found(format!("import {id}")))?.body;
    answer(&api, import.report.map(|report| report.read)).await
}

async fn answer(api: &Api, read: Option<ReadReport>) -> Result<Response> {
    let Some(read) = read else {
        let detail = "the upload is not read yet: look again when it is over";
        return Err(Problem::conflict("/problems/not-written", "There is no list yet", detail));
    };
    let media_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    let Some(blob) = read.bad_rows_blob else { return Ok((media_type, Body::empty()).into_response()) };
    let path = api.backend.blobs.file(&blob).await?;
    let path = path.ok_or_else(|| Problem::not_found("the list of bad rows"))?;
    Ok((media_type, packed::body(path, packed::Told::AsItIs)).into_response())
}
