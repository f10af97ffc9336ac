//! Inquiries: what is held about one person. Asked here, found out by a resolver, read here.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use backend::{Expect, rows};
use http::{HeaderMap, header};
use model::InquiryId;
use model::inquiry::{Answer, Inquiry, InquiryState};
use model::queued::{LookUp, ToResolver};
use serde::Serialize;

use super::imports::enqueue;
use super::people::{Somebody, once, taken_on};
use crate::change::{audited, event};
use crate::extract::{Actor, Json as Body_, Place};
use crate::problem::{Problem, Result};
use crate::{Api, upload};

/// Ask what is held about somebody: devices, the late list, audiences, launches and their outcomes.
#[utoipa::path(post, path = "/v1/inquiries", tag = "people", request_body = Somebody,
    params(("Idempotency-Key" = Option<String>, Header, description = "the same request with the same key is done once")),
    responses((status = 202, description = "Follow it by its id", body = Object), (status = 400, body = Problem)))]
pub(crate) async fn create(
    State(api): State<Api>,
    Actor(actor): Actor,
    headers: HeaderMap,
    Body_(somebody): Body_<Somebody>,
) -> Result<impl IntoResponse> {
    let now = upload::now(&api);
    let made = once(&api, &headers, "inquiry", somebody, |user, name| {
        let (id, asked_by) = (InquiryId::random(&*api.runtime.randomness), actor.clone());
        let asked = Inquiry { id, user, asked_by, state: InquiryState::Asked, created_at: now };
        make(&api, &actor, asked, name)
    });
    let made = made.await?;
    Ok(taken_on(format!("/v1/inquiries/{}", made.id), made))
}

async fn make(api: &Api, actor: &str, inquiry: Inquiry, user: String) -> Result<Inquiry> {
    // The blob first: a row without it could not be answered. One without a row is nobody's, and goes in two days.
    api.backend.blobs.put(&rows::inquiry::user_blob(inquiry.id), user.into_bytes()).await?;
    let event = event(api, actor, "inquiry.asked", inquiry.id, serde_json::json!({ "user": inquiry.user }));
    audited(api, vec![rows::inquiry::put(&inquiry, Expect::Absent)], event).await?;
    enqueue(api, &ToResolver::LookUp(LookUp { inquiry: inquiry.id })).await?;
    Ok(inquiry)
}

/// An inquiry with its answer.
#[derive(Serialize)]
pub(crate) struct Shown {
    #[serde(flatten)]
    inquiry: Inquiry,
    /// Once it is there; keys as hashes only.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Answer>,
}

/// See how far an inquiry is, and its answer once it is there. Keys appear as hashes, as in exports.
#[utoipa::path(get, path = "/v1/inquiries/{id}", tag = "people", params(("id" = String, Path)),
    responses((status = 200, body = Object), (status = 404, body = Problem)))]
pub(crate) async fn get(State(api): State<Api>, Place(id): Place<InquiryId>) -> Result<Json<Shown>> {
    let inquiry = read(&api, id).await?;
    let answer = match &inquiry.state {
        InquiryState::Done { blob, .. } => {
            let read =
                |error| Problem::not_found(format!("answer to inquiry {id} that can be read: {error}"));
            Some(serde_json::from_slice::<Answer>(&bytes(&api, blob).await?).map_err(read)?.without_keys())
        }
        _ => None,
    };
    Ok(Json(Shown { inquiry, answer }))
}

async fn read(api: &Api, id: InquiryId) -> Result<Inquiry> {
    let row = rows::inquiry::get(&*api.backend.store, id).await?;
    let missing = || Problem::not_found(format!("inquiry {id}: it never was, or was kept long enough"));
    Ok(row.ok_or_else(missing)?.body)
}

async fn bytes(api: &Api, blob: &str) -> Result<Vec<u8>> {
    let bytes = api.backend.blobs.get(blob).await?;
    bytes.ok_or_else(|| Problem::gone("the answer was kept long enough, or the person was erased: ask again"))
}

/// Fetch the answer as one document to hand to the person: it is theirs, and holds the keys in full.
#[utoipa::path(get, path = "/v1/inquiries/{id}/file", tag = "people", params(("id" = String, Path)),
    responses((status = 200, body = Object), (status = 409, body = Problem), (status = 410, body = Problem)))]
pub(crate) async fn file(State(api): State<Api>, Place(id): Place<InquiryId>) -> Result<Response> {
    let InquiryState::Done { blob, .. } = read(&api, id).await?.state else {
        let detail = format!("inquiry {id} is not answered yet, or failed: look at /v1/inquiries/{id}");
        return Err(Problem::conflict("/problems/not-written", "There is no answer yet", detail));
    };
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{id}.json\"")),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, Body::from(bytes(&api, &blob).await?)).into_response())
}
