//! Whether the process lives, whether it can reach its backend, and its counters.

use axum::extract::State;
use axum::response::IntoResponse;
use backend::rows;
use http::header;

use crate::Api;
use crate::problem::Result;

/// The process lives.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = String)))]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// The backend answers.
#[utoipa::path(get, path = "/readyz", tag = "health", responses((status = 200, body = String)))]
pub(crate) async fn readyz(State(api): State<Api>) -> Result<&'static str> {
    rows::launch::open(&*api.backend.store).await?;
    Ok("ready\n")
}

/// Counters in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, body = String)))]
pub(crate) async fn metrics(State(api): State<Api>) -> Result<impl IntoResponse> {
    let open = rows::launch::open(&*api.backend.store).await?.len();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], api.metrics.render(open)))
}
