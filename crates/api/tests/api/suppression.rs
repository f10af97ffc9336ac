//! The late list over HTTP.

use std::time::Duration;

use axum::body::Body;
use backend::rows;
use http::Request;
use model::runtime::Clock as _;
use serde_json::json;

use crate::service::Service;

#[tokio::test]
async fn people_come_onto_the_list_are_found_on_it_and_go_off_it() {
    let service = Service::start();
    let count = service.get("/v1/suppression").await.json();
    assert_eq!(count, json!({ "version": 0, "changed_at": null, "opted_out": 0, "blocked": 0, "erased": 0 }));
    let body = json!({ "users": ["ann", "bob", "ann"], "cause": "opted_out" });
    let added = service.json("POST", "/v1/suppression", &body).await;
    assert_eq!((added.status, added.json()), (200, json!({ "version": 1, "people": 2 })));
    let again = service.json("POST", "/v1/suppression", &body).await;
    assert_eq!(again.json(), json!({ "version": 1, "people": 0 }));
    let since = service.clock.now();
    assert_eq!(
        service.get("/v1/suppression/ann").await.json(),
        json!({ "cause": "opted_out", "since": since })
    );
    assert_eq!(service.get("/v1/suppression/eve").await.status, 404);
    let removed = service.call(Request::delete("/v1/suppression/ann"), Body::empty()).await;
    assert_eq!(removed.json(), json!({ "version": 2, "people": 1 }));
    assert_eq!(service.get("/v1/suppression/ann").await.status, 404);
    let count = service.get("/v1/suppression").await.json();
    assert_eq!((&count["version"], &count["opted_out"]), (&json!(2), &json!(1)));
}

#[tokio::test]
async fn neither_the_store_nor_the_audit_holds_a_name_of_the_list() {
    let service = Service::start();
    let body = json!({ "users": ["ann-who-left"], "cause": "blocked" });
    assert_eq!(service.json("POST", "/v1/suppression", &body).await.status, 200);
    service.call(Request::delete("/v1/suppression/ann-who-left"), Body::empty()).await;
    for partition in ["suppression", "installation", "audit", "audit/head"] {
        let rows = backend::store::query_all(&*service.backend.store, partition).await.unwrap();
        for row in rows {
            assert!(!String::from_utf8_lossy(&row.body).contains("ann-who-left"), "{partition}");
        }
    }
    let (entries, _) = rows::audit::list(&*service.backend.store, 0, 10).await.unwrap();
    let actions: Vec<_> = entries.iter().map(|entry| entry.event.action.as_str()).collect();
    assert_eq!(actions, ["suppression.added", "suppression.removed"]);
}

#[tokio::test]
async fn what_is_wrong_with_an_addition_is_told_by_its_place() {
    let service = Service::start();
    for (body, pointer) in [
        (json!({ "users": [], "cause": "blocked" }), "/users"),
        (json!({ "users": ["a"], "cause": "erased" }), "/cause"),
        (json!({ "users": ["a", "b\u{0}"], "cause": "blocked" }), "/users/1"),
        (json!({ "users": vec!["a"; 10_001], "cause": "blocked" }), "/users"),
    ] {
        let refused = service.json("POST", "/v1/suppression", &body).await;
        assert_eq!((refused.status, &refused.json()["errors"][0]["pointer"]), (422, &json!(pointer)));
    }
    assert_eq!(service.get("/v1/suppression").await.json()["version"], 0);
}

#[tokio::test]
async fn a_worker_behind_the_list_is_not_ready_once_it_has_had_time() {
    let service = Service::start();
    let audience = service.frozen_audience(3, 4).await;
    let campaign = service.campaign(Some(audience)).await;
    let path = format!("{campaign}/waves/all/readiness");
    let body = json!({ "users": ["ann"], "cause": "opted_out" });
    service.json("POST", "/v1/suppression", &body).await;
    assert_eq!(service.get(&path).await.json()["is_ready"], true, "it has ten seconds");
    service.clock.advance(Duration::from_secs(10));
    let workers = rows::fleet::heartbeats(&*service.backend.store).await.unwrap();
    service.heartbeat(workers[0].snapshots.clone()).await;
    let judged = service.get(&path).await.json();
    let broken = judged["interlocks"].as_array().unwrap().iter().find(|one| one["holds"] == false).unwrap();
    assert_eq!(broken["name"], "workers-ready");
    let detail = broken["detail"].as_str().unwrap();
    assert!(detail.contains("holds version 0 of the late list, 1 is wanted"), "{detail}");
}

#[tokio::test]
async fn a_file_of_people_is_an_import_whole_or_in_parts() {
    let service = Service::start();
    let asked = "/v1/suppression?cause=opted_out";
    let file = |kind: &str| Request::post(asked).header("content-type", kind);
    let whole = service.call(file("text/csv"), "user\nann\n").await;
    let path = whole.headers["location"].to_str().unwrap().to_owned();
    assert_eq!((whole.status, whole.json()["state"].as_str()), (202, Some("uploaded")), "{}", whole.text);
    assert!(path.starts_with("/v1/imports/imp_"), "{path}");
    let import = service.get(&path).await.json();
    assert_eq!(import["into"], json!({ "late_list": "opted_out" }));
    assert!(!import["upload"]["blob"].as_str().unwrap().contains("ann"));

    // A plain text names people here, and keys where it is an audience's.
    let begun = service.call(file("text/plain").header("upload-complete", "?0"), Body::empty()).await;
    assert_eq!(begun.status, 201, "{}", begun.text);
    let part = Request::patch(begun.headers["location"].to_str().unwrap())
        .header("content-type", "application/partial-upload")
        .header("upload-offset", 0)
        .header("upload-complete", "?1");
    let last = service.call(part, "ann\nbob\n").await;
    assert_eq!(
        (last.status, &last.json()["into"]),
        (202, &json!({ "late_list": "opted_out" })),
        "{}",
        last.text
    );
    assert_eq!(last.json()["upload"]["format"], "users");

    let keyed = || Request::post(asked).header("content-type", "text/csv").header("idempotency-key", "k");
    let (one, two) = (service.call(keyed(), "user\nann\n").await, service.call(keyed(), "user\nann\n").await);
    assert_eq!((two.status, one.json()["id"].as_str()), (202, two.json()["id"].as_str()));
    // The same key and bytes for something else.
    let other = Request::post("/v1/suppression?cause=blocked").header("content-type", "text/csv");
    assert_eq!(service.call(other.header("idempotency-key", "k"), "user\nann\n").await.status, 422);
    assert_eq!(service.backend.queues.depth(backend::Queue::Resolve).await.unwrap(), 3);
    assert_eq!(service.all_audited().await, ["suppression.uploaded"; 3]);
    let offer = service.call(Request::options("/v1/suppression"), Body::empty()).await;
    assert_eq!(
        (offer.status, &offer.headers["accept-patch"]),
        (204, &"application/partial-upload".parse().unwrap())
    );
}

#[tokio::test]
async fn a_file_that_does_not_say_why_or_what_it_is_is_refused_and_nothing_is_kept() {
    let service = Service::start();
    for (query, kind, status, part) in [
        ("", "text/csv", 400, "say ?cause="),
        ("?cause=erased", "text/csv", 400, "ask for an erasure"),
        ("?cause=bored", "text/csv", 400, "opted_out"),
        ("?cause=blocked", "application/pdf", 415, "does not say how the upload is written"),
        ("?cause=blocked&market=us", "text/csv", 400, "market"),
        ("?cause=blocked&bad_rows=maybe", "text/csv", 400, "bad_rows"),
        ("?cause=blocked", "text/csv", 400, "empty"),
    ] {
        let request = Request::post(format!("/v1/suppression{query}")).header("content-type", kind);
        let body = if part == "empty" { "" } else { "user\nann\n" };
        let answer = service.call(request, body).await;
        assert_eq!(answer.status, status, "{query}: {}", answer.text);
        assert!(answer.text.contains(part), "{part:?} not in {}", answer.text);
    }
    assert_eq!(service.backend.blobs.list("").await.unwrap(), [""; 0]);
    assert!(service.growing().await.is_empty());
}
