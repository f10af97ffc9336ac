//! Inquiries and erasures over HTTP, and what is kept how long.

use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use backend::{Expect, Key, Write, rows};
use backend_embedded::inspect;
use http::Request;
use model::inquiry::{Answer, HeldDevice, InquiryState, key_hash};
use model::runtime::Clock as _;
use model::{Digest, InquiryId, Platform, Timestamp};
use serde_json::{Value, json};

use crate::service::{Answer as Answered, Service};

async fn ask(service: &Service, path: &str, user: &str, key: &str) -> Answered {
    let request =
        Request::post(path).header("content-type", "application/json").header("idempotency-key", key);
    service.call(request, json!({ "user": user }).to_string()).await
}

/// Values of the database that hold `text`, messages included.
fn values_with(folder: &Path, text: &str) -> Vec<String> {
    let values = inspect::values(folder).unwrap().into_iter();
    values
        .filter(|(_, bytes)| String::from_utf8_lossy(bytes).contains(text))
        .map(|(place, _)| place)
        .collect()
}

#[tokio::test]
async fn an_erasure_suppresses_at_once_and_no_row_holds_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_in(folder.path());
    let made = ask(&service, "/v1/erasures", "ann-who-goes", "k1").await;
    assert_eq!(made.status, 202, "{}", made.text);
    assert_eq!(service.get("/v1/suppression/ann-who-goes").await.json()["cause"], "erased");
    let again = ask(&service, "/v1/erasures", "ann-who-goes", "k1").await;
    assert_eq!(again.json()["id"], made.json()["id"], "the same request with the same key");
    assert_eq!(ask(&service, "/v1/erasures", "bob", "k1").await.status, 422);
    let receipt = service.get(made.headers["location"].to_str().unwrap()).await.json();
    assert_eq!((&receipt["state"], &receipt["waits_for"]), (&json!("suppressed"), &Value::Null));
    assert_eq!(service.get("/v1/erasures").await.json()["items"].as_array().unwrap().len(), 1);
    assert_eq!(values_with(folder.path(), "ann-who-goes"), [""; 0]);
    let by_hash = values_with(folder.path(), receipt["user"].as_str().unwrap());
    assert!(by_hash.len() >= 3, "they would be found by the hash: {by_hash:?}");
    let blobs = service.backend.blobs.list("erasures/").await.unwrap();
    assert_eq!(service.backend.blobs.get(&blobs[0]).await.unwrap().as_deref(), Some(&b"ann-who-goes"[..]));
    assert_eq!(service.all_audited().await, ["person.suppressed"]);
}

#[tokio::test]
async fn somebody_who_had_opted_out_can_be_erased_and_erased_again() {
    let service = Service::start();
    let body = json!({ "users": ["ann"], "cause": "opted_out" });
    service.json("POST", "/v1/suppression", &body).await;
    for key in ["k1", "k2"] {
        assert_eq!(ask(&service, "/v1/erasures", "ann", key).await.status, 202);
        assert_eq!(service.get("/v1/suppression/ann").await.json()["cause"], "erased");
    }
    assert_eq!(
        service.get("/v1/suppression").await.json()["version"],
        2,
        "the second changed nothing of the list"
    );
}

#[tokio::test]
async fn whoever_asks_wrongly_is_told_without_a_repetition() {
    let service = Service::start();
    for path in ["/v1/inquiries", "/v1/erasures"] {
        let refused = service.json("POST", path, &json!({ "user": "eve-asks\u{7}" })).await;
        assert_eq!((refused.status, refused.text.contains("eve-asks")), (400, false), "{}", refused.text);
        assert_eq!(service.json("POST", path, &json!({ "user": "" })).await.status, 400);
    }
    assert_eq!(service.backend.blobs.list("").await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn an_answer_shows_hashes_and_its_file_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_in(folder.path());
    let made = ask(&service, "/v1/inquiries", "ann-who-asks", "k1").await;
    assert_eq!((made.status, made.json()["state"].as_str()), (202, Some("asked")));
    assert_eq!(values_with(folder.path(), "ann-who-asks"), [""; 0]);
    let enqueued = values_with(folder.path(), made.json()["id"].as_str().unwrap());
    assert!(
        enqueued.iter().any(|place| place.starts_with("messages")),
        "messages are searched: {enqueued:?}"
    );
    let path = made.headers["location"].to_str().unwrap();
    let file = format!("{path}/file");
    assert_eq!(service.get(&file).await.problem(), (409, "/problems/not-written".into()));

    // As a resolver answers it.
    let id: InquiryId = made.json()["id"].as_str().unwrap().parse().unwrap();
    let device = HeldDevice {
        platform: Platform::Apns,
        app: "a".into(),
        locale: "de".into(),
        market: "at".into(),
        key_hash: key_hash("c0ffee"),
        key: Some("c0ffee".into()),
        registered_at: None,
        last_accepted: None,
    };
    let answer = Answer { user: "ann-who-asks".into(), devices: vec![device], ..Answer::default() };
    let (bytes, blob) = (serde_json::to_vec(&answer).unwrap(), rows::inquiry::answer_blob(id, 1));
    let mut row = rows::inquiry::get(&*service.backend.store, id).await.unwrap().unwrap().body;
    let (digest, at) = (Digest::of(&bytes), service.clock.now());
    row.state = InquiryState::Done { blob: blob.clone(), bytes: bytes.len() as u64, digest, at };
    service.backend.blobs.put(&blob, bytes).await.unwrap();
    let put = rows::inquiry::put(&row, backend::Expect::Anything);
    service.backend.store.write(vec![put]).await.unwrap();

    let shown = service.get(path).await;
    assert_eq!(shown.json()["answer"]["devices"][0]["key_hash"], key_hash("c0ffee"));
    assert!(!shown.text.contains("c0ffee"));
    let handed_out = service.get(&file).await;
    assert_eq!(handed_out.headers["cache-control"], "no-store");
    assert_eq!(serde_json::from_str::<Answer>(&handed_out.text).unwrap(), answer);
    service.backend.blobs.delete(&blob).await.unwrap();
    assert_eq!(service.get(&file).await.problem(), (410, "/problems/gone".into()));
}

#[tokio::test]
async fn answers_to_idempotency_keys_are_kept_for_a_day() {
    let service = Service::start();
    ask(&service, "/v1/erasures", "ann", "k1").await;
    service.clock.advance(Duration::from_secs(23 * 3_600));
    ask(&service, "/v1/erasures", "bob", "k2").await;
    assert_eq!(service.api.sweep_answers().await, Ok(0));
    service.clock.advance(Duration::from_secs(2 * 3_600));
    assert_eq!(service.api.sweep_answers().await, Ok(1));
    let kept = service.get("/v1/retention").await.json();
    let kept = kept.as_array().unwrap().iter().find(|kept| kept["kind"] == "idempotency").unwrap();
    assert_eq!((&kept["number"], &kept["kept_s"]), (&json!(1), &json!(86_400)));
}

#[tokio::test]
async fn every_kind_of_data_is_shown_with_number_and_age() {
    let service = Service::start();
    let audience = service.frozen_audience(3, 4).await;
    service.clock.advance(Duration::from_secs(5));
    let began = service.clock.now();
    service.json("POST", "/v1/suppression", &json!({ "users": ["ann"], "cause": "blocked" })).await;
    ask(&service, "/v1/erasures", "ann", "k").await;
    ask(&service, "/v1/inquiries", "ann", "l").await;
    service.clock.advance(Duration::from_secs(5));
    let upload = Request::post("/v1/imports").header("content-type", "text/csv");
    assert_eq!(service.call(upload, "user\n").await.status, 202);
    service
        .call(Request::post("/v1/imports?format=csv").header("upload-complete", "?0"), Body::empty())
        .await;
    assert_eq!(service.get(&format!("/v1/audiences/{audience}")).await.status, 200);
    let kept = service.get("/v1/retention").await.json();
    let number = |kind: &str| {
        let kept = kept.as_array().unwrap().iter().find(|kept| kept["kind"] == kind);
        let kept = kept.unwrap_or_else(|| panic!("{kind}"));
        (kept["number"].as_u64().unwrap(), kept["oldest"].clone())
    };
    let began = json!(began);
    assert_eq!(number("late_list"), (1, began.clone()));
    assert_eq!(number("erasures"), (1, began.clone()));
    assert_eq!(number("inquiries"), (1, began.clone()));
    assert_eq!(number("idempotency").0, 2);
    assert_eq!(number("imports").0, 1);
    assert_eq!(number("uploads_in_parts").0, 1);
    assert_eq!(number("directory").0, 0);
    assert_eq!(number("audit"), (4, began));
    let kinds: Vec<&str> =
        kept.as_array().unwrap().iter().map(|kept| kept["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, model::retention::Kind::ALL.map(model::retention::Kind::name));
}

#[tokio::test]
async fn what_is_kept_for_ever_is_counted_without_being_read() {
    let service = Service::start();
    for number in 0..30 {
        service
            .json("POST", "/v1/suppression", &json!({ "users": [number.to_string()], "cause": "blocked" }))
            .await;
        service.clock.advance(Duration::from_secs(1));
    }
    let began = service.clock.now();
    // Whoever reads an entry of the audit but the first, or the people on the list, fails.
    let damaged =
        |number: u64| Write::put(Key::new("audit", format!("{number:020}")), Expect::Anything, b"?".to_vec());
    service.backend.store.write((2..=30).map(damaged).collect()).await.unwrap();
    service.json("DELETE", "/v1/suppression/0", &Value::Null).await;
    for blob in service.backend.blobs.list("suppression/").await.unwrap() {
        service.backend.blobs.delete(&blob).await.unwrap();
    }
    let kept = service.get("/v1/retention").await.json();
    let kept = |kind: &str| {
        let kept = kept.as_array().unwrap().iter().find(|kept| kept["kind"] == kind).unwrap();
        (kept["number"].as_u64().unwrap(), kept["oldest"].clone())
    };
    let ago = |seconds: u64| json!(Timestamp(began.0 - seconds * 1_000_000));
    assert_eq!(kept("audit"), (31, ago(30)));
    assert_eq!(kept("late_list"), (29, ago(29)), "whoever was on it longest is off it");
}
