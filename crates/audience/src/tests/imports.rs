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
    assert_eq!(why(&import), "the rows are users, announced were devices");
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
    assert_eq!(why(&import), "user anonymous would have more than 10000 devices");
    assert_eq!(import.report.unwrap().added, 9_000, "what was taken before is told");
}
