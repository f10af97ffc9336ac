//! Launches while they run and afterwards: control, events, report, exports; and what every route shares.

use axum::body::Body;
use backend::rows;
use http::Request;
use http_body_util::BodyExt as _;
use model::launch::Finish;
use model::{Class, LaunchId, Outcome, Platform, Reason, Timestamp};
use report::{Progress, ShardRecord};
use serde_json::json;

use crate::service::Service;

async fn launched(service: &Service) -> (LaunchId, String) {
    let audience = service.frozen_audience(10, 0).await;
    let campaign = service.campaign(Some(audience)).await;
    let answer = service.press(&campaign, "ann", Some("\"1\"")).await;
    let path = answer.headers["location"].to_str().unwrap().to_owned();
    (path.rsplit('/').next().unwrap().parse().unwrap(), path)
}

async fn finish(service: &Service, id: LaunchId) {
    finish_with(service, id, Some(Timestamp::from_secs(1_000_002))).await;
}

/// What a worker and a dispatcher would write once the only shard is recorded.
async fn finish_with(service: &Service, id: LaunchId, late_over_at: Option<Timestamp>) {
    let outcome = Outcome::new(Class::NotSent, Reason::Aborted);
    let record = ShardRecord::uniform(id, 0, 10, 1, "w1", outcome).unwrap();
    let claim =
        rows::shard::Claim { owner: 1, epoch: 1, attempts: 1, lease_until: Timestamp(0), is_started: true };
    let name = rows::shard::ShardName { launch: id, slice: 0, shard: 0, attempt: 0 };
    let row = rows::shard::ShardRow { claim, record: Some(record.encode()), is_open: false };
    let mut progress = Progress::new(id, "w1", Timestamp::from_secs(1_000_001));
    progress.add(Platform::Apns, "us", outcome, 10);
    let finish = Finish { at: Timestamp::from_secs(1_000_002), late_over_at };
    let writes = vec![
        rows::shard::put(&name, &row, backend::Expect::Absent),
        rows::fleet::put_progress(id, "w1", progress.encode()),
        rows::launch::put_finish(id, &finish, backend::Expect::Absent),
        rows::launch::close(id),
    ];
    service.backend.store.write(writes).await.unwrap();
}

#[tokio::test]
async fn an_abort_is_registered_then_stopped_and_stands_for_ever() {
    let service = Service::start();
    let (id, path) = launched(&service).await;
    let request = Request::post(format!("{path}/abort"))
        .header("fanfare-actor", "olga")
        .header("content-type", "application/json");
    let answer = service.call(request, "{\"why\":\"wrong picture\"}").await.json();
    assert_eq!(
        (&answer["live"]["state"], &answer["control"]["aborted"]["by"]),
        (&json!("aborting"), &json!("olga"))
    );
    let again =
        service.call(Request::post(format!("{path}/abort")).header("fanfare-actor", "bob"), "").await.json();
    assert_eq!(again["control"]["aborted"]["by"], "olga");
    let paused = service.call(Request::post(format!("{path}/pause")), "").await.json();
    assert_eq!(paused["control"]["paused"], json!(null));
    finish(&service, id).await;
    let stopped = service.get(&path).await.json();
    assert_eq!(
        (&stopped["live"]["state"], &stopped["live"]["counts"]["not_sent"]),
        (&json!("aborted"), &json!(10))
    );
    // Of the workers' figures nothing need have come: what had left is counted in the records.
    assert_eq!((&answer["counts"], &stopped["counts"]["not_sent"]), (&json!(null), &json!(10)));
    assert_eq!(service.audited().await, ["launch.pressed", "launch.aborted"]);
}

#[tokio::test]
async fn late_retries_are_aborted_too_and_what_is_over_changes_no_more() {
    let service = Service::start();
    let (id, path) = launched(&service).await;
    finish_with(&service, id, None).await;
    let aborted = service.call(Request::post(format!("{path}/abort")), "").await.json();
    assert_eq!(aborted["live"]["state"], "aborting", "{aborted}");

    let (id, path) = launched(&service).await;
    finish(&service, id).await;
    for what in ["abort", "pause", "resume"] {
        let over = service.call(Request::post(format!("{path}/{what}")), "").await.json();
        assert_eq!((&over["live"]["state"], &over["control"]["paused"]), (&json!("finished"), &json!(null)));
    }
    assert_eq!(service.audited().await, ["launch.pressed", "launch.aborted", "launch.pressed"]);
}

#[tokio::test]
async fn an_abort_is_not_refused_for_its_body() {
    for body in ["because", "{\"wyh\":\"typo\"}"] {
        let service = Service::start();
        let (_, path) = launched(&service).await;
        let answer = service.call(Request::post(format!("{path}/abort")), body).await;
        assert_eq!((answer.status, &answer.json()["live"]["state"]), (200, &json!("aborting")));
    }
}

#[tokio::test]
async fn a_pause_is_taken_back_by_resuming() {
    let service = Service::start();
    let (_, path) = launched(&service).await;
    let paused = service.call(Request::post(format!("{path}/pause")), "").await.json();
    assert_eq!(paused["live"]["state"], "paused");
    let resumed = service.call(Request::post(format!("{path}/resume")), "").await.json();
    assert_eq!(resumed["live"]["state"], "sending");
    assert_eq!(service.audited().await, ["launch.pressed", "launch.paused", "launch.resumed"]);
}

#[tokio::test]
async fn events_carry_the_whole_state_and_end_with_the_launch() {
    let service = Service::start();
    let (id, path) = launched(&service).await;
    let request = Request::get(format!("{path}/events")).header("last-event-id", "12");
    let mut body = service.send(request, Body::empty()).await.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let first = String::from_utf8(first.to_vec()).unwrap();
    assert!(first.contains("id: 0\n") && first.contains("\"state\":\"sending\""), "{first}");
    finish(&service, id).await;
    // Ready only when the clock moves: nothing is sent while nothing changes.
    let (rest, ()) = tokio::join!(body.collect(), async {
        for _ in 0..3 {
            tokio::task::yield_now().await;
            service.clock.advance(std::time::Duration::from_millis(200));
        }
    });
    let rest = String::from_utf8(rest.unwrap().to_bytes().to_vec()).unwrap();
    assert_eq!(rest.matches("event: progress").count(), 1, "{rest}");
    assert!(rest.contains("\"is_over\":true") && rest.contains("\"not_sent\":10"), "{rest}");
}

/// Nobody published progress, as if the worker had died: the records know all the same.
#[tokio::test]
async fn the_last_figures_come_from_the_records() {
    let service = Service::start();
    let (id, path) = launched(&service).await;
    assert_eq!(service.get(&path).await.json()["live"]["done"], 0);
    finish(&service, id).await;
    let live = service.get(&path).await.json()["live"].clone();
    assert_eq!((&live["done"], &live["shards_recorded"]), (&10.into(), &1.into()), "{live}");
    assert_eq!(live["parts"][0]["counts"]["not_sent"], 10, "{live}");
}

#[tokio::test]
async fn the_report_is_json_or_text_from_records_only() {
    let service = Service::start();
    let (id, path) = launched(&service).await;
    let early = service.get(&format!("{path}/report")).await.json();
    assert_eq!((early["shards_recorded"].as_u64(), early["devices"].as_u64()), (Some(0), Some(10)));
    finish(&service, id).await;
    let report = service.get(&format!("{path}/report")).await.json();
    assert_eq!(
        (report["counts"]["not_sent"].as_u64(), report["shards_recorded"].as_u64()),
        (Some(10), Some(1))
    );
    let text = service.call(Request::get(format!("{path}/report")).header("accept", "text/plain"), "").await;
    assert!(text.text.contains("Kick-off"), "{}", text.text);
    let stages = service.get(&format!("{path}/stages")).await.json();
    assert_eq!((stages.as_array().unwrap().len(), &stages[0]["stage"]), (9, &"write".into()));
    assert_eq!(stages[0]["count"], 1, "the press says when it had written the launch");
}

#[tokio::test]
async fn an_export_is_asked_for_once_the_launch_is_over() {
    let service = Service::start();
    let (id, path) = launched(&service).await;
    let exports = format!("{path}/exports");
    let early = service.json("POST", &exports, &json!({ "format": "csv" })).await;
    assert_eq!(early.problem(), (409, "/problems/not-over".into()));
    finish(&service, id).await;
    let asked = service.json("POST", &exports, &json!({ "format": "csv" })).await;
    assert_eq!((asked.status, asked.json()["state"].as_str()), (202, Some("asked")));
    let file = format!("{}/file", asked.headers["location"].to_str().unwrap());
    assert_eq!(service.get(&file).await.problem(), (409, "/problems/not-written".into()));
    assert_eq!(service.json("POST", &exports, &json!({ "format": "pdf" })).await.status, 400);
}

#[tokio::test]
async fn a_quota_is_declared_and_audited() {
    let service = Service::start();
    let path = "/v1/projects/fcm/demo";
    assert_eq!(service.get(path).await.status, 404);
    assert_eq!(service.json("PUT", path, &json!({ "quota_per_minute": 0 })).await.status, 422);
    assert_eq!(service.json("PUT", path, &json!({ "quota_per_minute": 600_000 })).await.status, 200);
    assert_eq!(service.get(path).await.json()["quota_per_minute"], 600_000);
    assert_eq!(
        service.json("PUT", "/v1/projects/adm/demo", &json!({ "quota_per_minute": 1 })).await.status,
        400
    );
    assert_eq!(service.audited().await, ["project.quota"]);
}

#[tokio::test]
async fn other_hosts_origins_methods_and_paths_are_problems_too() {
    let service = Service::start();
    let foreign =
        service.call(Request::post("/v1/audiences").header("origin", "http://evil.test"), "{}").await;
    assert_eq!(foreign.problem(), (403, "/problems/foreign-origin".into()));
    assert_eq!(service.get("/v1/nothing").await.problem(), (404, "/problems/not-found".into()));
    let method = service.call(Request::delete("/v1/campaigns"), "").await;
    assert_eq!(method.problem(), (405, "/problems/method-not-allowed".into()));
    let unnamed = service.call(Request::delete("/v1/users/u").header("fanfare-actor", " "), "").await;
    assert_eq!(unnamed.problem(), (400, "/problems/bad-request".into()));
}

#[tokio::test]
async fn the_openapi_document_has_every_route() {
    let service = Service::start();
    let document = service.get("/v1/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap();
    for path in
        ["/v1/campaigns/{id}/waves/{wave}/launch", "/v1/launches/{id}/events", "/v1/imports", "/metrics"]
    {
        assert!(paths.contains_key(path), "{path}");
    }
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for path in ["/healthz", "/readyz", "/v1/workers", "/v1/launches", "/v1/projects"] {
        assert_eq!(service.get(path).await.status, 200, "{path}");
    }
    let metrics = service.get("/metrics").await.text;
    assert!(
        metrics.contains("fanfare_http_requests_total{route=\"/healthz\",status=\"2xx\"} 1"),
        "{metrics}"
    );
}
