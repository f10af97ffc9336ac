//! What nobody should upload and everybody does, one test each: a clear answer, nothing lost and nothing left behind. What goes
//! wrong on the way in is in the tests of `api`.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use backend::fault::{self, Fault, Operation, Shares};
use model::ExportId;
use model::audience::PPM;
use model::export::{Export, ExportFormat, ExportState, Subject};

use super::*;
use crate::unpack::tests::gzip;
use crate::{export, import, resolve};

/// What becomes of a list, whatever rows are bad.
async fn list(bench: &Bench, number: u128, bytes: &[u8]) -> Audience {
    let mut upload = bench.blob(&format!("uploads/{number}/1"), bytes).await;
    upload.bad_rows = BadRows::AcceptValid { share_ppm_max: PPM };
    let id = bench.audience(number, None, upload).await;
    resolve::run(&bench.desk, id, 1).await.unwrap();
    assert_eq!(bench.staged(), 0, "nothing stays in staging");
    bench.read(id).await
}

async fn known() -> Bench {
    let bench = Bench::new();
    bench.know(&[device("u1", 1), device("u2", 2)]).await;
    bench
}

fn why(audience: &Audience) -> &str {
    match &audience.state {
        AudienceState::Failed { why } => why,
        state => panic!("it is {state:?}"),
    }
}

/// Users in the snapshot, users listed and unknown, bad rows by reason.
fn counts(audience: &Audience) -> (u64, u64, Vec<(&str, u64)>) {
    assert!(audience.snapshot().is_some(), "{:?}", audience.state);
    let report = audience.report.as_ref().unwrap();
    let bad = report.read.bad_by_reason.iter().map(|(reason, number)| (&**reason, *number)).collect();
    (report.users, report.unknown_users, bad)
}

#[tokio::test]
async fn a_zip_bomb_is_refused_by_its_ratio() {
    let bench = known().await;
    let audience =
        list(&bench, 1, &zstd::encode_all(&[b"user\n", &*b"u1\n".repeat(20 << 20)].concat()[..], 1).unwrap())
            .await;
    assert!(
        why(&audience).contains("for each packed one") || why(&audience).contains("packed"),
        "{}",
        why(&audience)
    );
}

#[tokio::test]
async fn utf_16_is_refused_by_name() {
    let bench = known().await;
    for (number, bytes) in [(1, &b"\xff\xfeu\0s\0e\0r\0\n\0"[..]), (2, b"\xfe\xff\0u\0s\0e\0r\0\n")] {
        let audience = list(&bench, number, bytes).await;
        assert!(why(&audience).contains("UTF-16"), "{}", why(&audience));
    }
}

#[tokio::test]
async fn a_byte_order_mark_is_taken_off() {
    let bench = known().await;
    assert_eq!(counts(&list(&bench, 1, b"\xef\xbb\xbfuser\nu1\n").await), (1, 0, vec![]));
}

#[tokio::test]
async fn lines_that_end_with_cr_alone_are_lines_of_users() {
    let bench = known().await;
    assert_eq!(counts(&list(&bench, 1, b"user\ru1\ru2\r").await), (2, 0, vec![]));
}

#[tokio::test]
async fn a_row_with_a_nul_byte_is_a_bad_row() {
    let bench = known().await;
    assert_eq!(counts(&list(&bench, 1, b"user\nu\0x\nu1\n\0\n").await), (1, 0, vec![("user", 2)]));
}

#[tokio::test]
async fn a_quoted_line_end_makes_a_bad_row_and_costs_no_other() {
    let bench = known().await;
    assert_eq!(counts(&list(&bench, 1, b"user\n\"u\nx\"\nu1\n\"u2\"\n").await), (2, 0, vec![("user", 1)]));
}

#[tokio::test]
async fn ten_thousand_columns_are_refused_with_the_limit() {
    let bench = known().await;
    let head: Vec<String> = (0..10_000).map(|number| format!("c{number}")).collect();
    let audience = list(&bench, 1, format!("{}\n", head.join(",")).as_bytes()).await;
    assert!(why(&audience).contains("columns"), "{}", why(&audience));
}

#[tokio::test]
async fn tokens_of_odd_length_or_with_foreign_characters_are_bad_rows() {
    let bench = known().await;
    let text = "user,platform,key,app,locale,market\n\
                a,apns,abc,p,en,us\nb,apns,ａｂ,p,en,us\nc,fcm,a b,p,en,us\nd,fcm,ключ,p,en,us\ne,apns,00FF,p,en,us\n";
    let audience = list(&bench, 1, text.as_bytes()).await;
    assert_eq!(counts(&audience), (1, 0, vec![("apns_key", 2), ("fcm_key", 2)]));
}

#[tokio::test]
async fn a_million_times_the_same_user_is_one_user() {
    let bench = known().await;
    let audience = list(&bench, 1, format!("user\n{}", "u1\n".repeat(1_000_000)).as_bytes()).await;
    assert_eq!(counts(&audience), (1, 0, vec![]));
    assert_eq!(audience.report.unwrap().duplicate_users, 999_999);
}

#[tokio::test]
async fn a_million_times_the_same_device_is_one_device_whose_others_are_listed_to_their_limit() {
    let limits = crate::Limits { left_out_listed_max: 1_000, ..crate::Limits::default() };
    // A build this small spills all the time.
    let bench = Bench::with(Config { limits, build_bytes_max: 1 << 20, ..Config::default() });
    let text = csv(&[device("u1", 1)]);
    let (head, row) = text.split_once('\n').unwrap();
    let audience = list(&bench, 1, format!("{head}\n{}", row.repeat(1_000_000)).as_bytes()).await;
    let report = audience.report.unwrap();
    assert_eq!((report.devices, report.duplicate_devices), (1, 999_999));
    assert_eq!(report.left_out_list.map(|list| (list.rows, list.is_cut)), Some((1_000, true)));
}

#[tokio::test]
async fn ids_of_ten_kilobytes_are_bad_rows() {
    let bench = known().await;
    let text = format!("user\n{}\nu1\n", "x".repeat(10 << 10));
    assert_eq!(counts(&list(&bench, 1, text.as_bytes()).await), (1, 0, vec![("user", 1)]));
}

#[tokio::test]
async fn a_truncated_gzip_is_refused_at_the_byte_where_it_ends() {
    let bench = known().await;
    let packed = gzip(b"user\nu1\nu2\n");
    let audience = list(&bench, 1, &packed[..packed.len() - 3]).await;
    assert!(why(&audience).contains(&format!("at its byte {}", packed.len() - 3)), "{}", why(&audience));
}

/// An audience and an export that are asked for, on a bench that knows some people.
async fn asked(number: u128) -> (Bench, AudienceId, ExportId) {
    let bench = Bench::with(Config { resolve_users: 16, sort_bytes_max: 300, ..Config::default() });
    let devices: Vec<Device> = (0..120).map(|number| device(&format!("u{}", number / 2), number)).collect();
    bench.know(&devices).await;
    let text: String = (0..70).map(|number| format!("u{number}\n")).collect();
    let upload = bench.blob("uploads/1/1", format!("user\n{text}").as_bytes()).await;
    let one = bench.audience(1, None, upload).await;
    let upload = bench.blob("uploads/2/1", csv(&devices[50..]).as_bytes()).await;
    let other = bench.audience(2, None, upload).await;
    if number > 0 {
        for id in [one, other] {
            resolve::run(&bench.desk, id, 1).await.unwrap();
        }
    }
    let snapshot = async |id| bench.read(id).await.snapshot().unwrap_or(Digest([0; 32]));
    let (audience, against) = (one, other);
    let (snapshot, against_snapshot) = (snapshot(one).await, snapshot(other).await);
    let subject = match number {
        1 => Subject::Members { audience, snapshot },
        _ => Subject::Difference { audience, snapshot, against, against_snapshot },
    };
    let (id, state, created_at) = (ExportId(number), ExportState::Asked, Timestamp(1));
    let export = Export { id, subject, format: ExportFormat::Csv, state, created_at, worked_at: None };
    bench.backend().store.write(vec![rows::export::put(&export, Expect::Absent)]).await.unwrap();
    (bench, one, id)
}

async fn exported(bench: &Bench, id: ExportId) -> Option<Digest> {
    match rows::export::get(&*bench.backend().store, id).await.unwrap().unwrap().body.state {
        ExportState::Done { digest, .. } => Some(digest),
        _ => None,
    }
}

/// Steps from one kill to the next: a dozen kills or more for each kind of work.
const STEPS_APART: usize = 7;

/// The desk of a resolver whose every call takes a while: before its effect, or after.
pub(super) fn slow(bench: &Bench, seed: u64) -> Desk {
    let (backend, faults) = fault::wrap(bench.backend().clone(), bench.clock.clone(), seed);
    faults.set_all(Shares { delay: 1.0, delay_max: Duration::from_millis(2), ..Shares::default() });
    Desk { backend, runtime: bench.desk.runtime.clone(), config: bench.desk.config.clone() }
}

pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

/// The first `polls` steps of `work`; what came of it, if it was over by then.
pub(super) async fn steps<T>(
    bench: &Bench,
    mut polls: usize,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    poll_fn(|context| {
        let Some(fewer) = polls.checked_sub(1) else { return Poll::Ready(None) };
        polls = fewer;
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            bench.clock.advance(Duration::from_millis(2));
        }
        polled.map(Some)
    })
    .await
}

/// The first `polls` steps of `work`, as of a process that is killed then; false if it was over.
pub(super) fn is_killed_after<T>(bench: &Bench, polls: usize, work: impl AsyncFnOnce(Desk) -> T) -> bool {
    let killed = block_on(async {
        let work = pin!(work(slow(bench, polls as u64)));
        steps(bench, polls, work).await.is_none()
    });
    // Its threads have ended with its runtime.
    bench.desk.sweep();
    assert_eq!(bench.staged(), 0, "nothing stays of it");
    killed
}

#[test]
fn a_resolver_killed_anywhere_in_resolving_leaves_the_same_snapshot_to_the_next() {
    let (whole, id, _) = block_on(asked(0));
    block_on(resolve::run(&whole.desk, id, 1)).unwrap();
    let wanted = block_on(whole.read(id));
    let mut kills = 0;
    for polls in (0..).step_by(STEPS_APART) {
        let (bench, id, _) = block_on(asked(0));
        if !is_killed_after(&bench, polls, async |desk: Desk| resolve::run(&desk, id, 1).await) {
            break;
        }
        kills += 1;
        block_on(bench.moving_on(resolve::run(&bench.desk, id, 2))).unwrap();
        let audience = block_on(bench.read(id));
        assert_eq!(
            audience.snapshot(),
            wanted.snapshot(),
            "killed after {polls} steps: {:?}",
            audience.state
        );
        assert_eq!(bench.staged(), 0);
        let blobs = &bench.backend().blobs;
        let manifest = block_on(rows::audience::manifest(&**blobs, wanted.snapshot().unwrap()));
        assert_eq!(manifest.unwrap().unwrap().devices, wanted.report.as_ref().unwrap().devices);
    }
    assert!(kills > 5, "{kills} kills");
}

#[test]
fn a_resolver_killed_anywhere_in_an_export_leaves_the_same_file_to_the_next() {
    for number in [1, 2] {
        let (whole, _, id) = block_on(asked(number));
        block_on(export::run(&whole.desk, id, 1)).unwrap();
        let wanted = block_on(exported(&whole, id)).expect("it is written");
        let mut kills = 0;
        for polls in (0..).step_by(STEPS_APART) {
            let (bench, _, id) = block_on(asked(number));
            if !is_killed_after(&bench, polls, async |desk: Desk| export::run(&desk, id, 1).await) {
                break;
            }
            kills += 1;
            block_on(bench.moving_on(export::run(&bench.desk, id, 2))).unwrap();
            let found = block_on(exported(&bench, id));
            assert_eq!(found, Some(wanted), "export {number} killed after {polls} steps");
            assert_eq!(bench.staged(), 0);
        }
        assert!(kills > 5, "{kills} kills of export {number}");
    }
}

#[test]
fn a_resolver_killed_anywhere_in_an_import_leaves_every_device_to_the_next() {
    let devices: Vec<Device> = (0..90).map(|number| device(&format!("u{}", number / 2), number)).collect();
    let mut kills = 0;
    for polls in (0..).step_by(STEPS_APART) {
        let bench = Bench::with(Config { import_devices: 20, ..Config::default() });
        let upload = block_on(bench.blob("imports/1/1", csv(&devices).as_bytes()));
        let id = block_on(bench.import(1, upload));
        if !is_killed_after(&bench, polls, async |desk: Desk| import::run(&desk, id, 1).await) {
            break;
        }
        kills += 1;
        block_on(bench.moving_on(import::run(&bench.desk, id, 2))).unwrap();
        let import = block_on(bench.read_import(id)).body;
        assert!(matches!(import.state, ImportState::Done { .. }), "killed after {polls} steps: {import:?}");
        assert_eq!(block_on(bench.backend().directory.count()).unwrap(), (45, 90));
        assert!(block_on(bench.backend().blobs.list("imports/")).unwrap().is_empty(), "the file is gone");
        assert_eq!(bench.staged(), 0);
    }
    assert!(kills > 5, "{kills} kills");
}

/// What was asked for, on a disk that is full `full` times, then has room.
async fn on_a_full_disk(number: u128, full: usize) {
    let (bench, audience, export) = asked(number).await;
    let (backend, faults) = fault::wrap(bench.backend().clone(), bench.clock.clone(), 1);
    let runtime = bench.desk.runtime.clone();
    let desk = Desk { backend, runtime, config: bench.desk.config.clone() };
    let work = async |receives| match number {
        0 => Box::pin(resolve::run(&desk, audience, receives)).await,
        _ => Box::pin(export::run(&desk, export, receives)).await,
    };
    (0..full).for_each(|_| faults.next(Operation::PutFile, Some(Fault::Broken)));
    for receives in 1..=full as u32 {
        assert!(bench.moving_on(work(receives)).await.is_err(), "it is tried again");
        assert_eq!(bench.staged(), 0, "nothing keeps the disk full");
    }
    bench.moving_on(work(full as u32 + 1)).await.unwrap();
    match number {
        0 => assert!(bench.read(audience).await.snapshot().is_some()),
        _ => assert!(exported(&bench, export).await.is_some()),
    }
}

#[tokio::test]
async fn a_full_disk_while_resolving_costs_an_attempt_and_nothing_else() {
    on_a_full_disk(0, 3).await;
}

#[tokio::test]
async fn a_full_disk_while_exporting_costs_an_attempt_and_nothing_else() {
    on_a_full_disk(1, 2).await;
    on_a_full_disk(2, 2).await;
}

#[cfg(feature = "parquet")]
#[tokio::test]
async fn a_file_of_parquet_is_resolved_as_any_list() {
    let bench = Bench::new();
    let bytes = crate::parquet_file::tests::file(300, 100, parquet::basic::Compression::UNCOMPRESSED);
    let mut upload = bench.blob("uploads/1/1", &bytes).await;
    upload.format = UploadFormat::Parquet;
    upload.bad_rows = BadRows::AcceptValid { share_ppm_max: PPM };
    let id = bench.audience(1, None, upload).await;
    resolve::run(&bench.desk, id, 1).await.unwrap();
    let audience = bench.read(id).await;
    assert!(audience.snapshot().is_some(), "{:?}", audience.state);
}
