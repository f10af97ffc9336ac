//! Files of people for the late list.

use std::pin::pin;

use backend::rows::suppression::{self, List};
use backend::store::query_all;
use model::import::ImportReport;
use model::suppression::{Cause, Entry, Suppressed};

use super::choosing::suppress;
use super::rubbish::{block_on, is_killed_after, slow, steps};
use super::*;
use crate::import;
use crate::unpack::tests::{gzip, zstd};

async fn current(bench: &Bench) -> (List, Suppressed) {
    let backend = bench.backend();
    let suppression::Current { row, people } =
        suppression::current(&*backend.store, &*backend.blobs).await.unwrap();
    (row.body, people)
}

/// Why somebody is on the list.
async fn cause(bench: &Bench, user: &str) -> Option<Cause> {
    let key = suppression::hash_key(&*bench.backend().store, &*bench.desk.runtime.randomness).await.unwrap();
    current(bench).await.1.find(&key.user(user))
}

async fn asked(
    bench: &Bench,
    number: u128,
    cause: Cause,
    bytes: &[u8],
    change: impl FnOnce(&mut Upload),
) -> ImportId {
    let mut upload = bench.blob(&format!("imports/{number}/1"), bytes).await;
    change(&mut upload);
    bench.import_into(number, Destination::LateList(cause), upload).await
}

async fn added(
    bench: &Bench,
    number: u128,
    cause: Cause,
    bytes: &[u8],
    change: impl FnOnce(&mut Upload),
) -> Import {
    let id = asked(bench, number, cause, bytes, change).await;
    import::run(&bench.desk, id, 1).await.unwrap();
    assert_eq!(bench.staged(), 0, "nothing stays in staging");
    assert!(
        bench.backend().blobs.list("imports/").await.unwrap().iter().all(|blob| blob.ends_with(".bad-rows"))
    );
    bench.read_import(id).await.body
}

fn why(import: &Import) -> &str {
    match &import.state {
        ImportState::Failed { why } => why,
        state => panic!("it is {state:?}"),
    }
}

/// Rows, bad ones, people who came, changed and were there; the list's version.
fn numbers(import: &Import) -> [u64; 6] {
    assert!(matches!(import.state, ImportState::Done { .. }), "{:?}", import.state);
    let ImportReport { read, added, changed, unchanged, late_list_version, .. } =
        import.report.as_ref().unwrap();
    [read.rows, read.bad_rows, *added, *changed, *unchanged, late_list_version.unwrap()]
}

#[tokio::test]
async fn people_of_a_file_come_onto_the_list_in_one_version_however_it_is_written_and_packed() {
    let ids: Vec<String> = (0..2_500).map(|number| format!("user-{number:04}")).collect();
    let lines = |head: &str, line: &dyn Fn(&str) -> String| {
        ids.iter().fold(head.to_owned(), |text, id| text + &line(id) + "\n").into_bytes()
    };
    let csv = lines("user\n", &|id| id.to_owned());
    let files = [
        (UploadFormat::Csv, csv.clone()),
        (UploadFormat::Csv, gzip(&csv)),
        (UploadFormat::Ndjson, lines("", &|id| format!("{{\"user\":\"{id}\"}}"))),
        (UploadFormat::Users, lines("", &|id| id.to_owned())),
        (UploadFormat::Users, zstd(&lines("", &|id| id.to_owned()))),
    ];
    for (format, bytes) in files {
        let bench = Bench::new();
        let import = added(&bench, 1, Cause::OptedOut, &bytes, |upload| upload.format = format).await;
        assert_eq!(numbers(&import), [2_500, 0, 2_500, 0, 0, 1], "{format:?}");
        let (list, people) = current(&bench).await;
        assert_eq!((list.versions.last(), list.by_cause, people.len()), (1, [2_500, 0, 0], 2_500));
        assert_eq!(cause(&bench, "user-2499").await, Some(Cause::OptedOut));
        assert_eq!(cause(&bench, "user").await, None);
        assert_eq!(bench.actions().await, ["suppression.added resolver"]);
    }
}

#[tokio::test]
async fn nobody_counts_twice_a_stronger_cause_wins_and_a_file_without_news_makes_no_version() {
    let bench = Bench::new();
    suppress(&bench, &[("ann", Cause::OptedOut), ("bob", Cause::Blocked), ("eve", Cause::Erased)]).await;
    let text = b"user\nann\nbob\neve\nnew\nnew\n";
    let import = added(&bench, 1, Cause::Blocked, text, |_| {}).await;
    assert_eq!(numbers(&import), [5, 0, 1, 1, 3, 2]);
    for (user, wanted) in [("ann", Cause::Blocked), ("eve", Cause::Erased), ("new", Cause::Blocked)] {
        assert_eq!(cause(&bench, user).await, Some(wanted), "{user}");
    }
    let again = added(&bench, 2, Cause::OptedOut, text, |_| {}).await;
    assert_eq!(numbers(&again), [5, 0, 0, 0, 5, 2]);
    assert_eq!(current(&bench).await.0.versions.last(), 2);
}

#[tokio::test]
async fn a_file_with_bad_rows_changes_nothing_unless_they_may_be_and_says_where_they_stand() {
    let bench = Bench::new();
    let text = b"user\nann\n\"b\nbob\n";
    let refused = added(&bench, 1, Cause::OptedOut, text, |_| {}).await;
    assert!(
        why(&refused).starts_with("1 of 3 rows are bad; the first: line 3: a quoted field"),
        "{}",
        why(&refused)
    );
    let report = refused.report.unwrap().read;
    assert_eq!((report.first_bad_rows[0].byte, report.bad_by_reason["open_quote"]), (9, 1));
    assert!(report.bad_rows_blob.is_some());
    assert_eq!(current(&bench).await.0.versions.last(), 0);
    let half = BadRows::AcceptValid { share_ppm_max: 500_000 };
    let taken = added(&bench, 2, Cause::OptedOut, text, |upload| upload.bad_rows = half).await;
    assert_eq!(numbers(&taken), [3, 1, 2, 0, 0, 1]);
    assert_eq!(bench.actions().await, ["suppression.import_failed resolver", "suppression.added resolver"]);
}

#[tokio::test]
async fn a_list_of_devices_an_empty_file_and_one_that_was_cut_off_are_refused_by_name() {
    let bench = Bench::new();
    let devices = csv(&[device("u1", 1)]);
    let packed = gzip(b"user\nann\n");
    for (number, bytes, part) in [
        (1, devices.as_bytes(), "the rows are devices, and must be users"),
        (2, b"user\n", "no rows"),
        (3, &packed[..packed.len() - 3], "it was cut off"),
        (4, b"{\"user\":\"ann\"}\n", "the file is JSON, announced was csv"),
    ] {
        let import = added(&bench, number, Cause::OptedOut, bytes, |_| {}).await;
        assert!(why(&import).contains(part), "{}", why(&import));
    }
    let json = |upload: &mut Upload| upload.format = UploadFormat::Users;
    let import = added(&bench, 5, Cause::OptedOut, b"{\"user\":\"ann\"}\n", json).await;
    assert!(why(&import).contains("the file is JSON"), "{}", why(&import));
    assert!(current(&bench).await.1.is_empty());
}

#[tokio::test]
async fn a_list_that_would_become_too_long_is_refused_and_stays_as_it_is() {
    let limits = crate::Limits { late_list_max: 3, ..crate::Limits::default() };
    let bench = Bench::with(Config { limits, ..Config::default() });
    suppress(&bench, &[("ann", Cause::OptedOut), ("bob", Cause::OptedOut)]).await;
    // Who only gets a stronger cause makes it no longer.
    let import = added(&bench, 1, Cause::Blocked, b"user\nann\nbob\ncarol\ncarol\n", |_| {}).await;
    assert_eq!(numbers(&import), [4, 0, 1, 2, 1, 2]);
    let import = added(&bench, 2, Cause::OptedOut, b"user\nann\ndora\n", |_| {}).await;
    assert!(why(&import).contains("more than 3 people (uploads.late_list_max)"), "{}", why(&import));
    assert_eq!((current(&bench).await.1.len(), cause(&bench, "dora").await), (3, None));
}

#[tokio::test]
async fn no_row_and_no_file_holds_a_user_id_of_the_file() {
    const ANN: &str = "ann-who-opted-out";
    let folder = tempfile::tempdir().unwrap();
    let place = Place::Folder(folder.path().to_owned());
    let bench = Bench::at(&place, Timestamp::from_secs(1_000), Config::default(), |backend, _| backend);
    let many: String = (0..3_000).map(|number| format!("{ANN}-{number}\n")).collect();
    added(&bench, 1, Cause::OptedOut, format!("user\n{ANN}\n{many}").as_bytes(), |_| {}).await;
    let import =
        added(&bench, 2, Cause::OptedOut, format!("user\n{ANN}\n\"{ANN}\n").as_bytes(), |_| {}).await;
    assert!(!why(&import).contains(ANN));
    for partition in ["imports", "suppression", "installation", "audit", "audit/head"] {
        let rows = query_all(&*bench.backend().store, partition).await.unwrap();
        assert!(rows.iter().all(|row| !String::from_utf8_lossy(&row.body).contains(ANN)), "{partition}");
    }
    for blob in bench.backend().blobs.list("").await.unwrap() {
        let bytes = bench.backend().blobs.get(&blob).await.unwrap().unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(ANN), "{blob}");
    }
}

/// More people than stay in the row, so that each change replaces the list's blob.
fn crowd(name: &str) -> Vec<String> {
    (0..1_200).map(|number| format!("{name}-{number}")).collect()
}

async fn add_crowd(bench: &Bench, name: &str) {
    let (backend, randomness) = (bench.backend(), &*bench.desk.runtime.randomness);
    let key = suppression::hash_key(&*backend.store, randomness).await.unwrap();
    let since = bench.desk.now();
    let entries: Vec<Entry> = crowd(name)
        .iter()
        .map(|user| Entry { user: key.user(user), cause: Cause::OptedOut, since })
        .collect();
    let (store, blobs) = (&*backend.store, &*backend.blobs);
    let change = suppression::change(store, blobs, randomness, since, &entries, &[]).await.unwrap().unwrap();
    let written = store.write(vec![change.write]).await.unwrap();
    assert!(matches!(written[..], [backend::store::Written::Done(_)]));
    if let Some(blob) = change.replaced {
        blobs.delete(&blob).await.unwrap();
    }
}

#[tokio::test]
async fn a_change_that_comes_between_is_kept_and_so_is_the_file_s() {
    let (mut between, file) = (0, format!("user\n{}\n", crowd("file").join("\n")));
    for polls in 0.. {
        let bench = Bench::new();
        add_crowd(&bench, "first").await;
        let id = asked(&bench, 1, Cause::OptedOut, file.as_bytes(), |_| {}).await;
        let desk = slow(&bench, polls as u64);
        let mut work = pin!(import::run(&desk, id, 1));
        let over = steps(&bench, polls, work.as_mut()).await;
        add_crowd(&bench, "second").await;
        match over {
            Some(over) => over.unwrap(),
            None => bench.moving_on(work).await.unwrap(),
        }
        let (list, people) = current(&bench).await;
        assert_eq!((list.versions.last(), people.len()), (3, 3_600), "after {polls} steps");
        assert_eq!(bench.backend().blobs.list("suppression/").await.unwrap().len(), 1, "after {polls} steps");
        if matches!(bench.read_import(id).await.body.report, Some(report) if report.late_list_version == Some(2))
        {
            break;
        }
        between += 1;
    }
    assert!(between > 5, "{between} steps");
}

#[tokio::test]
async fn whoever_reads_the_list_while_it_changes_has_it_before_or_after() {
    for polls in 0..20 {
        let bench = Bench::new();
        add_crowd(&bench, "first").await;
        let desk = slow(&bench, polls as u64);
        let (store, blobs) = (&*desk.backend.store, &*desk.backend.blobs);
        let mut reading = pin!(suppression::current(store, blobs));
        let read = steps(&bench, polls, reading.as_mut()).await;
        add_crowd(&bench, "second").await;
        let read = match read {
            Some(read) => read,
            None => bench.moving_on(reading).await,
        };
        assert!([1_200, 2_400].contains(&read.unwrap().people.len()), "after {polls} steps");
    }
}

#[test]
fn a_resolver_killed_anywhere_in_adding_leaves_everybody_to_the_next() {
    let (mut kills, file) = (0, format!("user\n{}\n", crowd("file").join("\n")));
    for polls in (0..).step_by(3) {
        let bench = Bench::new();
        block_on(add_crowd(&bench, "first"));
        let id = block_on(asked(&bench, 1, Cause::OptedOut, file.as_bytes(), |_| {}));
        if !is_killed_after(&bench, polls, async |desk: Desk| import::run(&desk, id, 1).await) {
            break;
        }
        kills += 1;
        block_on(bench.moving_on(import::run(&bench.desk, id, 2))).unwrap();
        let import = block_on(bench.read_import(id)).body;
        assert!(matches!(import.state, ImportState::Done { .. }), "killed after {polls} steps: {import:?}");
        let (list, people) = block_on(current(&bench));
        assert_eq!((list.versions.last(), people.len()), (2, 2_400), "killed after {polls} steps");
        assert!(block_on(bench.backend().blobs.list("imports/")).unwrap().is_empty(), "the file is gone");
        assert_eq!(bench.staged(), 0);
    }
    assert!(kills > 5, "{kills} kills");
}
