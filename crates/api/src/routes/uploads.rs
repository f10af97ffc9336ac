//! Uploads in parts: resources that live until their upload is complete, and some time longer
//! (draft-ietf-httpbis-resumable-upload).

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode};
use model::UploadId;
use utoipa::IntoParams;

use crate::Api;
use crate::extract::Place;
use crate::problem::{Problem, Result};
use crate::upload::{fields, parts};

/// The header fields of an upload, for the OpenAPI document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(
    dead_code,
    reason = "handlers read the headers themselves: what is no structured field counts as absent"
)]
pub(crate) struct UploadFields {
    /// `?0`: the body is the first part of an upload that goes on at the `Location` of the answer. `?1`: it is the whole.
    #[param(rename = "Upload-Complete")]
    upload_complete: Option<String>,
    /// Bytes of the whole.
    #[param(rename = "Upload-Length")]
    upload_length: Option<u64>,
    /// Digest of the whole: `sha-256` or `sha-512` (RFC 9530). An upload that has another is refused.
    #[param(rename = "Repr-Digest")]
    repr_digest: Option<String>,
    /// Digest of this body. A body that has another is not taken.
    #[param(rename = "Content-Digest")]
    content_digest: Option<String>,
    /// `gzip` or `zstd`: what the bytes of the upload are packed with.
    #[param(rename = "Content-Encoding")]
    content_encoding: Option<String>,
}

/// How far an upload is: `Upload-Offset` is where to go on. Ends a request that is still at it.
#[utoipa::path(head, path = "/v1/uploads/{id}", tag = "uploads", params(("id" = String, Path)),
    responses((status = 200, description = "Upload-Complete, Upload-Offset, Upload-Length, Upload-Limit; once it is complete \
        Content-Location"), (status = 404), (status = 410), (status = 423)))]
pub(crate) async fn head(State(api): State<Api>, Place(id): Place<UploadId>) -> Result<Response> {
    parts::look(&api, id).await
}

/// How far an upload is, for reading; whoever is at it goes on.
#[utoipa::path(get, path = "/v1/uploads/{id}", tag = "uploads", params(("id" = String, Path)),
    responses((status = 200, body = Object), (status = 404, body = Problem)))]
pub(crate) async fn get(
    State(api): State<Api>,
    Place(id): Place<UploadId>,
) -> Result<Json<serde_json::Value>> {
    parts::show(&api, id).await.map(Json)
}

/// Append a part. The answer to the last one is the answer to the whole upload.
#[utoipa::path(patch, path = "/v1/uploads/{id}", tag = "uploads",
    params(("id" = String, Path),
        ("Upload-Offset" = u64, Header, description = "where in the upload the part begins"),
        ("Upload-Complete" = String, Header, description = "`?1` with the last part, `?0` with others"),
        ("Upload-Length" = Option<u64>, Header, description = "bytes of the whole"),
        ("Repr-Digest" = Option<String>, Header, description = "digest of the whole"),
        ("Content-Digest" = Option<String>, Header, description = "digest of the part")),
    request_body(content = String, content_type = "application/partial-upload"),
    responses(
        (status = 204, description = "Appended"),
        (status = 202, description = "The upload is complete and stored", body = Object),
        (status = 200, description = "The audience has this upload already", body = Object),
        (status = 400, body = Problem), (status = 404, body = Problem), (status = 408, body = Problem),
        (status = 409, body = Problem), (status = 410, body = Problem), (status = 413, body = Problem),
        (status = 415, body = Problem), (status = 423, body = Problem), (status = 507, body = Problem)))]
pub(crate) async fn append(
    State(api): State<Api>,
    Place(id): Place<UploadId>,
    request: Request,
) -> Result<Response> {
    let (request, body) = request.into_parts();
    Box::pin(parts::append(&api, id, &request.headers, body)).await
}

/// Give an upload up: nothing of it is kept. What a complete one led to stays.
#[utoipa::path(delete, path = "/v1/uploads/{id}", tag = "uploads", params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = Problem), (status = 423, body = Problem)))]
pub(crate) async fn cancel(State(api): State<Api>, Place(id): Place<UploadId>) -> Result<StatusCode> {
    parts::cancel(&api, id).await.map(|()| StatusCode::NO_CONTENT)
}

/// That uploads may come in parts, and how large they may be.
pub(crate) fn offer(api: &Api) -> Response {
    let limit = parts::limit(api, api.config.retention.parts.as_secs());
    let accept = HeaderValue::from_static(fields::PARTIAL);
    (StatusCode::NO_CONTENT, [(fields::ACCEPT_PATCH, accept), (fields::LIMIT, limit)]).into_response()
}
