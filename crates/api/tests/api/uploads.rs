//! Imports and audiences: stored and handed to a resolver, refused when they cannot be, and nothing left behind.

use api::Config;
use axum::body::Body;
use backend::{Expect, Queue, rows};
use http::Request;
use model::left_out::LeftOutList;
use model::{Audience, AudienceReport};
use serde_json::json;

use crate::service::Service;

async fn audience(service: &Service) -> String {
    let made = service.json("POST", "/v1/audiences", &json!({ "name": "fans" })).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.headers["location"].to_str().unwrap().to_owned()
}

fn put(path: &str, media_type: &str) -> http::request::Builder {
    Request::put(format!("{path}/upload")).header("content-type", media_type)
}

#[tokio::test]
async fn an_upload_is_stored_and_handed_to_a_resolver() {
    let service = Service::start();
    let path = audience(&service).await;
    let answer = service.call(put(&path, "text/csv; charset=utf-8"), "user\nu1\nu2\n").await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let json = answer.json();
    assert_eq!((json["state"].as_str(), json["upload"]["bytes"].as_u64()), (Some("uploaded"), Some(11)));
    let blob = json["upload"]["blob"].as_str().unwrap();
    assert_eq!(service.backend.blobs.get(blob).await.unwrap().unwrap(), b"user\nu1\nu2\n");
    assert_eq!(service.backend.queues.depth(Queue::Resolve).await.unwrap(), 1);
    let second = service.call(put(&path, "text/csv"), "user\nu3\nu4\n").await;
    assert_eq!(second.problem(), (409, "/problems/being-resolved".into()));
    assert_eq!(service.all_audited().await, ["audience.created", "audience.uploaded"]);
}

#[tokio::test]
async fn an_import_is_stored_and_handed_to_a_resolver() {
    let service = Service::start();
    let request =
        Request::post("/v1/imports?bad_rows=accept_valid").header("content-type", "application/x-ndjson");
    let answer = service.call(request, "{}\n").await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let path = answer.headers["location"].to_str().unwrap().to_owned();
    assert_eq!(
        service.get(&path).await.json()["upload"]["bad_rows"]["accept_valid"]["share_ppm_max"],
        10_000
    );
    assert_eq!(service.all_audited().await, ["devices.uploaded"]);
    assert_eq!(service.backend.queues.depth(Queue::Resolve).await.unwrap(), 1);
}

#[tokio::test]
async fn what_cannot_be_an_upload_is_refused_and_leaves_nothing() {
    let config = Config { upload_bytes_max: 64, ..Config::default() };
    let service = Service::start_with(config, |backend, _| backend);
    let path = audience(&service).await;
    assert_eq!(
        service.call(put(&path, "text/csv"), "").await.problem(),
        (400, "/problems/bad-request".into())
    );
    assert_eq!(
        service.call(put(&path, "image/png"), "x").await.problem(),
        (415, "/problems/media-type".into())
    );
    let large = service.call(put(&path, "text/csv"), vec![b'x'; 65]).await;
    assert_eq!(large.problem(), (413, "/problems/too-large".into()));
    let cut = futures::stream::iter([Ok("user\n"), Err(std::io::Error::other("the line was cut"))]);
    let cut = service.call(put(&path, "text/csv"), Body::from_stream(cut)).await;
    assert!(cut.status == 400 && cut.text.contains("broke off"), "{}", cut.text);
    let request = Request::put(format!("{path}/upload?bad_rows=maybe")).header("content-type", "text/csv");
    assert_eq!(service.call(request, "user\n").await.status, 400);
    assert_eq!(service.backend.blobs.list("uploads/").await.unwrap(), Vec::<String>::new());
    assert!(service.growing().await.is_empty());
    assert_eq!(service.backend.queues.depth(Queue::Resolve).await.unwrap(), 0);
    assert_eq!(service.get(&path).await.json()["state"], "empty");
}

#[tokio::test]
async fn a_frozen_audience_takes_no_upload() {
    let service = Service::start();
    let id = service.frozen_audience(1, 1).await;
    let answer = service.call(put(&format!("/v1/audiences/{id}"), "text/csv"), "user\nu\n").await;
    assert_eq!(answer.problem(), (409, "/problems/frozen".into()));
}

#[tokio::test]
async fn forgetting_a_user_is_audited_without_the_name() {
    let service = Service::start();
    let answer = service.call(Request::delete("/v1/users/jane%40example.org"), "").await;
    assert_eq!((answer.status, answer.json()["devices"].as_u64()), (200, Some(0)));
    let audit = service.get("/v1/audit").await;
    assert!(audit.text.contains("user.deleted") && !audit.text.contains("jane"), "{}", audit.text);
    assert_eq!(service.get("/v1/directory").await.json(), json!({ "users": 0, "devices": 0 }));
}

#[tokio::test]
async fn of_two_uploads_at_once_the_later_leaves_nothing() {
    let service = Service::start();
    let path = audience(&service).await;
    let slow = async {
        let first = service.call(put(&path, "text/csv"), "user\nu1\n").await;
        assert_eq!(first.status, 202);
        Ok::<_, std::io::Error>("user\nu2\n")
    };
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let body = Body::from_stream(futures::stream::once(async move { receiver.await.unwrap() }));
    let (late, ()) = tokio::join!(service.call(put(&path, "text/csv"), body), async {
        sender.send(slow.await).unwrap();
    });
    assert_eq!(late.problem(), (409, "/problems/being-resolved".into()));
    assert_eq!(service.backend.blobs.list("uploads/").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_sample_is_drawn_at_once_and_takes_no_upload() {
    let service = Service::start();
    let whole = service.frozen_audience(3, 4).await;
    let body = json!({ "name": "first", "sample": { "of": whole, "users": 2, "seed": 7 }, "control": { "share": 0.25 } });
    let made = service.json("POST", "/v1/audiences", &body).await;
    assert_eq!((made.status, &made.json()["state"]), (201, &json!("uploaded")));
    assert_eq!(made.json()["control"]["share"], json!(0.25));
    assert_eq!(service.backend.queues.depth(Queue::Resolve).await.unwrap(), 1);
    let path = format!("/v1/audiences/{}/upload", made.json()["id"].as_str().unwrap());
    let request = http::Request::put(path).header("content-type", "text/csv");
    assert_eq!(service.call(request, "user\na\n").await.problem(), (409, "/problems/sample".into()));
}

#[tokio::test]
async fn what_is_wrong_with_a_sample_is_told_by_its_place() {
    let service = Service::start();
    let empty = service.json("POST", "/v1/audiences", &json!({ "name": "empty" })).await.json()["id"].clone();
    let nowhere = model::AudienceId(5);
    let body = json!({ "name": "s", "rows": "users",
        "sample": { "of": empty, "users": 0, "disjoint_from": [nowhere] } });
    let refused = service.json("POST", "/v1/audiences", &body).await;
    let errors = refused.json()["errors"].clone();
    let pointers: Vec<_> = errors.as_array().unwrap().iter().map(|error| error["pointer"].clone()).collect();
    assert_eq!(pointers, ["/rows", "/sample/users", "/sample/of", "/sample/disjoint_from/0"]);
    let share = json!({ "name": "s", "control": { "share": 5 } });
    assert_eq!(service.json("POST", "/v1/audiences", &share).await.status, 400);
}

#[tokio::test]
async fn an_audience_that_no_campaign_names_can_be_deleted_with_its_upload() {
    let service = Service::start();
    let path = audience(&service).await;
    service.call(put(&path, "text/csv"), "user\nu1\n").await;
    let delete = || service.call(Request::delete(&path), Body::empty());
    assert_eq!(delete().await.problem(), (409, "/problems/being-resolved".into()));

    let named = service.frozen_audience(1, 1).await;
    service.campaign(Some(named)).await;
    let refused = service.call(Request::delete(format!("/v1/audiences/{named}")), Body::empty()).await;
    assert_eq!(refused.problem(), (409, "/problems/in-use".into()));
    assert!(refused.text.contains("give it another audience first"), "{}", refused.text);

    let frozen = service.frozen_audience(1, 1).await;
    let path = format!("/v1/audiences/{frozen}");
    let (store, blobs) = (&*service.backend.store, &service.backend.blobs);
    let list = rows::audience::left_out_blob(frozen, 1);
    blobs.put(&list, b"{}".to_vec()).await.unwrap();
    let row = rows::audience::get(store, frozen).await.unwrap().unwrap();
    let list = LeftOutList { blob: list, rows: 1, is_cut: false };
    let report = AudienceReport { left_out_list: Some(list), ..row.body.report.clone().unwrap_or_default() };
    let told = Audience { report: Some(report), ..row.body };
    store.write(vec![rows::audience::put(&told, Expect::Anything)]).await.unwrap();
    let others = blobs.list("uploads/").await.unwrap().len() - 1;
    assert_eq!(service.call(Request::delete(&path), Body::empty()).await.status, 204);
    assert_eq!(
        blobs.list("uploads/").await.unwrap().len(),
        others,
        "the list of those left out went with it"
    );
    assert_eq!(service.get(&path).await.status, 404);
    assert_eq!(service.all_audited().await.last().map(String::as_str), Some("audience.deleted"));
}
