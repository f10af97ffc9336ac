//! Imports of devices into the directory.

use super::*;
use crate::import;

const EVERY_GOOD_ROW: BadRows = BadRows::AcceptValid { share_ppm_max: model::audience::PPM };

async fn import_text(bench: &Bench, number: u128, text: &str, bad_rows: BadRows) -> Import {
    let mut upload = bench.blob(&format!("imports/{number}/1"), text.as_bytes()).await;
    upload.bad_rows = bad_rows;
    let id = bench.import(number, upload).await;
    import::run(&bench.desk, id, 1).await.unwrap();
    bench.read_import(id).await.body
}

fn why(import: &Import) -> &str {
    match &import.state {
        ImportState::Failed { why } => why,
        state => panic!("it is {state:?}"),
    }
}

#[tokio::test]
async fn devices_are_added_changed_and_left_as_they_are() {
    let bench = Bench::with(Config { import_devices: 3, ..Config::default() });
    let mut devices: Vec<Device> = (0..10).map(|number| device(&format!("u{number}"), number)).collect();
    let first = import_text(&bench, 1, &csv(&devices), BadRows::RejectAll).await;
    assert!(matches!(first.state, ImportState::Done { .. }), "{first:?}");
    let report = first.report.unwrap();
    assert_eq!((report.read.rows, report.added, report.changed, report.unchanged), (10, 10, 0, 0));
    assert_eq!(report.by_platform, [("apns".into(), 5), ("fcm".into(), 5)].into());
    devices[3].locale = "fr".into();
    let report = import_text(&bench, 2, &csv(&devices), BadRows::RejectAll).await.report.unwrap();
    assert_eq!((report.added, report.changed, report.unchanged), (0, 1, 9));
    assert_eq!(bench.backend().directory.devices(&["u3".into()]).await.unwrap()[0], [devices[3].clone()]);
}

#[tokio::test]
async fn one_bad_row_keeps_the_whole_file_out() {
    let bench = Bench::new();
    let text = csv(&[device("u1", 1)]) + "u2,fcm,a key,app,en,us,\n";
    let import = import_text(&bench, 1, &text, BadRows::RejectAll).await;
    assert!(
        why(&import).starts_with("1 of 2 rows are bad; the first: line 3: key is not"),
        "{}",
        why(&import)
    );
    assert_eq!(bench.backend().directory.count().await.unwrap(), (0, 0));
    assert_eq!(import.report.unwrap().read.first_bad_rows[0].line, 3);
    assert_eq!(bench.actions().await, ["devices.import_failed resolver"]);
}

#[tokio::test]
async fn bad_rows_are_left_out_when_that_was_asked() {
    let bench = Bench::new();
    let text = csv(&[device("u1", 1)]) + "u2,fcm,a key,app,en,us,\n";
    let report = import_text(&bench, 1, &text, EVERY_GOOD_ROW).await.report.unwrap();
    assert_eq!((report.added, report.read.bad_rows), (1, 1));
    let import = import_text(&bench, 2, "user,platform,key,app,locale,market\nu,v\n", EVERY_GOOD_ROW).await;
    assert!(why(&import).starts_with("all 1 rows are bad"));
}

#[tokio::test]
async fn a_list_of_users_is_no_import() {
    let import = import_text(&Bench::new(), 1, "user\nu1\n", BadRows::RejectAll).await;
    assert_eq!(why(&import), "the rows are users, and must be devices");
}

#[tokio::test]
async fn the_file_is_deleted_once_the_import_is_over() {
    let bench = Bench::new();
    import_text(&bench, 1, &csv(&[device("u1", 1)]), BadRows::RejectAll).await;
    import_text(&bench, 2, "rubbish", BadRows::RejectAll).await;
    assert!(bench.backend().blobs.list("imports/").await.unwrap().is_empty());
}

#[tokio::test]
async fn an_import_that_was_over_is_not_begun_again() {
    let bench = Bench::new();
    let import = import_text(&bench, 1, &csv(&[device("u1", 1)]), BadRows::RejectAll).await;
    import::run(&bench.desk, import.id, 2).await.unwrap();
    assert_eq!(bench.read_import(import.id).await.body, import);
}

#[tokio::test]
async fn the_file_of_an_import_whose_resolver_was_killed_at_the_end_is_deleted_too() {
    let bench = Bench::new();
    let import = import_text(&bench, 1, &csv(&[device("u1", 1)]), BadRows::RejectAll).await;
    bench.blob(&import.upload.blob, b"keys").await;
    import::run(&bench.desk, import.id, 2).await.unwrap();
    assert!(bench.backend().blobs.list("imports/").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_file_with_one_user_for_all_devices_is_refused_at_once() {
    let bench = Bench::with(Config { import_devices: 9_000, ..Config::default() });
    let devices: Vec<Device> = (0..10_001).map(|number| device("anonymous", number)).collect();
    let import = import_text(&bench, 1, &csv(&devices), BadRows::RejectAll).await;
    let wanted =
        "one user would have more than 10000 devices; a device of lines 9002 to 10002 was one too many";
    assert_eq!(why(&import), wanted);
    assert_eq!(import.report.unwrap().added, 9_000, "what was taken before is told");
}

/// The list of bad rows that a report names.
async fn listed(bench: &Bench, import: &Import) -> Vec<model::audience::BadRow> {
    let blob = import.report.as_ref().unwrap().read.bad_rows_blob.clone().expect("it has a list");
    let packed = bench.backend().blobs.get(&blob).await.unwrap().unwrap();
    let text = zstd::decode_all(&packed[..]).unwrap();
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[tokio::test]
async fn every_bad_row_is_listed_whether_the_file_is_taken_or_not() {
    let bench = Bench::new();
    let good = csv(&[device("u1", 1)]);
    let text = good + &"u2,fcm,a key,app,en,us,\n".repeat(70);
    for (number, bad_rows) in [BadRows::RejectAll, EVERY_GOOD_ROW].into_iter().enumerate() {
        let import = import_text(&bench, number as u128, &text, bad_rows).await;
        let list = listed(&bench, &import).await;
        assert_eq!((list.len(), list[69].line, list[69].reason.as_str()), (70, 72, "fcm_key"));
        let read = import.report.unwrap().read;
        assert_eq!((read.bad_rows, read.first_bad_rows.len()), (70, model::audience::BAD_ROWS_MAX));
        assert_eq!(read.first_bad_rows, list[..model::audience::BAD_ROWS_MAX]);
    }
    assert_eq!(bench.staged(), 0, "work folders are removed");
}

#[tokio::test]
async fn a_list_of_bad_rows_ends_where_the_configuration_says() {
    let limits = crate::Limits { bad_rows_listed_max: 30, ..crate::Limits::default() };
    let bench = Bench::with(Config { limits, ..Config::default() });
    let text = csv(&[device("u1", 1)]) + &"u2\n".repeat(70);
    let import = import_text(&bench, 1, &text, BadRows::RejectAll).await;
    assert_eq!(listed(&bench, &import).await.len(), 30);
    assert_eq!(import.report.unwrap().read.bad_rows, 70);
}

#[tokio::test]
async fn more_bad_rows_than_their_share_keep_the_whole_file_out() {
    let bench = Bench::new();
    let devices: Vec<Device> = (0..9).map(|number| device("u", number)).collect();
    let text = csv(&devices) + "rubbish\n";
    let a_tenth = |share_ppm_max| BadRows::AcceptValid { share_ppm_max };
    let import = import_text(&bench, 1, &text, a_tenth(99_999)).await;
    assert!(
        why(&import).starts_with("1 of 10 rows are bad, a larger share than 0.099999"),
        "{}",
        why(&import)
    );
    assert_eq!(bench.backend().directory.count().await.unwrap(), (0, 0));
    let import = import_text(&bench, 2, &text, a_tenth(100_000)).await;
    assert_eq!(import.report.unwrap().added, 9);
}

#[tokio::test]
async fn a_packed_export_of_pinpoint_is_taken_in_and_says_whom_it_leaves_out() {
    let bench = Bench::new();
    let endpoints = [
        r#"{"Id":"e1","ChannelType":"APNS","Address":"00AA","User":{"UserId":"ann"},"Location":{"Country":"DE"}}"#,
        r#"{"Id":"e2","ChannelType":"GCM","Address":"tok:2","OptOut":"ALL"}"#,
        r#"{"Id":"e3","ChannelType":"EMAIL","Address":"a@example.org"}"#,
        r#"{"Id":"e4","ChannelType":"GCM","Address":"tok:4","Demographic":{"Locale":"pt_BR"}}"#,
    ];
    let packed = crate::unpack::tests::gzip(endpoints.join("\n").as_bytes());
    let mut upload = bench.blob("imports/1/1", &packed).await;
    upload.format = UploadFormat::Pinpoint;
    upload.defaults = Defaults {
        apns_app: Some("a.b".into()),
        fcm_app: Some("p".into()),
        locale: Some("en".into()),
        market: Some("us".into()),
        platform: None,
    };
    let id = bench.import(1, upload).await;
    import::run(&bench.desk, id, 1).await.unwrap();
    let report = bench.read_import(id).await.body.report.unwrap();
    assert_eq!((report.read.rows, report.added, report.read.bad_rows), (4, 2, 0));
    assert_eq!(report.read.left_out, [("channel_email".into(), 1), ("opted_out".into(), 1)].into());
    let found = bench.backend().directory.devices(&["ann".into(), "e4".into()]).await.unwrap();
    assert_eq!((found[0][0].key.as_str(), found[0][0].market.as_str()), ("00aa", "de"));
    assert_eq!((found[1][0].locale.as_str(), found[1][0].market.as_str()), ("pt-BR", "us"));
}

#[tokio::test]
async fn a_file_that_was_cut_off_changes_nothing() {
    let bench = Bench::with(Config { import_devices: 10, ..Config::default() });
    let devices: Vec<Device> = (0..5_000).map(|number| device(&format!("u{number}"), number)).collect();
    let packed = crate::unpack::tests::gzip(csv(&devices).as_bytes());
    let upload = bench.blob("imports/1/1", &packed[..packed.len() - 9]).await;
    let id = bench.import(1, upload).await;
    import::run(&bench.desk, id, 1).await.unwrap();
    let import = bench.read_import(id).await.body;
    let wanted = format!("in the middle of what gzip packed, at its byte {}", packed.len() - 9);
    assert!(why(&import).contains(&wanted), "{}", why(&import));
    assert_eq!(bench.backend().directory.count().await.unwrap(), (0, 0));
}
