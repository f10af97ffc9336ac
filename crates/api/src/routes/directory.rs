//! The directory: how large it is, and forgetting a user.

use axum::Json;
use axum::extract::State;
use backend::rows::audit;
use serde::Serialize;
use utoipa::ToSchema;

use super::suppression::hashed;
use crate::Api;
use crate::change::event;
use crate::extract::{Actor, Place};
use crate::problem::Result;

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

/// Delete a user and the user's devices from the directory. Snapshots that are frozen keep them; to forget somebody everywhere
/// ask for an erasure.
#[utoipa::path(delete, path = "/v1/users/{user}", tag = "devices", params(("user" = String, Path)),
    responses((status = 200, body = Forgotten)))]
pub(crate) async fn delete_user(
    State(api): State<Api>,
    Actor(actor): Actor,
    Place(user): Place<String>,
) -> Result<Json<Forgotten>> {
    // The audit is kept longer than people may be remembered: it knows the hash of the user id.
    let subject = hashed(&api, &user).await?;
    let devices = api.backend.directory.delete_users(std::slice::from_ref(&user)).await?;
    let event = event(&api, &actor, "user.deleted", subject, serde_json::json!({ "devices": devices }));
    audit::record(&*api.backend.store, event).await?;
    Ok(Json(Forgotten { devices }))
}
