//! Uploads in parts: begun, cut, gone on with, completed once, by whomever and however often.

use api::Config;
use axum::body::Body;
use backend::fault::{Fault, Operation};
use backend::{Queue, rows};
use http::Request;
use http::request::Builder;
use http_body_util::BodyExt as _;
use model::retention::Periods;
use model::{Digest, UploadId};
use serde_json::json;
use std::time::Duration;
use tower::ServiceExt as _;

use crate::service::{Answer, Service};

const LIST: &str = "user\nann\nbob\ncarol\n";
/// SHA-256 of the list.
const LIST_SHA_256: &str = "sha-256=:+8DknzWLZpnANnqHys+ZGZlGzZ05T39t4DZuGexNPLM=:";

fn begin(path: &str) -> Builder {
    let method = if path.starts_with("/v1/imports") { "POST" } else { "PUT" };
    Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "text/csv")
        .header("upload-complete", "?0")
}

/// Begins an upload with nothing; where it goes on.
async fn begun(service: &Service, path: &str) -> String {
    let answer = service.call(begin(path), Body::empty()).await;
    assert_eq!((answer.status, field(&answer, "upload-complete")), (201, "?0"), "{}", answer.text);
    field(&answer, "location").to_owned()
}

fn part(upload: &str, offset: usize, complete: &str) -> Builder {
    Request::patch(upload)
        .header("content-type", "application/partial-upload")
        .header("upload-offset", offset)
        .header("upload-complete", complete)
}

#[track_caller]
fn field<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let value =
        answer.headers.get(name).unwrap_or_else(|| panic!("no {name}: {} {}", answer.status, answer.text));
    value.to_str().unwrap()
}

async fn offset(service: &Service, upload: &str) -> usize {
    let answer = service.call(Request::head(upload), Body::empty()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    field(&answer, "upload-offset").parse().unwrap()
}

async fn audience(service: &Service) -> String {
    let made = service.json("POST", "/v1/audiences", &json!({ "name": "fans" })).await;
    format!("{}/upload", made.headers["location"].to_str().unwrap())
}

/// Where the audience of an upload's path is.
fn shown(path: &str) -> &str {
    path.trim_end_matches("/upload")
}

fn cut_after(bytes: &str) -> Body {
    let bytes = bytes.to_owned();
    Body::from_stream(futures::stream::iter([Ok(bytes), Err(std::io::Error::other("the line was cut"))]))
}

#[tokio::test]
async fn an_upload_in_parts_ends_as_one_in_whole() {
    let service = Service::start();
    let (whole, parts) = (audience(&service).await, audience(&service).await);
    let put = Request::put(&whole).header("content-type", "text/csv");
    assert_eq!(service.call(put, LIST).await.status, 202);
    let first = service.call(begin(&parts).header("upload-length", LIST.len()), &LIST[..4]).await;
    assert_eq!((first.status, field(&first, "upload-offset")), (201, "4"), "{}", first.text);
    assert_eq!(field(&first, "upload-limit"), "max-size=8589934592, max-age=86400");
    let upload = field(&first, "location").to_owned();
    let second = service.call(part(&upload, 4, "?0"), &LIST[4..9]).await;
    assert_eq!((second.status, field(&second, "upload-complete")), (204, "?0"));
    assert_eq!(offset(&service, &upload).await, 9);
    let last = service.call(part(&upload, 9, "?1"), &LIST[9..]).await;
    assert_eq!((last.status, field(&last, "upload-complete")), (202, "?1"), "{}", last.text);
    let (whole, parts) = (service.get(shown(&whole)).await.json(), service.get(shown(&parts)).await.json());
    for same in ["bytes", "digest", "format"] {
        assert_eq!(whole["upload"][same], parts["upload"][same]);
    }
    assert_eq!(parts["upload"]["digest"], Digest::of(LIST.as_bytes()).to_string());
    let blob = parts["upload"]["blob"].as_str().unwrap();
    assert_eq!(service.backend.blobs.get(blob).await.unwrap().unwrap(), LIST.as_bytes());
    assert_eq!(service.backend.queues.depth(Queue::Resolve).await.unwrap(), 2);
    assert!(service.growing().await.is_empty());
}

#[tokio::test]
async fn bytes_of_a_part_that_broke_off_count_also_after_a_restart() {
    let service = Service::start();
    let upload = begun(&service, "/v1/imports").await;
    let cut = service.call(part(&upload, 0, "?1"), cut_after(&LIST[..7])).await;
    assert!(cut.status == 400 && cut.text.contains("broke off"), "{}", cut.text);
    assert_eq!((field(&cut, "upload-offset"), field(&cut, "upload-complete")), ("7", "?0"));
    let another = service.another(Config::default());
    let head = Request::head(&upload).header("host", "localhost").body(Body::empty()).unwrap();
    let head = another.clone().oneshot(head).await.unwrap();
    assert_eq!(
        (head.status().as_u16(), &head.headers()["upload-offset"]),
        (200, &http::HeaderValue::from(7))
    );
    assert_eq!(head.headers()["upload-complete"], "?0");
    let rest = part(&upload, 7, "?1").header("host", "localhost").body(Body::from(&LIST[7..])).unwrap();
    let rest = another.oneshot(rest).await.unwrap();
    let (parts, body) = rest.into_parts();
    let body: serde_json::Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(parts.status.as_u16(), 202, "{body}");
    assert_eq!(body["upload"]["digest"], Digest::of(LIST.as_bytes()).to_string());
    assert_eq!(service.all_audited().await, ["devices.uploaded"]);
}

#[tokio::test]
async fn a_first_part_that_breaks_off_leaves_nothing_for_nobody_knows_where() {
    let service = Service::start();
    assert_eq!(service.call(begin("/v1/imports"), cut_after("user")).await.status, 400);
    assert!(service.growing().await.is_empty());
    assert!(rows::upload::list(&*service.backend.store, "", 10).await.unwrap().0.is_empty());
}

#[tokio::test]
async fn a_part_that_begins_elsewhere_is_refused_with_the_right_offset() {
    let service = Service::start();
    let upload = begun(&service, "/v1/imports").await;
    assert_eq!(service.call(part(&upload, 0, "?0"), "user").await.status, 204);
    for offset in [0, 3, 5] {
        let answer = service.call(part(&upload, offset, "?1"), "\nann\n").await;
        let kind = "https://iana.org/assignments/http-problem-types#mismatching-upload-offset";
        assert_eq!(answer.problem(), (409, kind.into()));
        assert_eq!((field(&answer, "upload-offset"), field(&answer, "upload-complete")), ("4", "?0"));
        assert_eq!(
            (&answer.json()["expected-offset"], &answer.json()["provided-offset"]),
            (&4.into(), &offset.into())
        );
    }
    assert_eq!(offset(&service, &upload).await, 4);
}

#[tokio::test]
async fn a_later_request_ends_the_earlier_one_and_goes_on_where_it_stood() {
    let service = Service::start();
    let upload = begun(&service, "/v1/imports").await;
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    sender.unbounded_send(Ok::<_, std::io::Error>(LIST[..5].to_owned())).unwrap();
    let hanging = service.call(part(&upload, 0, "?1"), Body::from_stream(receiver));
    let later = async {
        // The hanging request has come to where it waits for more.
        tokio::task::yield_now().await;
        let head = service.call(Request::head(&upload), Body::empty());
        let (head, ()) = tokio::join!(head, service.pass(Duration::from_secs(10)));
        assert_eq!((head.status, field(&head, "upload-offset")), (200, "5"), "{}", head.text);
        service.call(part(&upload, 5, "?1"), &LIST[5..]).await
    };
    let (hanging, later) = tokio::join!(hanging, later);
    assert_eq!(hanging.problem(), (409, "/problems/upload-taken-over".into()));
    assert_eq!((later.status, &later.json()["upload"]["bytes"]), (202, &LIST.len().into()));
    drop(sender);
}

#[tokio::test]
async fn an_upload_that_another_process_is_at_is_locked() {
    let service = Service::start();
    let upload = begun(&service, "/v1/imports").await;
    let name = upload.rsplit('/').next().unwrap();
    let held = service.backend.blobs.grow(name).await.unwrap().expect("nobody holds it");
    let call = service.call(part(&upload, 0, "?1"), LIST);
    let (answer, ()) = tokio::join!(call, service.pass(Duration::from_secs(10)));
    assert_eq!(answer.problem(), (423, "/problems/upload-busy".into()));
    assert_eq!(field(&answer, "retry-after"), "1");
    // It is no reason to forget the upload, and for reading it can be looked at.
    assert_eq!(service.get(&upload).await.json()["state"], "receiving");
    drop(held);
    assert_eq!(service.call(part(&upload, 0, "?1"), LIST).await.status, 202);
}

#[tokio::test]
async fn an_upload_that_nobody_goes_on_with_is_swept_and_leaves_nothing() {
    let retention = Periods { parts: Duration::from_secs(60), ..Periods::default() };
    let config = Config { retention, ..Config::default() };
    let service = Service::start_with(config, |backend, _| backend);
    let (abandoned, done) = (begun(&service, "/v1/imports").await, begun(&service, "/v1/imports").await);
    service.call(part(&abandoned, 0, "?0"), "user\n").await;
    assert_eq!(service.call(part(&done, 0, "?1"), LIST).await.status, 202);
    service.clock.advance(Duration::from_secs(59));
    assert_eq!(service.api.sweep_uploads().await, Ok(0));
    let head = service.call(Request::head(&abandoned), Body::empty()).await;
    assert_eq!(field(&head, "upload-limit"), "max-size=8589934592, max-age=1");
    service.clock.advance(Duration::from_secs(2));
    assert_eq!(service.api.sweep_uploads().await, Ok(2));
    for upload in [&abandoned, &done] {
        let answer = service.call(part(upload, 5, "?1"), "ann\n").await;
        assert_eq!(answer.problem(), (404, "/problems/not-found".into()));
    }
    assert!(service.growing().await.is_empty());
    assert!(rows::upload::list(&*service.backend.store, "", 10).await.unwrap().0.is_empty());
    // What the complete one led to stays.
    assert_eq!(service.backend.blobs.list("imports/").await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_killed_processes_left_is_swept_and_what_somebody_holds_is_not() {
    let service = Service::start();
    let grow = async |name: &str| service.backend.blobs.grow(name).await.unwrap().unwrap();
    drop(grow("once_1").await);
    drop(grow(&UploadId(7).to_string()).await);
    let held = grow("once_2").await;
    assert_eq!(service.api.sweep_uploads().await, Ok(2));
    assert_eq!(service.growing().await, ["once_2"]);
    drop(held);
}

#[tokio::test]
async fn an_upload_goes_on_after_the_service_was_stopped() {
    let service = Service::start();
    let upload = begun(&service, "/v1/imports").await;
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    sender.unbounded_send(Ok::<_, std::io::Error>(LIST[..5].to_owned())).unwrap();
    let stop = async {
        tokio::task::yield_now().await;
        service.shutdown.cancel();
    };
    let (stopped, ()) = tokio::join!(service.call(part(&upload, 0, "?1"), Body::from_stream(receiver)), stop);
    assert_eq!(stopped.problem(), (503, "/problems/stopping".into()));
    assert_eq!(field(&stopped, "upload-offset"), "5");
    drop(sender);
}

#[tokio::test]
async fn a_complete_upload_says_what_it_became_and_takes_nothing_more() {
    let service = Service::start();
    let upload = begun(&service, "/v1/imports").await;
    let last = service.call(part(&upload, 0, "?1"), LIST).await;
    let import = field(&last, "location");
    let head = service.call(Request::head(&upload), Body::empty()).await;
    assert_eq!((head.status, field(&head, "upload-complete")), (200, "?1"));
    assert_eq!((field(&head, "content-location"), field(&head, "upload-offset")), (import, "19"));
    let again = service.call(part(&upload, LIST.len(), "?1"), Body::empty()).await;
    let kind = "https://iana.org/assignments/http-problem-types#";
    assert_eq!(again.problem(), (400, format!("{kind}completed-upload")));
    assert_eq!(field(&again, "content-location"), import);
    let more = service.call(part(&upload, LIST.len(), "?1"), "dora\n").await;
    assert_eq!(more.problem(), (400, format!("{kind}inconsistent-upload-length")));
    assert_eq!(service.call(Request::delete(&upload), Body::empty()).await.status, 204);
    assert_eq!(service.get(import).await.status, 200);
    assert_eq!(service.get(&upload).await.status, 404);
    assert!(service.growing().await.is_empty());
}

#[tokio::test]
async fn an_upload_that_is_deleted_leaves_nothing() {
    let service = Service::start();
    let upload = begun(&service, "/v1/imports").await;
    service.call(part(&upload, 0, "?0"), "user\n").await;
    assert_eq!(service.call(Request::delete(&upload), Body::empty()).await.status, 204);
    assert_eq!(service.call(Request::delete(&upload), Body::empty()).await.status, 404);
    assert!(service.growing().await.is_empty());
}

/// A process that dies at its worst moment is one whose calls fail from then on.
#[tokio::test]
async fn an_upload_cut_at_any_step_of_its_completion_is_completed_once() {
    use Operation::{Get, Keep, Send, Sync, Transact, Write};
    for operation in [Sync, Write, Keep, Get, Transact, Send] {
        for fault in [Fault::Transient, Fault::AnswerLost] {
            for skipped in 0..3 {
                let (service, faults) = Service::start_failing(7);
                let path = audience(&service).await;
                let upload = begun(&service, &path).await;
                assert_eq!(service.call(part(&upload, 0, "?0"), LIST).await.status, 204);
                (0..skipped).for_each(|_| faults.next(operation, None));
                faults.next(operation, Some(fault));
                let last = service.call(part(&upload, LIST.len(), "?1"), Body::empty()).await;
                faults.off();
                let case = format!("{operation:?} {fault:?} {skipped}: {} {}", last.status, last.text);
                assert!(last.status == 202 || last.status >= 500, "{case}");
                // As a client does whose answer was lost or no success.
                let head = service.call(Request::head(&upload), Body::empty()).await;
                if head.headers["upload-complete"] == "?0" {
                    let again = service.call(part(&upload, LIST.len(), "?1"), Body::empty()).await;
                    assert_eq!(again.status, 202, "{case}: {}", again.text);
                } else {
                    assert_eq!(field(&head, "content-location"), shown(&path), "{case}");
                }
                let audience = service.get(shown(&path)).await.json();
                assert_eq!(audience["upload"]["digest"], Digest::of(LIST.as_bytes()).to_string(), "{case}");
                let blobs = service.backend.blobs.list("uploads/").await.unwrap();
                assert_eq!(blobs, [audience["upload"]["blob"].as_str().unwrap()], "{case}");
                assert_eq!(service.all_audited().await, ["audience.created", "audience.uploaded"], "{case}");
                service.api.sweep_uploads().await.unwrap();
                assert!(service.growing().await.is_empty(), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn an_upload_whose_process_died_while_completing_is_completed_by_the_sweep() {
    let (service, faults) = Service::start_failing(7);
    let path = audience(&service).await;
    let upload = begun(&service, &path).await;
    faults.next(Operation::Transact, Some(Fault::Transient));
    assert_eq!(service.call(part(&upload, 0, "?1"), LIST).await.status, 503);
    assert_eq!(service.get(shown(&path)).await.json()["state"], "empty");
    service.api.sweep_uploads().await.unwrap();
    assert_eq!(service.get(shown(&path)).await.json()["state"], "uploaded");
}

#[tokio::test]
async fn lengths_that_differ_are_refused_and_what_is_there_stays() {
    let service = Service::start();
    let kind = "https://iana.org/assignments/http-problem-types#inconsistent-upload-length";
    let answer = service.call(begin("/v1/imports").header("upload-length", 10), Body::empty()).await;
    let upload = field(&answer, "location").to_owned();
    assert_eq!(service.call(part(&upload, 0, "?0"), "user\n").await.status, 204);
    let other = service.call(part(&upload, 5, "?0").header("upload-length", 11), "ann").await;
    assert_eq!(other.problem(), (400, kind.into()));
    let short = service.call(part(&upload, 5, "?1"), "ann").await;
    assert_eq!(short.problem(), (400, kind.into()));
    let long = service.call(part(&upload, 5, "?0"), "ann\nbob\n").await;
    assert_eq!(long.problem(), (400, kind.into()));
    assert_eq!(offset(&service, &upload).await, 5);
    // One whose length is not known before it comes.
    let chunked = Body::from_stream(futures::stream::iter([Ok::<_, std::io::Error>("ann\nb"), Ok("ob\n")]));
    let chunked = service.call(part(&upload, 5, "?1"), chunked).await;
    assert_eq!(chunked.problem(), (400, kind.into()));
    let at = offset(&service, &upload).await;
    assert!(at <= 10, "{at}");
}

#[tokio::test]
async fn a_request_that_is_no_part_of_an_upload_says_what_is_missing() {
    let service = Service::start();
    let upload = begun(&service, "/v1/imports").await;
    let csv = Request::patch(&upload).header("content-type", "text/csv");
    let answer = service.call(csv, "x").await;
    assert_eq!(answer.problem(), (415, "/problems/media-type".into()));
    assert_eq!(field(&answer, "accept-patch"), "application/partial-upload");
    for missing in ["upload-offset", "upload-complete"] {
        let mut request = part(&upload, 0, "?1");
        request.headers_mut().unwrap().remove(missing);
        let answer = service.call(request, "x").await;
        assert!(answer.status == 400 && answer.text.to_lowercase().contains(missing), "{}", answer.text);
    }
    for path in ["/v1/imports", "/v1/audiences/aud_00000000000000000000000000000001/upload"] {
        let offer = service.call(Request::options(path), Body::empty()).await;
        assert_eq!((offer.status, field(&offer, "accept-patch")), (204, "application/partial-upload"));
        assert_eq!(field(&offer, "upload-limit"), "max-size=8589934592, max-age=86400");
    }
}

#[tokio::test]
async fn no_more_uploads_are_begun_than_there_may_be_at_once() {
    let config = Config { uploads_max: 2, ..Config::default() };
    let service = Service::start_with(config, |backend, _| backend);
    let first = begun(&service, "/v1/imports").await;
    begun(&service, "/v1/imports").await;
    let third = service.call(begin("/v1/imports"), Body::empty()).await;
    assert_eq!(third.problem(), (503, "/problems/too-many-uploads".into()));
    assert_eq!(service.call(part(&first, 0, "?1"), LIST).await.status, 202);
    begun(&service, "/v1/imports").await;
}

#[tokio::test]
async fn digests_are_checked_over_all_parts_and_nothing_is_kept_of_a_wrong_whole() {
    let service = Service::start();
    let path = audience(&service).await;
    for (last, status) in [("bob\ncarol\n", 202), ("bob\nCarol\n", 400)] {
        let path = if status == 202 { path.clone() } else { audience(&service).await };
        let answer = service.call(begin(&path).header("repr-digest", LIST_SHA_256), "user\nann\n").await;
        let upload = field(&answer, "location").to_owned();
        let answer = service.call(part(&upload, 9, "?1"), last).await;
        assert_eq!((answer.status, field(&answer, "upload-complete")), (status, "?1"), "{}", answer.text);
        if status == 400 {
            assert_eq!(answer.problem(), (400, "/problems/digest-mismatch".into()));
            assert!(
                answer.text.contains("repr-digest says that the sha-256 is fbc0e49f358b"),
                "{}",
                answer.text
            );
            let head = service.call(Request::head(&upload), Body::empty()).await;
            assert_eq!(head.status, 410);
            assert_eq!(service.get(&upload).await.json()["state"], "refused");
            assert_eq!(service.get(shown(&path)).await.json()["state"], "empty");
        }
    }
    assert_eq!(service.backend.blobs.list("uploads/").await.unwrap().len(), 1);
    assert!(service.growing().await.is_empty());
}

#[tokio::test]
async fn a_part_that_is_not_what_its_digest_says_is_not_appended() {
    let service = Service::start();
    let upload = begun(&service, "/v1/imports").await;
    assert_eq!(service.call(part(&upload, 0, "?0"), "us").await.status, 204);
    // Of the whole list.
    let wrong = service.call(part(&upload, 2, "?0").header("content-digest", LIST_SHA_256), "er\nann").await;
    assert_eq!(wrong.problem(), (400, "/problems/digest-mismatch".into()));
    assert_eq!(field(&wrong, "upload-offset"), "2");
    assert_eq!(offset(&service, &upload).await, 2);
    assert_eq!(service.call(part(&upload, 2, "?1"), &LIST[2..]).await.status, 202);
}
