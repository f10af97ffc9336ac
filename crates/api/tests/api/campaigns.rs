//! Campaigns: faults with their places, versions, previews, and what a launch makes unchangeable.

use backend::fault::{Fault, Operation};
use model::AudienceId;
use serde_json::json;

use crate::service::{Service, campaign_body};

#[tokio::test]
async fn every_fault_is_told_with_its_pointer() {
    let service = Service::start();
    let body = json!({
        "name": "",
        "content": { "variants": { "en": { "title": "Hi", "body": "x".repeat(5_000) } }, "fallback": "de" },
        "audience": AudienceId(9),
        "waves": [{ "name": "a", "markets": ["us"] }, { "name": "b", "markets": ["us"] }],
    });
    let answer = service.json("POST", "/v1/campaigns", &body).await;
    assert_eq!(answer.problem(), (422, "/problems/faults".into()));
    let json = answer.json();
    let pointers: Vec<&str> =
        json["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    for pointer in ["/name", "/content/fallback", "/waves/1/markets", "/audience"] {
        assert!(pointers.contains(&pointer), "{pointer} not in {pointers:?}");
    }
    assert!(answer.text.contains("4096"), "the payload's bound is named: {}", answer.text);
}

#[tokio::test]
async fn a_body_that_cannot_be_read_says_where() {
    let service = Service::start();
    let bad = service
        .call(http::Request::post("/v1/campaigns").header("content-type", "application/json"), "{\"name\": }")
        .await;
    assert_eq!(bad.problem(), (400, "/problems/bad-request".into()));
    assert!(bad.text.contains("line 1 column 10"), "{}", bad.text);
    let mut unknown = campaign_body(None);
    unknown["colour"] = "red".into();
    let answer = service.json("POST", "/v1/campaigns", &unknown).await;
    assert!(answer.status == 400 && answer.text.contains("unknown field `colour`"), "{}", answer.text);
    let mut wrong = campaign_body(None);
    wrong["waves"][0]["markets"] = json!(["us", 7]);
    let answer = service.json("POST", "/v1/campaigns", &wrong).await;
    assert_eq!(answer.problem(), (400, "/problems/bad-request".into()));
    assert_eq!(answer.json()["errors"][0]["pointer"], "/waves/0/markets/1", "{}", answer.text);
    let answer = service.call(http::Request::post("/v1/campaigns"), "{}").await;
    assert_eq!(answer.problem(), (415, "/problems/media-type".into()));
    let large = service
        .call(
            http::Request::post("/v1/campaigns").header("content-type", "application/json"),
            vec![b' '; 2 << 20],
        )
        .await;
    assert_eq!(large.problem(), (413, "/problems/too-large".into()));
}

#[tokio::test]
async fn a_change_needs_the_version_that_was_read() {
    let service = Service::start();
    let path = service.campaign(None).await;
    let read = service.get(&path).await;
    assert_eq!((read.status, read.etag().as_str()), (200, "\"1\""));
    let put = |tag: Option<&'static str>| {
        let mut request = http::Request::put(&path).header("content-type", "application/json");
        if let Some(tag) = tag {
            request = request.header("if-match", tag);
        }
        service.call(request, campaign_body(None).to_string())
    };
    assert_eq!(put(None).await.problem(), (428, "/problems/if-match-required".into()));
    let changed = put(Some("\"1\"")).await;
    assert_eq!((changed.status, changed.etag().as_str()), (200, "\"2\""));
    assert_eq!(put(Some("\"1\"")).await.problem(), (412, "/problems/changed".into()));
}

#[tokio::test]
async fn a_launched_wave_and_its_audience_stay() {
    let service = Service::start();
    let audience = service.frozen_audience(4, 4).await;
    let path = service.campaign(Some(audience)).await;
    assert_eq!(service.press(&path, "ann", Some("\"1\"")).await.status, 201);
    let other = service.frozen_audience(1, 1).await;
    let mut body = campaign_body(Some(other));
    body["waves"][0]["markets"] = json!(["us"]);
    let request =
        http::Request::put(&path).header("content-type", "application/json").header("if-match", "\"1\"");
    let answer = service.call(request, body.to_string()).await;
    assert_eq!(answer.problem(), (422, "/problems/faults".into()));
    assert_eq!(answer.json()["errors"].as_array().unwrap().len(), 2, "{}", answer.text);
}

#[tokio::test]
async fn the_same_idempotency_key_makes_one_campaign() {
    let service = Service::start();
    let post = |body: serde_json::Value| {
        let request = http::Request::post("/v1/campaigns")
            .header("content-type", "application/json")
            .header("idempotency-key", "k1");
        service.call(request, body.to_string())
    };
    let (first, second) = (post(campaign_body(None)).await, post(campaign_body(None)).await);
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.json()["id"], second.json()["id"]);
    let mut other = campaign_body(None);
    other["name"] = "Another".into();
    assert_eq!(post(other).await.problem(), (422, "/problems/idempotency-key-reused".into()));
    assert_eq!(service.get("/v1/campaigns").await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_list_pages_by_cursor() {
    let service = Service::start();
    for _ in 0..5 {
        service.campaign(None).await;
    }
    let mut seen = Vec::new();
    let mut path = "/v1/campaigns?limit=2".to_owned();
    loop {
        let page = service.get(&path).await.json();
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].to_string()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/campaigns?limit=2&cursor={cursor}");
    }
    assert_eq!(seen.len(), 5);
    for bad in ["?limit=0", "?limit=x", "?cursor=zz", "?colour=red"] {
        assert_eq!(service.get(&format!("/v1/campaigns{bad}")).await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn a_preview_tells_bytes_and_warnings() {
    let service = Service::start();
    let mut body = campaign_body(None);
    body["content"]["variants"]["en"]["body"] = "Hello {{name}}".into();
    let made = service.json("POST", "/v1/campaigns", &body).await;
    let path = made.headers["location"].to_str().unwrap().to_owned();
    let preview = service.get(&format!("{path}/preview")).await.json();
    assert!(preview["variants"][0]["apns_bytes"].as_u64().unwrap() > 20, "{preview}");
    assert!(preview["warnings"].to_string().contains("{{name}}"), "{preview}");
}

#[tokio::test]
async fn workers_are_asked_only_for_what_is_frozen() {
    let service = Service::start();
    let path = service.campaign(None).await;
    let refused = service.call(http::Request::put(format!("{path}/prepare")), "").await;
    assert_eq!(refused.problem(), (409, "/problems/not-frozen".into()));
    let audience = service.frozen_audience(1, 1).await;
    let path = service.campaign(Some(audience)).await;
    assert_eq!(service.call(http::Request::put(format!("{path}/prepare")), "").await.status, 202);
    assert_eq!(backend::rows::fleet::wanted(&*service.backend.store).await.unwrap().len(), 1);
    assert_eq!(service.call(http::Request::delete(format!("{path}/prepare")), "").await.status, 204);
    assert!(backend::rows::fleet::wanted(&*service.backend.store).await.unwrap().is_empty());
    let audited = service.all_audited().await;
    assert_eq!(audited[2..], ["campaign.prepared", "campaign.released"]);
}

#[tokio::test]
async fn a_change_never_crosses_the_launch_of_a_wave() {
    for seed in 0..8 {
        let (service, faults) = Service::start_failing(seed);
        let audience = service.frozen_audience(4, 4).await;
        let path = service.campaign(Some(audience)).await;
        // The same people under another wave's name: who was launched is looked for before, or told after, the launch.
        let mut body = campaign_body(Some(audience));
        body["waves"][0]["name"] = "again".into();
        let put =
            http::Request::put(&path).header("content-type", "application/json").header("if-match", "\"1\"");
        faults.next(Operation::Query, Some(Fault::Delay));
        let (changed, launched) = tokio::join!(service.call(put, body.to_string()), async {
            // The press looks for the workers by the next query.
            tokio::task::yield_now().await;
            while faults.made().is_empty() {
                tokio::task::yield_now().await;
            }
            let launched = service.press(&path, "ann", Some("\"1\"")).await;
            service.pass(std::time::Duration::from_secs(1)).await;
            launched
        });
        assert_eq!(launched.status, 201, "{}", launched.text);
        assert_eq!(changed.problem(), (422, "/problems/faults".into()), "seed {seed}");
    }
}

#[tokio::test]
async fn every_change_of_a_campaign_is_audited_with_its_content() {
    let service = Service::start();
    let path = service.campaign(None).await;
    let put = http::Request::put(&path)
        .header("content-type", "application/json")
        .header("if-match", "\"1\"")
        .header("fanfare-actor", "bob");
    assert_eq!(service.call(put, campaign_body(None).to_string()).await.status, 200);
    assert_eq!(service.all_audited().await, ["campaign.created", "campaign.changed"]);
    let entries = service.get("/v1/audit").await.json();
    let changed = &entries["items"][1];
    assert_eq!((changed["actor"].as_str(), changed["detail"]["content"].is_string()), (Some("bob"), true));
}

#[tokio::test]
async fn more_waves_than_one_change_can_check_are_refused() {
    let service = Service::start();
    let mut body = campaign_body(None);
    let wave = |number| json!({ "name": format!("w{number}"), "markets": [format!("m{number}")] });
    body["waves"] = (0..65).map(wave).collect();
    let answer = service.json("POST", "/v1/campaigns", &body).await;
    assert_eq!(answer.problem(), (422, "/problems/faults".into()));
    assert_eq!(answer.json()["errors"][0]["pointer"], "/waves");
}

#[tokio::test]
async fn what_was_made_is_told_though_its_answer_cannot_be_kept() {
    let (service, faults) = Service::start_failing(1);
    faults.next(Operation::Write, None);
    faults.next(Operation::Write, Some(Fault::Transient));
    let request = http::Request::post("/v1/campaigns")
        .header("content-type", "application/json")
        .header("idempotency-key", "k1");
    assert_eq!(service.call(request, campaign_body(None).to_string()).await.status, 201);
}
