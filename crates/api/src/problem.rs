//! Every error as RFC 9457 `application/problem+json`: a stable type, and a JSON Pointer for each fault. HTTP status
//! appears in this crate only.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use model::campaign::Fault;
use serde::Serialize;
use utoipa::ToSchema;

/// The result of a handler.
pub(crate) type Result<T> = std::result::Result<T, Problem>;

/// What the caller is told.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Stable name of the kind of problem, for example `/problems/not-frozen`.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// The kind in words.
    pub(crate) title: &'static str,
    /// The HTTP status.
    pub(crate) status: u16,
    /// What is wrong this time, and what to do.
    pub(crate) detail: String,
    /// Each fault with its place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub(crate) errors: Vec<Fault>,
    #[serde(skip)]
    pub(crate) retry_after_s: Option<u32>,
    /// What some kinds say besides.
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) more: Option<Box<More>>,
}

/// What some kinds of problem say besides.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct More {
    /// Members of the body.
    #[serde(flatten)]
    pub(crate) members: serde_json::Map<String, serde_json::Value>,
    #[serde(skip)]
    pub(crate) headers: HeaderMap,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        let (status, detail) = (status.as_u16(), detail.into());
        Self { kind, title, status, detail, errors: Vec::new(), retry_after_s: None, more: None }
    }

    /// The same with a header field in its answer.
    pub(crate) fn with_header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.more.get_or_insert_default().headers.insert(name, value.into());
        self
    }

    /// The same with a member in its body.
    fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.more.get_or_insert_default().members.insert(name.to_owned(), value.into());
        self
    }

    /// The request cannot be read.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "/problems/bad-request", "The request cannot be read", detail)
    }

    /// A body that can be read and has faults.
    pub(crate) fn faults(errors: Vec<Fault>) -> Self {
        let number = errors.len();
        let detail = format!("{number} {}", if number == 1 { "fault" } else { "faults" });
        let title = "The content has faults";
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "/problems/faults", title, detail);
        Self { errors, ..problem }
    }

    /// There is no such thing.
    pub(crate) fn not_found(what: impl std::fmt::Display) -> Self {
        let detail = format!("there is no {what}");
        Self::new(StatusCode::NOT_FOUND, "/problems/not-found", "Not found", detail)
    }

    /// What was there is not kept any more.
    pub(crate) fn gone(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "/problems/gone", "It is not kept any more", detail)
    }

    /// The method is not for this path.
    pub(crate) fn method_not_allowed() -> Self {
        let detail = "this path does not take this method; see /v1/openapi.json";
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "/problems/method-not-allowed",
            "Method not allowed",
            detail,
        )
    }

    /// The caller is a web page of somebody else.
    pub(crate) fn foreign_origin(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "/problems/foreign-origin", "Not from here", detail)
    }

    /// A body larger than what is taken.
    pub(crate) fn too_large(bytes_max: u64) -> Self {
        let detail = format!("the body may have at most {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "/problems/too-large", "Too large", detail)
    }

    /// A body of a kind that is not taken here.
    pub(crate) fn media_type(detail: impl Into<String>) -> Self {
        let title = "This kind of content is not taken here";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "/problems/media-type", title, detail)
    }

    /// A body of which nothing came for too long.
    pub(crate) fn stood_still(idle: std::time::Duration) -> Self {
        let detail = format!("the body stood still for {} s", idle.as_secs());
        Self::new(StatusCode::REQUEST_TIMEOUT, "/problems/stood-still", "The body stood still", detail)
    }

    /// The service ends before the body does.
    pub(crate) fn stopping() -> Self {
        let detail = "the service is being stopped: go on once it is there again";
        let title = "The service is being stopped";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "/problems/stopping", title, detail);
        Self { retry_after_s: Some(1), ..problem }
    }

    /// Content that is not what its digest says.
    pub(crate) fn digest_mismatch(field: &HeaderName, kind: &str, wanted: &str, found: &str) -> Self {
        let detail =
            format!("{field} says that the {kind} is {wanted}, and it is {found}: nothing was taken");
        let title = "The content is not what its digest says";
        Self::new(StatusCode::BAD_REQUEST, "/problems/digest-mismatch", title, detail)
    }

    /// A part that does not begin where its upload stands.
    pub(crate) fn mismatching_offset(expected: u64, provided: u64) -> Self {
        let kind = "https://iana.org/assignments/http-problem-types#mismatching-upload-offset";
        let detail = format!("the upload has {expected} bytes, the part begins at {provided}");
        let problem = Self::conflict(kind, "The part begins elsewhere than the upload ends", detail);
        problem.with("expected-offset", expected).with("provided-offset", provided)
    }

    /// More to an upload that is complete.
    pub(crate) fn completed_upload() -> Self {
        let kind = "https://iana.org/assignments/http-problem-types#completed-upload";
        let detail = "nothing can be added to it; Content-Location says what became of it";
        Self::new(StatusCode::BAD_REQUEST, kind, "The upload is complete", detail)
    }

    /// Lengths of one upload that differ.
    pub(crate) fn inconsistent_length(detail: impl Into<String>) -> Self {
        let kind = "https://iana.org/assignments/http-problem-types#inconsistent-upload-length";
        Self::new(StatusCode::BAD_REQUEST, kind, "The lengths of the upload differ", detail)
    }

    /// Another request took the upload over.
    pub(crate) fn taken_over() -> Self {
        let detail =
            "a later request for this upload ended this one: ask for the offset and go on from there";
        Self::conflict("/problems/upload-taken-over", "Another request came", detail)
    }

    /// Another process is at the upload.
    pub(crate) fn upload_busy() -> Self {
        let detail = "another request is at this upload: it ends when its connection does";
        let problem =
            Self::new(StatusCode::LOCKED, "/problems/upload-busy", "Another request is at it", detail);
        Self { retry_after_s: Some(1), ..problem }
    }

    /// An upload that was refused before.
    pub(crate) fn upload_refused(why: &str) -> Self {
        let detail = format!("nothing of this upload is kept: {why}");
        Self::new(StatusCode::GONE, "/problems/upload-refused", "The upload was refused", detail)
    }

    /// More uploads in parts than are taken at once.
    pub(crate) fn too_many_uploads(most: usize) -> Self {
        let detail = format!("{most} uploads are under way: complete or delete one");
        let title = "Too many uploads at once";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "/problems/too-many-uploads", title, detail);
        Self { retry_after_s: Some(60), ..problem }
    }

    /// `If-Match` is missing.
    pub(crate) fn if_match_required() -> Self {
        let detail = "say which version this is meant for: If-Match with the ETag that was read";
        Self::new(StatusCode::PRECONDITION_REQUIRED, "/problems/if-match-required", "Which version?", detail)
    }

    /// `If-Match` names another version than there is.
    pub(crate) fn changed(version: u64, by: &str) -> Self {
        let detail = format!("it was changed: the version is now \"{version}\"{by}; read it again");
        Self::new(StatusCode::PRECONDITION_FAILED, "/problems/changed", "It was changed meanwhile", detail)
    }

    /// The state does not allow it.
    pub(crate) fn conflict(kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, kind, title, detail)
    }

    /// Interlocks that do not hold; each is one of the errors.
    pub(crate) fn interlocks(errors: Vec<Fault>) -> Self {
        let names: Vec<&str> = errors.iter().map(|fault| fault.pointer.trim_start_matches('/')).collect();
        let detail = format!("not launched: {}", names.join(", "));
        let problem = Self::conflict("/problems/interlocks", "Not everything is ready", detail);
        Self { errors, ..problem }
    }

    /// An idempotency key that was used for something else.
    pub(crate) fn key_reused() -> Self {
        let detail = "this Idempotency-Key was used for another request";
        let title = "Idempotency-Key used twice";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "/problems/idempotency-key-reused", title, detail)
    }

    /// Whether it certainly did not happen, and will not when the same is sent again.
    pub(crate) const fn is_refusal(&self) -> bool {
        self.status < 500
    }

    /// Whether somebody has to make room, or mend a store, before it can happen.
    pub(crate) fn is_storage(&self) -> bool {
        self.status == StatusCode::INSUFFICIENT_STORAGE
    }

    /// It is not known whether it happened.
    pub(crate) fn not_known(detail: impl Into<String>) -> Self {
        let title = "It is not known whether it happened";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "/problems/not-known", title, detail);
        Self { retry_after_s: Some(1), ..problem }
    }
}

impl From<backend::Error> for Problem {
    fn from(error: backend::Error) -> Self {
        use backend::ErrorKind;
        match error.kind {
            ErrorKind::Transient | ErrorKind::AnswerLost => {
                tracing::warn!(%error, "the backend failed");
                let title = "The backend cannot be reached";
                let problem = Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "/problems/unavailable",
                    title,
                    error.to_string(),
                );
                Self { retry_after_s: Some(1), ..problem }
            }
            ErrorKind::Storage => {
                tracing::error!(%error, "the backend failed");
                let title = "The storage failed";
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "/problems/storage", title, error.to_string())
            }
            ErrorKind::Invalid => {
                tracing::error!(%error, "the backend refused a call");
                let title = "Internal error";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "/problems/internal", title, error.to_string())
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after_s;
        let more = self.more.as_ref().map(|more| more.headers.clone()).unwrap_or_default();
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.extend(more);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
