//! The late list: people who must not be sent to any more, whatever was frozen with them in it. It knows them by keyed hashes only.

use axum::Json;
use axum::extract::{FromRequest as _, Request, State};
use axum::response::{IntoResponse as _, Response};
use backend::rows::upload::Target;
use backend::rows::{erasure, suppression};
use http::StatusCode;
use model::campaign::Fault;
use model::device::check_user;
use model::suppression::{Cause, Entry, UserHash};
use model::{ImportId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::uploads::{self, UploadFields};
use crate::asked::{Asked, LateListQuery};
use crate::change::{audited, event};
use crate::extract::{Actor, Json as Body, Params, Place, media_type};
use crate::problem::{Problem, Result};
use crate::{Api, upload};

/// Most people of one request.
const USERS_MAX: usize = 10_000;

/// How long the list is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Length {
    /// Grows with each change. Workers say which one they hold for each snapshot.
    version: u64,
    /// When it came to this version; absent when nobody was ever added.
    #[schema(value_type = Option<String>)]
    changed_at: Option<Timestamp>,
    opted_out: u64,
    blocked: u64,
    erased: u64,
}

/// See how long the list is.
#[utoipa::path(get, path = "/v1/suppression", tag = "suppression", responses((status = 200, body = Length)))]
pub(crate) async fn count(State(api): State<Api>) -> Result<Json<Length>> {
    let list = suppression::list(&*api.backend.store).await?.body;
    let [opted_out, blocked, erased] = list.by_cause;
    let changed_at = list.versions.changed_at();
    Ok(Json(Length { version: list.versions.last(), changed_at, opted_out, blocked, erased }))
}

/// People to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Additions {
    /// User ids, at most 10,000.
    users: Vec<String>,
    /// `opted_out` or `blocked`.
    #[schema(value_type = String)]
    cause: Cause,
}

/// What a change did.
#[derive(Serialize, ToSchema)]
pub(crate) struct Changed {
    /// The list's version now.
    version: u64,
    /// People who came onto it or went off it; the others were as asked already.
    people: u64,
}

/// Add people to the list: at most 10,000 in a body of JSON, or a file of any size, which is an import. Workers leave them out of
/// every snapshot within ten seconds of the change; nothing has to be rehearsed again. A file is written and read as that of an
/// audience; with `Upload-Complete: ?0` the body is its first part.
#[utoipa::path(post, path = "/v1/suppression", tag = "suppression",
    params(LateListQuery, UploadFields,
        ("Idempotency-Key" = Option<String>, Header, description = "of a file: the same bytes with the same key are one import")),
    request_body(content((Additions = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"),
        (String = "text/plain"))),
    responses((status = 200, description = "They are on the list", body = Changed),
        (status = 202, description = "The file is stored; follow the import by its id", body = Object),
        (status = 201, description = "The upload has begun; go on at its Location"),
        (status = 400, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn add(
    State(api): State<Api>,
    Actor(actor): Actor,
    Params(query): Params<LateListQuery>,
    request: Request,
) -> Result<Response> {
    if media_type(request.headers()) == "application/json" {
        let Body(additions) = Body::from_request(request, &api).await?;
        return Ok(add_some(&api, &actor, additions).await?.into_response());
    }
    let asked = Asked::read_people(&query, request.headers())?;
    let cause = match query.cause {
        Some(cause @ (Cause::OptedOut | Cause::Blocked)) => cause,
        Some(Cause::Erased) => return Err(Problem::bad_request(ERASED_IS_MORE)),
        None => {
            return Err(Problem::bad_request("say ?cause=opted_out or ?cause=blocked for all of the file"));
        }
    };
    let target = Target::LateList { import: ImportId::random(&*api.runtime.randomness), cause };
    upload::take(&api, target, actor, asked, request).await
}

/// What uploads can be, and how large.
#[utoipa::path(options, path = "/v1/suppression", tag = "suppression",
    responses((status = 204, description = "Accept-Patch and Upload-Limit say that uploads may come in parts")))]
pub(crate) async fn options(State(api): State<Api>) -> Response {
    uploads::offer(&api)
}

const ERASED_IS_MORE: &str = "erasing somebody is more than leaving the person out: ask for an erasure";

async fn add_some(api: &Api, actor: &str, additions: Additions) -> Result<Json<Changed>> {
    let Additions { users, cause } = additions;
    let mut faults = Vec::new();
    if users.is_empty() || users.len() > USERS_MAX {
        let detail = format!("must name 1 to {USERS_MAX} users");
        faults.push(Fault { pointer: "/users".into(), detail });
    }
    if cause == Cause::Erased {
        faults.push(Fault { pointer: "/cause".into(), detail: ERASED_IS_MORE.into() });
    }
    faults.extend(users.iter().enumerate().filter_map(|(index, user)| {
        let error = check_user(user).err()?;
        Some(Fault { pointer: format!("/users/{index}"), detail: error.to_string() })
    }));
    if !faults.is_empty() {
        faults.truncate(FAULTS_MAX);
        return Err(Problem::faults(faults));
    }
    let key = suppression::hash_key(&*api.backend.store, &*api.runtime.randomness).await?;
    let since = upload::now(api);
    let entries: Vec<Entry> = users.iter().map(|user| Entry { user: key.user(user), cause, since }).collect();
    let detail = serde_json::json!({ "cause": cause });
    Ok(Json(change(api, actor, "suppression.added", &entries, &[], detail).await?))
}

/// Faults of one answer.
const FAULTS_MAX: usize = 20;

/// Why somebody is on the list.
#[derive(Serialize, ToSchema)]
pub(crate) struct Standing {
    /// `opted_out`, `blocked` or `erased`.
    #[schema(value_type = String)]
    cause: Cause,
    /// Since when.
    #[schema(value_type = String)]
    since: Timestamp,
}

/// See whether somebody is on the list.
#[utoipa::path(get, path = "/v1/suppression/{user}", tag = "suppression", params(("user" = String, Path)),
    responses((status = 200, body = Standing), (status = 404, body = Problem)))]
pub(crate) async fn get(State(api): State<Api>, Place(user): Place<String>) -> Result<Json<Standing>> {
    let hash = hashed(&api, &user).await?;
    let list = suppression::current(&*api.backend.store, &*api.backend.blobs).await?;
    let entry = list.people.entry(&hash).ok_or_else(|| Problem::not_found("such user on the list"))?;
    Ok(Json(Standing { cause: entry.cause, since: entry.since }))
}

/// Take somebody off the list: later snapshots have the person again, those that are frozen do not.
#[utoipa::path(delete, path = "/v1/suppression/{user}", tag = "suppression", params(("user" = String, Path)),
    responses((status = 200, body = Changed), (status = 409, description = "an erasure is under way", body = Problem)))]
pub(crate) async fn remove(
    State(api): State<Api>,
    Actor(actor): Actor,
    Place(user): Place<String>,
) -> Result<(StatusCode, Json<Changed>)> {
    let hash = hashed(&api, &user).await?;
    let mut open = erasure::open(&*api.backend.store).await?.into_iter().map(|row| row.body);
    if let Some(open) = open.find(|one| one.user == hash && one.cleared_at.is_none()) {
        let detail = format!("{} would remove what comes in until it is through; try again then", open.id);
        return Err(Problem::conflict("/problems/erasure-under-way", "An erasure is under way", detail));
    }
    let detail = serde_json::json!({ "user": hash });
    let changed = change(&api, &actor, "suppression.removed", &[], &[hash], detail).await?;
    Ok((StatusCode::OK, Json(changed)))
}

/// The keyed hash of a user id.
pub(crate) async fn hashed(api: &Api, user: &str) -> Result<UserHash> {
    check_user(user).map_err(|error| Problem::bad_request(error.to_string()))?;
    let key = suppression::hash_key(&*api.backend.store, &*api.runtime.randomness).await?;
    Ok(key.user(user))
}

/// Changes the list, again when somebody else's change came first.
async fn change(
    api: &Api,
    actor: &str,
    action: &str,
    added: &[Entry],
    removed: &[UserHash],
    detail: serde_json::Value,
) -> Result<Changed> {
    let (store, blobs) = (&*api.backend.store, &*api.backend.blobs);
    loop {
        let now = upload::now(api);
        let change = suppression::change(store, blobs, &*api.runtime.randomness, now, added, removed).await?;
        let Some(change) = change else {
            let version = suppression::list(store).await?.body.versions.last();
            return Ok(Changed { version, people: 0 });
        };
        let (version, people, mut detail) = (change.version, change.people(), detail.clone());
        detail["people"] = people.into();
        let event = event(api, actor, action, format!("suppression {version}"), detail);
        let is_done = audited(api, vec![change.write], event).await?.is_empty();
        let unnamed = if is_done { change.replaced } else { change.new_blob };
        if let Some(blob) = unnamed {
            blobs.delete(&blob).await?;
        }
        if is_done {
            api.late_list.forget().await;
            return Ok(Changed { version, people });
        }
    }
}
