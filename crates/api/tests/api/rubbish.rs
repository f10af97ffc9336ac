//! What goes wrong with uploads, each with its answer, and nothing left behind.

use api::Config;
use axum::body::Body;
use backend::fault::{Fault, Operation};
use http::Request;
use http::request::Builder;
use model::{Audience, AudienceState};
use serde_json::json;
use std::time::Duration;

use crate::service::{Answer, Service};

const LIST: &str = "user\nann\nbob\ncarol\n";

async fn audience(service: &Service) -> String {
    let made = service.json("POST", "/v1/audiences", &json!({ "name": "fans" })).await;
    made.headers["location"].to_str().unwrap().to_owned()
}

fn put(path: &str) -> Builder {
    Request::put(format!("{path}/upload")).header("content-type", "text/csv")
}

async fn in_parts(service: &Service, request: Builder, body: &str) -> Answer {
    let begun = service.call(request.header("upload-complete", "?0"), Body::empty()).await;
    assert_eq!(begun.status, 201, "{}", begun.text);
    let part = Request::patch(begun.headers["location"].to_str().unwrap())
        .header("content-type", "application/partial-upload")
        .header("upload-offset", 0)
        .header("upload-complete", "?1");
    service.call(part, body.to_owned()).await
}

async fn blobs(service: &Service) -> usize {
    service.backend.blobs.list("").await.unwrap().len()
}

/// Puts an audience into a state as a resolver would.
async fn set_state(service: &Service, path: &str, state: AudienceState) {
    let id = path.rsplit('/').next().unwrap().parse().unwrap();
    let row = backend::rows::audience::get(&*service.backend.store, id).await.unwrap().unwrap();
    let put =
        backend::rows::audience::put(&Audience { state, ..row.body }, backend::Expect::Version(row.version));
    service.backend.store.write(vec![put]).await.unwrap();
}

#[tokio::test]
async fn the_same_content_twice_is_the_same_audience_whatever_its_state() {
    let service = Service::start();
    let path = audience(&service).await;
    let first = service.call(put(&path), LIST).await;
    assert_eq!(first.status, 202);
    let frozen = AudienceState::Frozen { snapshot: model::Digest([7; 32]), at: model::Timestamp(1) };
    for state in [AudienceState::Uploaded, AudienceState::Resolving { rows: 7 }, frozen] {
        set_state(&service, &path, state).await;
        let shown = service.get(&path).await.json();
        let again = [service.call(put(&path), LIST).await, in_parts(&service, put(&path), LIST).await];
        for again in again {
            assert_eq!(
                (again.status, &again.json()["upload"]),
                (200, &first.json()["upload"]),
                "{}",
                again.text
            );
            assert_eq!(again.json()["state"], shown["state"]);
        }
        let other = service.call(put(&path), LIST.replace("bob", "Bob")).await;
        assert_eq!(other.status, 409, "{}", other.text);
        assert!(other.text.contains(first.json()["upload"]["digest"].as_str().unwrap()), "{}", other.text);
        let read_otherwise = Request::put(format!("{path}/upload?bad_rows=accept_valid"));
        assert_eq!(service.call(read_otherwise.header("content-type", "text/csv"), LIST).await.status, 409);
    }
    assert_eq!((blobs(&service).await, service.growing().await.len()), (1, 0));
    assert_eq!(service.all_audited().await, ["audience.created", "audience.uploaded"]);
}

#[tokio::test]
async fn an_upload_that_failed_is_tried_again_and_the_failed_one_goes() {
    let service = Service::start();
    let path = audience(&service).await;
    for list in [LIST, LIST, "user\ndora\n"] {
        let answer = service.call(put(&path), list).await;
        assert_eq!((answer.status, answer.json()["state"].as_str()), (202, Some("uploaded")));
        let blob = answer.json()["upload"]["blob"].as_str().unwrap().to_owned();
        assert_eq!(service.backend.blobs.list("uploads/").await.unwrap(), [blob]);
        set_state(&service, &path, AudienceState::Failed { why: "of reasons".into() }).await;
    }
}

#[tokio::test]
async fn of_two_uploads_to_one_audience_at_once_one_wins_and_the_other_is_told_which() {
    let service = Service::start();
    let path = audience(&service).await;
    // As long as the first, so that only its content tells.
    let other = LIST.replace("bob", "Bob");
    let (one, two) =
        tokio::join!(in_parts(&service, put(&path), LIST), in_parts(&service, put(&path), &other));
    let (won, lost) = if one.status == 202 { (one, two) } else { (two, one) };
    assert_eq!((won.status, lost.problem()), (202, (409, "/problems/being-resolved".into())));
    assert!(lost.text.contains(won.json()["upload"]["digest"].as_str().unwrap()), "{}", lost.text);
    assert_eq!((blobs(&service).await, service.growing().await.len()), (1, 0));
}

#[tokio::test]
async fn an_upload_whose_audience_is_deleted_meanwhile_is_refused_and_leaves_nothing() {
    let service = Service::start();
    let path = audience(&service).await;
    let begun = service.call(put(&path).header("upload-complete", "?0"), LIST).await;
    let upload = begun.headers["location"].to_str().unwrap().to_owned();
    assert_eq!(service.call(Request::delete(&path), Body::empty()).await.status, 204);
    let part = Request::patch(&upload)
        .header("content-type", "application/partial-upload")
        .header("upload-offset", LIST.len())
        .header("upload-complete", "?1");
    let last = service.call(part, Body::empty()).await;
    assert_eq!(last.problem(), (404, "/problems/not-found".into()));
    assert_eq!(last.headers["upload-complete"], "?1");
    assert_eq!(service.get(&upload).await.json()["state"], "refused");
    assert_eq!((blobs(&service).await, service.growing().await.len()), (0, 0));
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_nothing_of_an_upload() {
    for operation in [Operation::Append, Operation::Keep, Operation::Transact] {
        let (service, faults) = Service::start_failing(7);
        let path = audience(&service).await;
        faults.next(operation, Some(Fault::Broken));
        let answer = service.call(put(&path), LIST).await;
        assert_eq!(answer.problem(), (507, "/problems/storage".into()), "{operation:?}");
        assert_eq!(service.get(&path).await.json()["state"], "empty");
        service.api.sweep_uploads().await.unwrap();
        assert_eq!((blobs(&service).await, service.growing().await.len()), (0, 0), "{operation:?}");
        assert_eq!(service.call(put(&path), LIST).await.status, 202);
    }
}

#[tokio::test]
async fn an_upload_in_parts_goes_on_once_a_full_disk_has_room_again() {
    let (service, faults) = Service::start_failing(7);
    let path = audience(&service).await;
    let begun = service.call(put(&path).header("upload-complete", "?0"), "user\n").await;
    let upload = begun.headers["location"].to_str().unwrap().to_owned();
    let part = || {
        Request::patch(&upload)
            .header("content-type", "application/partial-upload")
            .header("upload-offset", 5)
            .header("upload-complete", "?1")
    };
    faults.next(Operation::Append, Some(Fault::Broken));
    let full = service.call(part(), &LIST[5..]).await;
    assert_eq!(full.problem(), (507, "/problems/storage".into()));
    assert_eq!(full.headers["upload-offset"], "5");
    assert_eq!(service.call(part(), &LIST[5..]).await.json()["upload"]["bytes"], LIST.len());
}

#[tokio::test]
async fn a_body_larger_than_allowed_is_refused_before_or_while_it_comes() {
    let config = Config { upload_bytes_max: 10, ..Config::default() };
    let service = Service::start_with(config, |backend, _| backend);
    let path = audience(&service).await;
    let stream =
        || Body::from_stream(futures::stream::iter([Ok::<_, std::io::Error>("user\n"), Ok("ann\nbob\n")]));
    let announced = put(&path).header("upload-complete", "?0").header("upload-length", 11);
    let begun = service.call(put(&path).header("upload-complete", "?0"), Body::empty()).await;
    let upload = begun.headers["location"].to_str().unwrap().to_owned();
    let part = Request::patch(&upload)
        .header("content-type", "application/partial-upload")
        .header("upload-offset", 0)
        .header("upload-complete", "?0");
    let answers = [
        service.call(put(&path), LIST).await,
        service.call(put(&path), stream()).await,
        service.call(announced, Body::empty()).await,
        service.call(part, stream()).await,
    ];
    for answer in answers {
        assert_eq!(answer.problem(), (413, "/problems/too-large".into()));
        assert!(answer.headers["upload-limit"].to_str().unwrap().starts_with("max-size=10"));
    }
    assert_eq!(service.call(Request::head(&upload), Body::empty()).await.status, 410);
    assert_eq!((blobs(&service).await, service.growing().await.len()), (0, 0));
}

#[tokio::test]
async fn a_body_that_stands_still_ends_its_request() {
    let service = Service::start();
    let path = audience(&service).await;
    let hanging = || {
        let first = futures::stream::iter([Ok::<_, std::io::Error>("user\nann\n")]);
        Body::from_stream(futures::StreamExt::chain(first, futures::stream::pending()))
    };
    let json = Request::post("/v1/audiences").header("content-type", "application/json");
    for request in [put(&path), json] {
        let call = service.call(request, hanging());
        let (answer, ()) = tokio::join!(call, service.pass(Duration::from_secs(31)));
        assert_eq!(answer.problem(), (408, "/problems/stood-still".into()));
    }
    assert_eq!((blobs(&service).await, service.growing().await.len()), (0, 0));
}

#[tokio::test]
async fn a_packed_body_is_stored_as_it_came_and_an_unknown_packing_is_refused() {
    let service = Service::start();
    // What a gzip file begins with, and no more.
    let packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    for (coding, packing) in [(None, "none"), (Some("gzip"), "gzip"), (Some("zstd"), "zstd")] {
        let path = audience(&service).await;
        let request = put(&path);
        let request =
            if let Some(coding) = coding { request.header("content-encoding", coding) } else { request };
        let upload = service.call(request, packed.clone()).await.json()["upload"].clone();
        assert_eq!((&upload["packing"], &upload["bytes"]), (&packing.into(), &10.into()));
        let stored = service.backend.blobs.get(upload["blob"].as_str().unwrap()).await.unwrap().unwrap();
        assert_eq!(stored, packed);
    }
    let path = audience(&service).await;
    let brotli = service.call(put(&path).header("content-encoding", "br"), packed).await;
    assert_eq!(brotli.problem(), (415, "/problems/media-type".into()));
}

#[tokio::test]
async fn digests_of_a_whole_body_are_checked() {
    let service = Service::start();
    let right = "sha-256=:+8DknzWLZpnANnqHys+ZGZlGzZ05T39t4DZuGexNPLM=:";
    let wrong = "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:";
    for name in ["repr-digest", "content-digest"] {
        let path = audience(&service).await;
        let answer = service.call(put(&path).header(name, wrong), LIST).await;
        assert_eq!(answer.problem(), (400, "/problems/digest-mismatch".into()));
        assert!(answer.text.contains(name) && answer.text.contains("sha-256"), "{}", answer.text);
        assert_eq!(service.call(put(&path).header(name, right), LIST).await.status, 202);
        let no_digest = service.call(put(&path).header(name, "sha-512=:abc:"), LIST).await;
        assert_eq!(no_digest.problem(), (400, "/problems/bad-request".into()));
    }
    assert_eq!((blobs(&service).await, service.growing().await.len()), (2, 0));
}

#[tokio::test]
async fn the_same_import_with_the_same_key_is_made_once() {
    let service = Service::start();
    let post = |key: &str| {
        Request::post("/v1/imports").header("content-type", "text/csv").header("idempotency-key", key)
    };
    let first = service.call(post("k"), LIST).await;
    assert_eq!(first.status, 202, "{}", first.text);
    let again = [service.call(post("k"), LIST).await, in_parts(&service, post("k"), LIST).await];
    for again in again {
        assert_eq!((again.status, again.json()["id"].clone()), (202, first.json()["id"].clone()));
        assert_eq!(again.headers["location"], first.headers["location"]);
    }
    let other = service.call(post("k"), "user\ndora\n").await;
    assert_eq!(other.problem(), (422, "/problems/idempotency-key-reused".into()));
    assert_eq!(service.call(post("l"), LIST).await.status, 202);
    assert_eq!(service.call(post(&"x".repeat(300)), LIST).await.status, 400);
    assert_eq!((blobs(&service).await, service.growing().await.len()), (2, 0));
    assert_eq!(service.all_audited().await, ["devices.uploaded"; 2]);
}

#[tokio::test]
async fn two_imports_with_one_key_at_once_are_one() {
    let service = Service::start();
    let post =
        || Request::post("/v1/imports").header("content-type", "text/csv").header("idempotency-key", "k");
    let (one, two) = tokio::join!(in_parts(&service, post(), LIST), in_parts(&service, post(), LIST));
    assert_eq!((one.status, two.status, &one.json()["id"]), (202, 202, &two.json()["id"]));
    assert_eq!(blobs(&service).await, 1);
}
