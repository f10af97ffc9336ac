//! What is asked about one person. Rows, answers and what an `Idempotency-Key` is kept for know the person by a keyed hash; the
//! user id is stored in a blob of its own, which can be removed without a trace.

use axum::Json;
use axum::response::IntoResponse;
use http::{HeaderMap, StatusCode, header};
use model::suppression::UserHash;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::suppression::hashed;
use crate::problem::Result;
use crate::{Api, idempotency};

/// Somebody.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Somebody {
    /// The user id.
    user: String,
}

/// Has `make` make something about somebody, once for an `Idempotency-Key`; it is given the hash and the user id.
pub(crate) async fn once<T, F>(
    api: &Api,
    headers: &HeaderMap,
    what: &'static str,
    somebody: Somebody,
    make: impl FnOnce(UserHash, String) -> F,
) -> Result<T>
where
    T: Serialize + DeserializeOwned,
    F: Future<Output = Result<T>>,
{
    let user = hashed(api, &somebody.user).await?;
    idempotency::once(api, headers, &(what, user), make(user, somebody.user)).await
}

/// The answer that something was taken on, and where to follow it.
pub(crate) fn taken_on<T: Serialize>(location: String, made: T) -> impl IntoResponse {
    (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(made))
}
