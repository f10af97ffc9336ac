//! Workers, as they last said of themselves.

use axum::Json;
use axum::extract::State;
use backend::rows::fleet::{self, Heartbeat};

use crate::Api;
use crate::problem::Result;

/// List workers: what they hold, their connections, memory, version and clock error.
#[utoipa::path(get, path = "/v1/workers", tag = "fleet", responses((status = 200, body = Vec<Object>)))]
pub(crate) async fn workers(State(api): State<Api>) -> Result<Json<Vec<Heartbeat>>> {
    Ok(Json(fleet::heartbeats(&*api.backend.store).await?))
}
