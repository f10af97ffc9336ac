//! Go: the order of judgement, once for ever, and the audit of every press.

use std::collections::HashSet;

use backend::fault::{Fault, Operation};
use backend::{Queue, rows};
use futures::future::join_all;
use model::{CampaignId, LaunchId};

use crate::service::Service;

#[tokio::test]
async fn a_press_launches_writes_its_outbox_and_triggers_every_slice() {
    let service = Service::start();
    let audience = service.frozen_audience(5_000, 2_500).await;
    let campaign = service.campaign(Some(audience)).await;
    let answer = service.press(&campaign, "ann", Some("\"1\"")).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let json = answer.json();
    assert_eq!((json["is_new"].clone(), json["devices"].clone()), (true.into(), 7_500.into()));
    let id: LaunchId = json["launch"].as_str().unwrap().parse().unwrap();
    let launch = rows::launch::get(&*service.backend.store, id).await.unwrap().unwrap();
    // 5,000 by 2,000 and 2,500 by 1,000: six shards, and a slice for each.
    assert_eq!((launch.shards, launch.slices, launch.pressed_by.as_str()), (6, 6, "ann"));
    assert_eq!(rows::launch::slices(&*service.backend.store, id).await.unwrap().len(), 6);
    assert_eq!(service.backend.queues.depth(Queue::Triggers).await.unwrap(), 6);
    assert_eq!(service.audited().await, ["launch.pressed"]);
}

#[tokio::test]
async fn fifty_presses_at_once_are_one_launch() {
    let service = Service::start();
    let audience = service.frozen_audience(10, 10).await;
    let campaign = service.campaign(Some(audience)).await;
    let answers = join_all((0..50).map(|_| service.press(&campaign, "ann", Some("\"1\"")))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 49);
    let launches: HashSet<String> =
        answers.iter().map(|answer| answer.json()["launch"].to_string()).collect();
    assert_eq!(launches.len(), 1);
    assert_eq!(rows::launch::open(&*service.backend.store).await.unwrap().len(), 1);
    let audited = service.audited().await;
    assert_eq!(audited.iter().filter(|action| *action == "launch.pressed").count(), 1);
    assert_eq!(audited.iter().filter(|action| *action == "launch.pressed_again").count(), 49);
}

#[tokio::test]
async fn a_second_press_is_answered_with_the_launch_and_nothing_else_is_looked_at() {
    let service = Service::start();
    let audience = service.frozen_audience(10, 0).await;
    let campaign = service.campaign(Some(audience)).await;
    let first = service.press(&campaign, "ann", Some("\"1\"")).await.json();
    // Half a year later the workers are gone and the version is stale or missing.
    service.clock.advance(std::time::Duration::from_secs(15_552_000));
    for tag in [None, Some("\"99\""), Some("rubbish")] {
        let again = service.press(&campaign, "bob", tag).await;
        assert_eq!(again.status, 200, "{}", again.text);
        let again = again.json();
        assert_eq!((&again["launch"], &again["is_new"]), (&first["launch"], &false.into()));
        assert_eq!(
            (again["pressed_by"].as_str(), again["pressed_ms_before"].as_u64()),
            (Some("ann"), Some(15_552_000_000))
        );
    }
}

#[tokio::test]
async fn go_wants_the_version_that_was_read() {
    let service = Service::start();
    let audience = service.frozen_audience(10, 0).await;
    let campaign = service.campaign(Some(audience)).await;
    assert_eq!(
        service.press(&campaign, "ann", None).await.problem(),
        (428, "/problems/if-match-required".into())
    );
    let stale = service.press(&campaign, "ann", Some("\"7\"")).await;
    assert_eq!(stale.problem(), (412, "/problems/changed".into()));
    assert!(stale.json()["detail"].as_str().unwrap().contains("\"1\""), "{}", stale.text);
    assert_eq!(service.press(&campaign, "ann", Some("7")).await.status, 400);
    assert_eq!(service.audited().await, ["launch.refused"; 3]);
    assert!(rows::launch::open(&*service.backend.store).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_refusal_names_each_interlock_that_fails() {
    let service = Service::start();
    let names = |answer: &crate::service::Answer| -> Vec<String> {
        let errors = answer.json()["errors"].as_array().unwrap().clone();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    };
    let nobody = service.campaign(None).await;
    let refused = service.press(&nobody, "ann", Some("\"1\"")).await;
    assert_eq!(refused.problem(), (409, "/problems/interlocks".into()));
    assert_eq!(names(&refused), ["/snapshot-frozen"]);

    let audience = service.frozen_audience(10, 10).await;
    let campaign = service.campaign(Some(audience)).await;
    service.clock.advance(std::time::Duration::from_millis(1_001));
    let refused = service.press(&campaign, "ann", Some("\"1\"")).await;
    assert_eq!(names(&refused), ["/workers-ready", "/apps-connected"]);
    assert!(refused.text.contains("w1 was last heard of 1.0 s ago"), "{}", refused.text);

    let empty = service.frozen_audience(0, 0).await;
    let campaign = service.campaign(Some(empty)).await;
    assert_eq!(names(&service.press(&campaign, "ann", Some("\"1\"")).await), ["/wave-has-devices"]);
    let readiness = service.get(&format!("{campaign}/waves/all/readiness")).await.json();
    assert_eq!((readiness["is_ready"].clone(), readiness["version"].clone()), (false.into(), 1.into()));
}

#[tokio::test]
async fn an_unknown_wave_or_campaign_is_not_found() {
    let service = Service::start();
    let campaign = service.campaign(None).await;
    let answer = service
        .call(http::Request::post(format!("{campaign}/waves/east/launch")).header("if-match", "\"1\""), "")
        .await;
    assert_eq!(answer.problem(), (404, "/problems/not-found".into()));
    let nowhere = format!("/v1/campaigns/{}", CampaignId(5));
    assert_eq!(service.press(&nowhere, "ann", Some("\"1\"")).await.status, 404);
    let long = format!("{campaign}/waves/{}/launch", "x".repeat(600));
    let answer = service.call(http::Request::post(long).header("if-match", "\"1\""), "").await;
    assert_eq!(answer.problem(), (404, "/problems/not-found".into()));
    assert_eq!(service.press("/v1/campaigns/rubbish", "ann", Some("\"1\"")).await.status, 400);
}

#[tokio::test]
async fn a_lost_answer_is_read_again_and_never_told_as_a_refusal() {
    for (fault, statuses) in [(Fault::AnswerLost, [201, 200]), (Fault::RequestLost, [503, 201])] {
        let (service, faults) = Service::start_failing(1);
        let audience = service.frozen_audience(10, 0).await;
        let campaign = service.campaign(Some(audience)).await;
        faults.next(Operation::Transact, Some(fault));
        let first = service.press(&campaign, "ann", Some("\"1\"")).await;
        let second = service.press(&campaign, "ann", Some("\"1\"")).await;
        assert_eq!([first.status, second.status], statuses, "{fault:?}: {} {}", first.text, second.text);
        assert_eq!(rows::launch::open(&*service.backend.store).await.unwrap().len(), 1);
        assert!(!service.audited().await.contains(&"launch.refused".to_owned()));
    }
}

#[tokio::test]
async fn triggers_that_cannot_be_sent_are_left_to_the_sweep() {
    let (service, faults) = Service::start_failing(1);
    let audience = service.frozen_audience(10, 0).await;
    let campaign = service.campaign(Some(audience)).await;
    faults.next(Operation::Send, Some(Fault::Transient));
    assert_eq!(service.press(&campaign, "ann", Some("\"1\"")).await.status, 201);
    assert_eq!(service.backend.queues.depth(Queue::Triggers).await.unwrap(), 0);
    let open = rows::launch::open(&*service.backend.store).await.unwrap();
    let slices = rows::launch::slices(&*service.backend.store, open[0]).await.unwrap();
    assert_eq!(slices.iter().filter(|slice| slice.body.planned_at.is_none()).count(), 1);
}

#[tokio::test]
async fn a_press_that_lacks_something_is_answered_with_the_launch_that_came_meanwhile() {
    // Half of the seeds delay the look for a launch until after it was made, half its answer.
    for seed in 0..8 {
        let (service, faults) = Service::start_failing(seed);
        let audience = service.frozen_audience(10, 0).await;
        let campaign = service.campaign(Some(audience)).await;
        faults.next(Operation::Get, Some(Fault::Delay));
        let (late, first) = tokio::join!(service.press(&campaign, "bob", None), async {
            let first = service.press(&campaign, "ann", Some("\"1\"")).await;
            service.pass(std::time::Duration::from_secs(1)).await;
            first
        });
        assert_eq!((first.status, late.status), (201, 200), "{seed}: {}", late.text);
        assert_eq!(late.json()["launch"], first.json()["launch"]);
        assert!(!service.audited().await.contains(&"launch.refused".to_owned()));
    }
}

#[tokio::test]
async fn a_press_with_a_body_launches_nothing_unless_it_is_launched_already() {
    let service = Service::start();
    let audience = service.frozen_audience(1, 0).await;
    let campaign = service.campaign(Some(audience)).await;
    let press = || {
        let path = format!("{campaign}/waves/all/launch");
        let request = http::Request::post(path).header("if-match", "\"1\"");
        service.call(request.header("content-type", "application/json"), r#"{"purpose":"rehearsal"}"#)
    };
    assert_eq!(press().await.problem(), (400, "/problems/bad-request".into()));
    assert_eq!(service.press(&campaign, "ann", Some("\"1\"")).await.status, 201);
    assert_eq!(press().await.status, 200);
}

#[tokio::test]
async fn a_tag_without_quotes_says_how_it_is_written() {
    let service = Service::start();
    let campaign = service.campaign(None).await;
    for tag in ["1", "*", "W/\"1\""] {
        let answer = service.press(&campaign, "ann", Some(tag)).await;
        assert_eq!(answer.status, 400);
        assert!(answer.json()["detail"].as_str().unwrap().ends_with("for example \"1\""), "{}", answer.text);
    }
}
