//! The full list of an upload's bad rows.

use backend::{Expect, rows};
use model::audience::{BadRows, Defaults, Packing, ReadReport, Upload, UploadFormat};
use model::import::{Destination, Import, ImportReport, ImportState};
use model::{Digest, ImportId, Timestamp};

use crate::service::Service;

async fn import(service: &Service, number: u128, report: Option<ReadReport>) -> String {
    let id = ImportId(number);
    let upload = Upload {
        blob: format!("imports/{id}/1"),
        bytes: 1,
        digest: Digest::of(b"x"),
        format: UploadFormat::Csv,
        packing: Packing::None,
        bad_rows: BadRows::RejectAll,
        defaults: Defaults::default(),
    };
    let report = report.map(|read| ImportReport { read, ..ImportReport::default() });
    let import = Import {
        id,
        into: Destination::Directory,
        upload,
        state: ImportState::Uploaded,
        report,
        created_at: Timestamp(1),
        worked_at: None,
    };
    service.backend.store.write(vec![rows::import::put(&import, Expect::Absent)]).await.unwrap();
    format!("/v1/imports/{id}/bad-rows")
}

#[tokio::test]
async fn a_packed_list_is_told_plain_and_whole() {
    let service = Service::start();
    let list: String = (2..40_000)
        .map(|line| format!("{{\"line\":{line},\"byte\":7,\"reason\":\"user\",\"cause\":\"c\"}}\n"))
        .collect();
    let packed = zstd::encode_all(list.as_bytes(), 1).unwrap();
    service.backend.blobs.put("imports/1/1.bad-rows", packed).await.unwrap();
    let read = ReadReport { bad_rows_blob: Some("imports/1/1.bad-rows".into()), ..ReadReport::default() };
    let path = import(&service, 1, Some(read)).await;
    let answer = service.get(&path).await;
    assert_eq!(
        (answer.status, &answer.headers["content-type"]),
        (200, &"application/x-ndjson".parse().unwrap())
    );
    assert_eq!(answer.text, list);
}

#[tokio::test]
async fn without_bad_rows_the_list_is_empty_and_before_reading_there_is_none() {
    let service = Service::start();
    let clean = import(&service, 1, Some(ReadReport::default())).await;
    let answer = service.get(&clean).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    let unread = import(&service, 2, None).await;
    assert_eq!(service.get(&unread).await.problem(), (409, "/problems/not-written".into()));
    assert_eq!(service.get("/v1/imports/imp_7/bad-rows").await.status / 100, 4);
}
