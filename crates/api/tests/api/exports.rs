//! Exports of audiences, and the list of those left out: asked for, refused, told.

use backend::{Expect, rows};
use model::left_out::LeftOutList;
use model::{Audience, AudienceReport, AudienceState, Digest, Timestamp};
use serde_json::json;

use crate::service::Service;

/// An audience as a resolver leaves it; its id.
async fn audience(service: &Service, change: impl FnOnce(&mut Audience)) -> String {
    let made = service.json("POST", "/v1/audiences", &json!({ "name": "fans" })).await.json();
    let id = made["id"].as_str().unwrap().to_owned();
    let row = rows::audience::get(&*service.backend.store, id.parse().unwrap()).await.unwrap().unwrap();
    let mut body = row.body;
    change(&mut body);
    let put = rows::audience::put(&body, Expect::Version(row.version));
    service.backend.store.write(vec![put]).await.unwrap();
    id
}

fn frozen(number: u8) -> impl FnOnce(&mut Audience) {
    move |audience| {
        audience.state = AudienceState::Frozen { snapshot: Digest([number; 32]), at: Timestamp(1) };
        audience.report = Some(AudienceReport::default());
    }
}

#[tokio::test]
async fn a_difference_and_the_members_of_frozen_audiences_can_be_asked_for() {
    let service = Service::start();
    let (one, other) = (audience(&service, frozen(1)).await, audience(&service, frozen(2)).await);
    let asked = json!({ "what": "difference", "audience": one, "against": other, "format": "csv" });
    let made = service.json("POST", "/v1/exports", &asked).await;
    assert_eq!(made.status, 202, "{}", made.text);
    let shown = service.get(made.headers["location"].to_str().unwrap()).await.json();
    assert_eq!(
        (&shown["what"], &shown["state"], &shown["against"]),
        (&"difference".into(), &"asked".into(), &other.into())
    );
    assert_eq!(
        (&shown["snapshot"], &shown["against_snapshot"]),
        (&json!(Digest([1; 32])), &json!(Digest([2; 32])))
    );
    let members = json!({ "what": "members", "audience": one, "format": "ndjson" });
    assert_eq!(service.json("POST", "/v1/exports", &members).await.json()["what"], "members");
    let waiting = service.backend.queues.depth(backend::Queue::Resolve).await.unwrap();
    assert_eq!(waiting, 2, "a resolver is asked");
}

#[tokio::test]
async fn exports_that_cannot_be_are_refused_with_the_reason() {
    let service = Service::start();
    let (one, empty) = (audience(&service, frozen(1)).await, audience(&service, |_| {}).await);
    let unknown = "aud_00000000000000000000000000000001";
    for (asked, status, said) in [
        (json!({ "what": "difference", "audience": one, "format": "csv" }), 422, "/against"),
        (json!({ "what": "members", "audience": one, "against": one, "format": "csv" }), 422, "/against"),
        (json!({ "what": "members", "audience": empty, "format": "csv" }), 409, "not frozen"),
        (json!({ "what": "difference", "audience": one, "against": empty, "format": "csv" }), 409, &empty),
        (json!({ "what": "members", "audience": unknown, "format": "csv" }), 404, unknown),
        (json!({ "what": "outcomes", "audience": one, "format": "csv" }), 400, "outcomes"),
    ] {
        let answer = service.json("POST", "/v1/exports", &asked).await;
        assert_eq!(answer.status, status, "{asked}: {}", answer.text);
        assert!(answer.text.contains(said), "{asked}: {}", answer.text);
    }
}

#[tokio::test]
async fn those_left_out_are_told_as_lines_of_json_or_as_csv_that_no_spreadsheet_runs() {
    let service = Service::start();
    let lines = "{\"user\":\"=ann\",\"reason\":\"unknown\"}\n\
                 {\"user\":\"bob\",\"reason\":\"duplicate_key\",\"platform\":\"fcm\",\"app\":\"a\",\"market\":\"us\",\
                 \"locale\":\"en\",\"key_hash\":\"0f\",\"kept_by\":\"ann\",\"user_in\":true}\n";
    let packed = zstd::encode_all(lines.as_bytes(), 1).unwrap();
    service.backend.blobs.put("uploads/1/1.left-out", packed).await.unwrap();
    let list = LeftOutList { blob: "uploads/1/1.left-out".into(), rows: 2, is_cut: false };
    let id = audience(&service, |audience| {
        audience.report = Some(AudienceReport { left_out_list: Some(list), ..AudienceReport::default() });
    })
    .await;
    let path = format!("/v1/audiences/{id}/left-out");
    let answer = service.get(&path).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, lines));
    let answer = service.get(&format!("{path}?format=csv")).await;
    assert_eq!(answer.headers["content-type"], "text/csv; charset=utf-8");
    let wanted = "user,reason,platform,app,market,locale,key_hash,kept_by,user_in\n\
                  \"'=ann\",unknown,,,,,,,\nbob,duplicate_key,fcm,a,us,en,0f,ann,true\n";
    assert_eq!(answer.text, wanted);
    assert_eq!(service.get(&format!("{path}?format=pdf")).await.status, 400);

    let nobody = audience(&service, frozen(1)).await;
    assert_eq!(service.get(&format!("/v1/audiences/{nobody}/left-out")).await.text, "");
    let unread = audience(&service, |_| {}).await;
    assert_eq!(
        service.get(&format!("/v1/audiences/{unread}/left-out")).await.problem(),
        (409, "/problems/not-written".into())
    );
}

#[tokio::test]
async fn a_list_of_many_rows_is_told_whole_in_both_formats() {
    let service = Service::start();
    let lines: String =
        (0..40_000).map(|number| format!("{{\"user\":\"u{number}\",\"reason\":\"unknown\"}}\n")).collect();
    let packed = zstd::encode_all(lines.as_bytes(), 1).unwrap();
    service.backend.blobs.put("uploads/1/1.left-out", packed).await.unwrap();
    let list = LeftOutList { blob: "uploads/1/1.left-out".into(), rows: 40_000, is_cut: true };
    let id = audience(&service, |audience| {
        audience.report = Some(AudienceReport { left_out_list: Some(list), ..AudienceReport::default() });
    })
    .await;
    let path = format!("/v1/audiences/{id}/left-out");
    assert_eq!(service.get(&path).await.text, lines);
    let told = service.get(&format!("{path}?format=csv")).await.text;
    let rows: Vec<String> = (0..40_000).map(|number| format!("u{number},unknown,,,,,,,")).collect();
    assert!(told.lines().skip(1).eq(rows.iter().map(String::as_str)));
}
