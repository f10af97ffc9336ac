//! Devices put and removed one by one.

use std::time::Duration;

use axum::body::Body;
use backend::fault::{Fault, Operation};
use backend::rows;
use http::Request;
use model::Device;
use model::erasure::Erasure;
use model::runtime::Clock as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::service::Service;

const PATH: &str = "/v1/users/ann/devices";

fn body(key: &str) -> Value {
    json!({ "platform": "apns", "key": key, "app": "org.example", "locale": "en", "market": "us",
            "registered_at": "2026-01-02T03:04:05Z" })
}

async fn known(service: &Service) -> Vec<Device> {
    service.backend.directory.devices(&["ann".into()]).await.unwrap().remove(0)
}

#[tokio::test]
async fn a_device_is_added_changed_left_alone_and_removed() {
    let service = Service::start();
    let put = async |body: Value| service.json("PUT", PATH, &body).await;
    assert_eq!(put(body("AB01")).await.json(), json!({ "outcome": "added" }));
    assert_eq!(put(body("ab01")).await.json(), json!({ "outcome": "unchanged" }));
    let mut moved = body("ab01");
    moved["market"] = "de".into();
    assert_eq!(put(moved).await.json(), json!({ "outcome": "changed" }));
    let mut fresh = body("cd02");
    fresh.as_object_mut().unwrap().remove("registered_at");
    fresh["environment"] = "sandbox".into();
    assert_eq!(put(fresh).await.json(), json!({ "outcome": "added" }));
    let seen: Vec<_> =
        known(&service).await.into_iter().map(|device| (device.key, device.app, device.market)).collect();
    let text = |texts: [&str; 3]| texts.map(str::to_owned).into();
    assert_eq!(seen, [text(["ab01", "org.example", "de"]), text(["cd02", "org.example@sandbox", "us"])]);

    let remove = async |body: Value| service.json("DELETE", PATH, &body).await.status;
    let named = |app: &str| json!({ "platform": "apns", "key": "AB01", "app": app });
    assert_eq!(remove(named("org.other")).await, 204);
    assert_eq!(known(&service).await.len(), 2, "a device of another app is another device");
    assert_eq!(remove(named("org.example")).await, 204);
    let sandbox =
        json!({ "platform": "apns", "key": "cd02", "app": "org.example", "environment": "sandbox" });
    assert_eq!(remove(sandbox.clone()).await, 204);
    assert_eq!(remove(sandbox).await, 204, "it is gone already");
    assert_eq!(known(&service).await, []);
}

#[tokio::test]
async fn what_is_wrong_with_a_device_is_named_and_the_key_is_not_repeated() {
    let service = Service::start();
    let wrong = [
        ("key", json!("secret!"), "/key"),
        ("app", json!("a b"), "/app"),
        ("locale", json!(""), "/locale"),
        ("market", json!("ü"), "/market"),
        ("environment", json!("Sandbox"), "/environment"),
        ("platform", json!("web"), "/platform"),
        ("registered_at", json!("yesterday"), "/registered_at"),
    ];
    for (field, value, pointer) in wrong {
        let mut body = body("ab01");
        body[field] = value;
        let answer = service.json("PUT", PATH, &body).await;
        assert!((400..=422).contains(&answer.status), "{field}: {}", answer.text);
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{}", answer.text);
        assert!(!answer.text.contains("secret"), "{}", answer.text);
    }
    let long = format!("/v1/users/{}/devices", "u".repeat(257));
    assert_eq!(service.json("PUT", &long, &body("ab01")).await.status, 400);
    assert_eq!(service.json("PUT", PATH, &json!({ "key": "ab01" })).await.status, 400);
    assert_eq!(known(&service).await, []);
}

#[tokio::test]
async fn whoever_was_erased_stays_out_until_taken_off_the_late_list() {
    let service = Service::start();
    assert_eq!(service.json("PUT", PATH, &body("ab01")).await.status, 200);
    assert_eq!(service.json("POST", "/v1/erasures", &json!({ "user": "ann" })).await.status, 202);
    let refused = service.json("PUT", PATH, &body("ab02")).await;
    assert_eq!(refused.problem(), (409, "/problems/erased".into()));
    let keys: Vec<String> = known(&service).await.into_iter().map(|device| device.key).collect();
    assert_eq!(keys, ["ab01"], "what was there goes by the erasure, and nothing comes");

    let off = async || service.json("DELETE", "/v1/suppression/ann", &Value::Null).await;
    assert_eq!(off().await.problem(), (409, "/problems/erasure-under-way".into()));
    let store = &*service.backend.store;
    let row = rows::erasure::open(store).await.unwrap().remove(0);
    let cleared = Erasure { cleared_at: Some(service.clock.now()), ..row.body.clone() };
    store.transact(rows::erasure::change(&row, &cleared)).await.unwrap();
    assert_eq!(off().await.status, 200);
    assert_eq!(service.json("PUT", PATH, &body("ab02")).await.status, 200);
    let opted_out = json!({ "users": ["ann"], "cause": "opted_out" });
    service.json("POST", "/v1/suppression", &opted_out).await;
    assert_eq!(service.json("PUT", PATH, &body("ab03")).await.status, 200, "opting out is not leaving");
}

/// Asks another process for an erasure: this one knows of it only what is stored.
async fn erase_elsewhere(service: &Service) {
    let request = Request::post("/v1/erasures").header("host", "127.0.0.1:8080");
    let request = request.header("content-type", "application/json");
    let request = request.body(Body::from(json!({ "user": "ann" }).to_string())).unwrap();
    let answer = service.another(api::Config::default()).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 202);
}

#[tokio::test]
async fn a_device_that_was_put_while_its_user_was_erased_goes_with_the_user() {
    let service = Service::start();
    assert_eq!(service.json("PUT", "/v1/users/bob/devices", &body("b0b0")).await.status, 200);
    erase_elsewhere(&service).await;
    // This process knows the late list as it was before.
    let refused = service.json("PUT", PATH, &body("ab01")).await;
    assert_eq!(refused.problem(), (409, "/problems/erased".into()));
    assert_eq!(known(&service).await, []);
    assert_eq!(
        service.backend.directory.knows(&["ann".into()]).await.unwrap(),
        [false],
        "not even that there was one"
    );
    assert_eq!(service.backend.directory.count().await.unwrap(), (1, 1), "others are left alone");
}

#[tokio::test]
async fn a_device_whose_user_is_erased_goes_also_when_nobody_waits_for_the_answer() {
    // By this seed a delay comes after the effect.
    let (service, faults) = Service::start_failing(2);
    assert_eq!(service.json("PUT", "/v1/users/bob/devices", &body("b0b0")).await.status, 200);
    faults.next(Operation::Import, Some(Fault::Delay));
    {
        let path_body = body("ab01");
        let mut put = std::pin::pin!(service.json("PUT", PATH, &path_body));
        while known(&service).await.is_empty() {
            assert!(futures::poll!(&mut put).is_pending());
            tokio::task::yield_now().await;
        }
        // The device is there, and whoever put it hangs up.
    }
    erase_elsewhere(&service).await;
    assert_eq!(known(&service).await.len(), 1);
    service.clock.advance(Duration::from_secs(2));
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(known(&service).await, []);
}

#[tokio::test]
async fn putting_a_device_reads_the_late_list_once() {
    let (service, faults) = Service::start_failing(1);
    assert_eq!(service.json("PUT", PATH, &body("ab01")).await.status, 200);
    faults.next(Operation::Get, None);
    faults.next(Operation::Get, Some(Fault::Broken));
    assert_eq!(service.json("PUT", PATH, &body("ab02")).await.status, 200);
    assert_eq!(service.json("PUT", PATH, &body("ab03")).await.status, 507, "the next one reads it anew");
}

#[tokio::test]
async fn whoever_was_taken_off_the_late_list_elsewhere_can_be_put_again() {
    let service = Service::start();
    assert_eq!(service.json("POST", "/v1/erasures", &json!({ "user": "ann" })).await.status, 202);
    assert_eq!(service.json("PUT", PATH, &body("ab01")).await.status, 409);
    let store = &*service.backend.store;
    let row = rows::erasure::open(store).await.unwrap().remove(0);
    let cleared = Erasure { cleared_at: Some(service.clock.now()), ..row.body.clone() };
    store.transact(rows::erasure::change(&row, &cleared)).await.unwrap();
    let request = Request::delete("/v1/suppression/ann").header("host", "127.0.0.1:8080").body(Body::empty());
    let answer = service.another(api::Config::default()).oneshot(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(service.json("PUT", PATH, &body("ab01")).await.status, 200);
}
