//! The directory: how large it is, and forgetting a user.

use axum::Json;
use axum::extract::State;
use backend::rows::audit;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::change::event;
use crate::extract::{Actor, Place};
use crate::problem::{Problem, Result};

/// Users and devices.
#[derive(Serialize, ToSchema)]
pub(crate) struct Size {
    users: u64,
    devices: u64,
}

/// Count users and devices.
#[utoipa::path(get, path = "/v1/directory", tag = "devices", responses((status = 200, body = Size)))]
pub(crate) async fn count(State(api): State<Api>) -> Result<Json<Size>> {
    let (users, devices) = api.backend.directory.count().await?;
    Ok(Json(Size { users, devices }))
}

/// What was forgotten.
#[derive(Serialize, ToSchema)]
pub(crate) struct Forgotten {
    devices: u64,
}

/// Forget a user and the user's devices. Snapshots that are frozen keep them until they are deleted.
#[utoipa::path(delete, path = "/v1/users/{user}", tag = "devices", params(("user" = String, Path)),
    responses((status = 200, body = Forgotten)))]
pub(crate) async fn delete_user(
    State(api): State<Api>,
    Actor(actor): Actor,
    Place(user): Place<String>,
) -> Result<Json<Forgotten>> {
    model::device::check_user(&user).map_err(|error| Problem::bad_request(error.to_string()))?;
    let devices = api.backend.directory.delete_users(std::slice::from_ref(&user)).await?;
    // The audit is kept longer than people may be remembered: it names the digest of the user id.
    let subject = model::Digest::of(user.as_bytes());
    let event = event(&api, &actor, "user.deleted", subject, serde_json::json!({ "devices": devices }));
    audit::record(&*api.backend.store, event).await?;
    Ok(Json(Forgotten { devices }))
}
