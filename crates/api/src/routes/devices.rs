//! Devices one by one: what an app's own backend says when somebody logs in or out.

use axum::extract::State;
use backend::directory::{DeadDevice, Imported};
use http::StatusCode;
use model::campaign::Fault;
use model::{Device, Platform, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::ToSchema;

use crate::Api;
use crate::extract::{Json, Place};
use crate::problem::{Problem, Result};

/// A device of a user. What it has as an APNs device of the sandbox its `environment` says, or its app.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDevice {
    /// `apns` or `fcm`.
    #[schema(value_type = String)]
    platform: Platform,
    /// APNs device token, FCM registration token or FID.
    key: String,
    /// APNs topic or FCM project.
    app: String,
    /// BCP 47 language tag.
    locale: String,
    /// Market.
    market: String,
    /// `production` or `sandbox`, of APNs devices; production when it is not said.
    #[serde(default)]
    environment: String,
    /// When the app registered it; now when it is not said.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    registered_at: Option<Timestamp>,
}

/// Which device of a user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamedDevice {
    /// `apns` or `fcm`.
    #[schema(value_type = String)]
    platform: Platform,
    /// APNs device token, FCM registration token or FID.
    key: String,
    /// APNs topic or FCM project.
    app: String,
    /// `production` or `sandbox`, of APNs devices; production when it is not said.
    #[serde(default)]
    environment: String,
}

/// What became of a device.
#[derive(Serialize, ToSchema)]
pub(crate) struct Kept {
    /// `added`, `changed` or `unchanged`.
    outcome: &'static str,
}

/// Add or change a device of a user. Once it is answered the directory has it, whatever happens to the process.
#[utoipa::path(put, path = "/v1/users/{user}/devices", tag = "devices", params(("user" = String, Path)),
    request_body = NewDevice, responses((status = 200, body = Kept), (status = 400, body = Problem),
        (status = 409, description = "the person was erased", body = Problem)))]
pub(crate) async fn put(
    State(api): State<Api>,
    Place(user): Place<String>,
    Json(new): Json<NewDevice>,
) -> Result<axum::Json<Kept>> {
    let NewDevice { platform, key, app, locale, market, environment, registered_at } = new;
    let registered_at = registered_at.unwrap_or_else(|| api.runtime.clock.now());
    let device = Device { user, platform, key, app, locale, market, registered_at };
    let device =
        device.in_environment(&environment).and_then(Device::checked).map_err(|error| fault(&error))?;
    let user = device.user.clone();
    let erased = || Problem::conflict("/problems/erased", "The person was erased", ERASED);
    // What is not written leaves no trace in the directory's log; whom this look misses the next one sees.
    if api.late_list.was_erased(&api, &user).await? {
        return Err(erased());
    }
    // To its end also when whoever asked is gone: nobody else would look again.
    let (sender, answer) = oneshot::channel();
    let taking = take(api.clone(), device);
    api.runtime.spawner.spawn("device", Box::pin(async move { drop(sender.send(taking.await)) }));
    let taken = answer.await.map_err(|_| Problem::stopping())??;
    let imported = taken.ok_or_else(erased)?;
    let outcome = match (imported.added, imported.changed) {
        (0, 0) => "unchanged",
        (0, _) => "changed",
        _ => "added",
    };
    Ok(axum::Json(Kept { outcome }))
}

/// Imports a device; `None` when its owner was erased meanwhile, and it with its owner.
async fn take(api: Api, device: Device) -> Result<Option<Imported>> {
    let user = device.user.clone();
    let imported = api.backend.directory.import(vec![device]).await?;
    // An erasure that comes later removes what was imported; one that came before is seen here.
    if api.late_list.is_erased(&api, &user).await? {
        api.backend.directory.erase_users(&[user]).await?;
        return Ok(None);
    }
    Ok(Some(imported))
}

/// Remove a device of a user. It is not needed for dead ones: what a provider calls dead is removed by itself.
#[utoipa::path(delete, path = "/v1/users/{user}/devices", tag = "devices", params(("user" = String, Path)),
    request_body = NamedDevice, responses((status = 204, description = "it is gone, or was never there")))]
pub(crate) async fn remove(
    State(api): State<Api>,
    Place(user): Place<String>,
    Json(named): Json<NamedDevice>,
) -> Result<StatusCode> {
    let NamedDevice { platform, key, app, environment } = named;
    // Locale and market name no device.
    let (locale, market, registered_at) = ("en".to_owned(), "all".to_owned(), Timestamp(0));
    let device = Device { user, platform, key, app, locale, market, registered_at };
    let device =
        device.in_environment(&environment).and_then(Device::checked).map_err(|error| fault(&error))?;
    let Device { user, platform, app, key, .. } = device;
    let dead = DeadDevice { user, platform, app, key, dead_since: Timestamp(u64::MAX) };
    api.backend.directory.prune(vec![dead]).await?;
    Ok(StatusCode::NO_CONTENT)
}

const ERASED: &str = "the user asked to be forgotten and is kept out of the directory; if the person is back, take the user \
    off the late list first: DELETE /v1/suppression/{user}";

fn fault(error: &model::device::DeviceError) -> Problem {
    use model::device::DeviceError as Error;
    let pointer = match error {
        Error::User => return Problem::bad_request(error.to_string()),
        Error::ApnsKey | Error::FcmKey => "/key".to_owned(),
        other => format!("/{}", other.word()),
    };
    Problem::faults(vec![Fault { pointer, detail: error.to_string() }])
}
