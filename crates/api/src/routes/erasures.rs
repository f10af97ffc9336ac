//! Erasures: somebody is forgotten everywhere. The person is on the late list with the answer; a resolver does the rest, and what
//! is shown here is the receipt.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use backend::rows;
use backend::rows::suppression;
use http::HeaderMap;
use model::ErasureId;
use model::erasure::Erasure;
use model::suppression::{Cause, Entry};

use super::Listed;
use super::people::{Somebody, once, taken_on};
use crate::change::{audited, event};
use crate::extract::{Actor, Json as Body, Page, PageQuery, Place};
use crate::problem::{Problem, Result};
use crate::{Api, upload};

/// Forget somebody everywhere. From the answer on the person is on the late list; what names the person goes as the receipt says.
#[utoipa::path(post, path = "/v1/erasures", tag = "people", request_body = Somebody,
    params(("Idempotency-Key" = Option<String>, Header, description = "the same request with the same key is done once")),
    responses((status = 202, description = "Follow it by its id", body = Object), (status = 400, body = Problem)))]
pub(crate) async fn create(
    State(api): State<Api>,
    Actor(actor): Actor,
    headers: HeaderMap,
    Body(somebody): Body<Somebody>,
) -> Result<impl IntoResponse> {
    let now = upload::now(&api);
    let made = once(&api, &headers, "erasure", somebody, |user, name| {
        let id = ErasureId::random(&*api.runtime.randomness);
        make(&api, &actor, Erasure::asked(id, user, actor.clone(), now), name)
    });
    let made = made.await?;
    Ok(taken_on(format!("/v1/erasures/{}", made.id), made))
}

/// The erasure and the person's place on the late list: one transaction. The blob with the user id is there before it.
async fn make(api: &Api, actor: &str, erasure: Erasure, user: String) -> Result<Erasure> {
    let (store, blobs) = (&*api.backend.store, &*api.backend.blobs);
    blobs.put(&rows::erasure::user_blob(erasure.id), user.into_bytes()).await?;
    let entry = Entry { user: erasure.user, cause: Cause::Erased, since: erasure.asked_at };
    let detail = serde_json::json!({ "user": erasure.user });
    loop {
        let randomness = &*api.runtime.randomness;
        let change = suppression::change(store, blobs, randomness, erasure.asked_at, &[entry], &[]).await?;
        let mut writes = rows::erasure::create(&erasure);
        writes.extend(change.as_ref().map(|change| change.write.clone()));
        let event = event(api, actor, "person.suppressed", erasure.id, detail.clone());
        let is_done = audited(api, writes, event).await?.is_empty();
        let unnamed = change.and_then(|change| if is_done { change.replaced } else { change.new_blob });
        if let Some(blob) = unnamed {
            blobs.delete(&blob).await?;
        }
        if is_done {
            api.late_list.forget().await;
            return Ok(erasure);
        }
    }
}

/// List erasures.
#[utoipa::path(get, path = "/v1/erasures", tag = "people", params(PageQuery), responses((status = 200, body = Object)))]
pub(crate) async fn list(State(api): State<Api>, page: Page) -> Result<Json<Listed<Erasure>>> {
    let (rows, has_more) = rows::erasure::list(&*api.backend.store, &page.after, page.limit).await?;
    let last = rows.last().map(|row| row.body.id.to_string());
    Ok(Listed::new(rows.into_iter().map(|row| shown(row.body)).collect(), has_more, last))
}

/// The receipt of an erasure: when each place was cleared, and which snapshots still name the person, and until when.
#[utoipa::path(get, path = "/v1/erasures/{id}", tag = "people", params(("id" = String, Path)),
    responses((status = 200, body = Object), (status = 404, body = Problem)))]
pub(crate) async fn get(State(api): State<Api>, Place(id): Place<ErasureId>) -> Result<Json<Erasure>> {
    let row = rows::erasure::get(&*api.backend.store, id).await?;
    Ok(Json(shown(row.ok_or_else(|| Problem::not_found(format!("erasure {id}")))?.body)))
}

/// A receipt without what only a resolver that goes on after another has to know.
fn shown(erasure: Erasure) -> Erasure {
    Erasure { going: BTreeMap::new(), ..erasure }
}
