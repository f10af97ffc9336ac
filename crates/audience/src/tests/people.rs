//! What is held about one person, and forgetting one.

use backend::rows::erasure;
use backend::rows::inquiry;
use backend::rows::suppression;
use backend::rows::upload::{self, PartsState};
use model::erasure::{Erasure, ErasureState, Place as Where};
use model::export::{Export, ExportFormat, ExportState, Subject};
use model::inquiry::{Answer, Inquiry, InquiryState};
use model::selection::{Control, Sample};
use model::suppression::{Cause, Entry};
use model::{ErasureId, ExportId, InquiryId, LaunchId, UploadId};

use super::*;
use crate::garbage::collect;
use crate::{erase, import, inquire, resolve};

const DAY: Duration = Duration::from_secs(24 * 3_600);

async fn key(bench: &Bench) -> model::suppression::HashKey {
    suppression::hash_key(&*bench.backend().store, &*bench.desk.runtime.randomness).await.unwrap()
}

/// Asks as the API does: the user id in a blob, the rest in a row.
pub(super) async fn ask_about(bench: &Bench, number: u128, user: &str) -> InquiryId {
    let (id, hash) = (InquiryId(number), key(bench).await.user(user));
    let (asked_by, created_at) = ("ann".to_owned(), bench.desk.now());
    let asked = Inquiry { id, user: hash, asked_by, state: InquiryState::Asked, created_at };
    bench.backend().blobs.put(&inquiry::user_blob(id), user.into()).await.unwrap();
    bench.backend().store.write(vec![inquiry::put(&asked, Expect::Absent)]).await.unwrap();
    id
}

pub(super) async fn answer(bench: &Bench, id: InquiryId) -> Answer {
    bench.moving_on(inquire::run(&bench.desk, id, 1)).await.unwrap();
    let row = inquiry::get(&*bench.backend().store, id).await.unwrap().unwrap().body;
    let InquiryState::Done { blob, .. } = row.state else { panic!("{:?}", row.state) };
    serde_json::from_slice(&bench.backend().blobs.get(&blob).await.unwrap().unwrap()).unwrap()
}

/// The same of an erasure, the late list included.
pub(super) async fn ask_to_forget(bench: &Bench, number: u128, user: &str) -> ErasureId {
    let (store, blobs, now) = (&*bench.backend().store, &*bench.backend().blobs, bench.desk.now());
    let (id, hash) = (ErasureId(number), key(bench).await.user(user));
    let asked = Erasure::asked(id, hash, "ann".into(), now);
    blobs.put(&erasure::user_blob(id), user.into()).await.unwrap();
    let old = suppression::list(store).await.unwrap();
    let entry = Entry { user: hash, cause: Cause::Erased, since: now };
    let randomness = &*bench.desk.runtime.randomness;
    let change = suppression::change(blobs, randomness, now, &old, &[entry], &[]).await.unwrap();
    let writes = change.map(|change| change.write).into_iter().chain([erasure::put(&asked, Expect::Absent)]);
    store.write(writes.collect()).await.unwrap();
    id
}

pub(super) async fn receipt(bench: &Bench, id: ErasureId) -> Erasure {
    erasure::get(&*bench.backend().store, id).await.unwrap().unwrap().body
}

fn things(receipt: &Erasure, place: Where) -> Option<u64> {
    receipt.cleared.iter().find(|cleared| cleared.place == place).map(|cleared| cleared.things)
}

pub(super) fn user(number: u32) -> String {
    format!("user-{number:03}")
}

/// Two devices each.
pub(super) fn devices(users: u32) -> Vec<Device> {
    (0..2 * users).map(|number| device(&user(number / 2), number)).collect()
}

async fn freeze(bench: &Bench, number: u128, text: &str, change: impl FnOnce(&mut Audience)) -> Audience {
    let upload = bench.blob(&format!("uploads/{}/1", AudienceId(number)), text.as_bytes()).await;
    let id = bench.audience(number, None, upload).await;
    let mut audience = bench.read(id).await;
    change(&mut audience);
    bench.backend().store.write(vec![rows::audience::put(&audience, Expect::Anything)]).await.unwrap();
    bench.moving_on(resolve::run(&bench.desk, id, 1)).await.unwrap();
    bench.read(id).await
}

pub(super) fn everybody(users: u32) -> String {
    (0..users).fold("user\n".to_owned(), |text, number| text + &user(number) + "\n")
}

async fn export(bench: &Bench, number: u128, text: &str) -> String {
    let id = ExportId(number);
    let blob = rows::export::blob(id, 1);
    bench.backend().blobs.put(&blob, text.as_bytes().to_vec()).await.unwrap();
    let state = ExportState::Done {
        blob: blob.clone(),
        bytes: 1,
        devices: 1,
        digest: Digest::of(b""),
        at: bench.desk.now(),
        difference: None,
    };
    let (subject, created_at) = (Subject::Outcomes { launch: LaunchId(9) }, bench.desk.now());
    let export = Export { id, subject, format: ExportFormat::Csv, state, created_at, worked_at: None };
    bench.backend().store.write(vec![rows::export::put(&export, Expect::Absent)]).await.unwrap();
    blob
}

async fn is_there(bench: &Bench, blob: &str) -> bool {
    bench.backend().blobs.file(blob).await.unwrap().is_some()
}

#[tokio::test]
async fn an_inquiry_tells_devices_audiences_and_why_somebody_is_in_none() {
    let bench = Bench::new();
    bench.know(&devices(40)).await;
    bench.know(&[device("pruned", 900)]).await;
    let all = freeze(&bench, 1, &everybody(40), |_| {}).await;
    let some = freeze(&bench, 2, "user\nuser-001\npruned\n", |_| {}).await;
    let control = Control { share_ppm: 500_000, seed: 7 };
    freeze(&bench, 3, &everybody(40), |audience| audience.control = Some(control)).await;
    let sample = Sample {
        of: all.id,
        users: 3,
        seed: 1,
        markets: Vec::new(),
        platforms: Vec::new(),
        disjoint_from: Vec::new(),
    };
    freeze(&bench, 4, "unused", |audience| (audience.sample, audience.upload) = (Some(sample), None)).await;
    let mut reasons = std::collections::BTreeSet::new();
    for number in 0..20 {
        let id = ask_about(&bench, 100 + u128::from(number), &user(number)).await;
        let told = answer(&bench, id).await;
        assert!(told.is_known && told.late_list.is_none() && told.devices.len() == 2);
        assert_eq!(told.devices[0].key.as_deref(), Some(&*format!("{:08x}", 2 * number)));
        assert_eq!((told.audiences[0].audience, told.audiences[0].is_in), (all.id, true));
        assert_eq!(told.audiences[0].devices.len(), 2);
        let in_some = told.audiences.iter().find(|audience| audience.audience == some.id).unwrap();
        assert_eq!(
            (in_some.is_in, in_some.why.as_deref()),
            match number {
                1 => (true, None),
                _ => (false, Some("not_listed")),
            }
        );
        reasons.extend(told.audiences.into_iter().filter_map(|audience| audience.why));
    }
    let reasons: Vec<&str> = reasons.iter().map(String::as_str).collect();
    assert_eq!(reasons, ["held_back", "not_chosen", "not_listed"]);
    let stranger = ask_about(&bench, 1, "nobody").await;
    let told = answer(&bench, stranger).await;
    assert!(!told.is_known && told.devices.is_empty());
    assert!(told.audiences[..3].iter().all(|audience| audience.why.as_deref() == Some("unknown")));
    assert!(!is_there(&bench, &inquiry::user_blob(stranger)).await, "the id went with the work");
}

#[tokio::test]
async fn an_inquiry_says_since_when_somebody_is_on_the_late_list() {
    let bench = Bench::new();
    bench.know(&devices(4)).await;
    freeze(&bench, 1, &everybody(4), |_| {}).await;
    ask_to_forget(&bench, 1, "user-002").await;
    let since = bench.desk.now();
    bench.clock.advance(DAY / 2);
    let id = ask_about(&bench, 2, "user-002").await;
    let told = answer(&bench, id).await;
    assert_eq!(told.late_list.map(|late| (late.cause, late.since)), Some((Cause::Erased, since)));
    assert_eq!((told.audiences[0].is_in, told.audiences[0].why.as_deref()), (true, Some("erased")));
}

#[tokio::test]
async fn inquiries_go_with_their_answers_once_their_time_is_over() {
    let bench = Bench::new();
    let (old, new) = (ask_about(&bench, 1, "user-001").await, 2);
    answer(&bench, old).await;
    bench.clock.advance(DAY - Duration::from_secs(60));
    let new = ask_about(&bench, new, "user-001").await;
    answer(&bench, new).await;
    bench.clock.advance(Duration::from_secs(60));
    collect(&bench.desk).await.unwrap();
    let left = inquiry::all(&*bench.backend().store).await.unwrap();
    assert_eq!(left.iter().map(|row| row.body.id).collect::<Vec<_>>(), [new]);
    assert_eq!(bench.backend().blobs.list("inquiries/").await.unwrap().len(), 1);
}

#[tokio::test]
async fn somebody_is_forgotten_everywhere_and_others_are_not() {
    let bench = Bench::new();
    bench.know(&devices(10)).await;
    let naming = freeze(&bench, 1, &everybody(10), |_| {}).await;
    let other = freeze(&bench, 2, "user\nuser-001\n", |_| {}).await;
    let upload = bench.blob("imports/1/1", csv(&devices(10)).as_bytes()).await;
    let over = bench.import(1, upload).await;
    import::run(&bench.desk, over, 1).await.unwrap();
    // One that is refused leaves the list of its bad rows, which holds nothing of them and is not waited for.
    let upload = bench.blob("imports/2/1", b"user\nuser-002\n").await;
    let refused = bench.import(2, upload).await;
    import::run(&bench.desk, refused, 1).await.unwrap();
    bench.backend().blobs.put("imports/2/1.bad-rows", Vec::new()).await.unwrap();
    let named = export(&bench, 1, "user,key_hash\nuser-001,aa\nuser-002,bb\n").await;
    let unnamed = export(&bench, 2, "user,key_hash\nuser-001,aa\nuser-0021,bb\n").await;
    let asked = ask_about(&bench, 1, "user-002").await;
    answer(&bench, asked).await;
    let others = ask_about(&bench, 2, "user-003").await;
    answer(&bench, others).await;

    let id = ask_to_forget(&bench, 1, "user-002").await;
    assert_eq!(erase::round(&bench.desk).await.unwrap(), 1, "a snapshot is left");
    let told = receipt(&bench, id).await;
    assert_eq!((told.state, told.waits_for.as_deref()), (ErasureState::Suppressed, Some(&[][..])));
    assert!(told.cleared_at.is_some());
    let counts = [Where::Directory, Where::Uploads, Where::Exports, Where::Inquiries];
    assert_eq!(counts.map(|place| things(&told, place)), [Some(2), Some(2), Some(1), Some(1)]);
    let snapshots: Vec<Digest> = told.snapshots.iter().map(|naming| naming.snapshot).collect();
    assert_eq!(snapshots, [naming.snapshot().unwrap()]);
    assert_eq!((is_there(&bench, &named).await, is_there(&bench, &unnamed).await), (false, true));
    assert!(inquiry::get(&*bench.backend().store, asked).await.unwrap().is_none());
    assert!(inquiry::get(&*bench.backend().store, others).await.unwrap().is_some());
    assert!(!is_there(&bench, &erasure::user_blob(id)).await);
    let found = bench.backend().directory.devices(&[user(2), user(3)]).await.unwrap();
    assert_eq!((found[0].len(), found[1].len()), (0, 2));

    // Nobody touches the audience, which names the snapshot for ever; the time of its release comes all the same.
    bench.clock.advance(DAY * 89);
    collect(&bench.desk).await.unwrap();
    bench.clock.advance(DAY);
    collect(&bench.desk).await.unwrap();
    bench.clock.advance(DAY);
    assert!(bench.desk.now() < told.snapshots[0].goes_by);
    collect(&bench.desk).await.unwrap();
    assert_eq!(erase::round(&bench.desk).await.unwrap(), 0);
    let told = receipt(&bench, id).await;
    assert!(told.is_over() && told.snapshots[0].gone_at.is_some_and(|at| at <= told.snapshots[0].goes_by));
    let AudienceState::Failed { why } = bench.read(naming.id).await.state else {
        panic!("it lost its snapshot")
    };
    assert!(why.starts_with("its snapshot named somebody who asked to be forgotten"), "{why}");
    assert_eq!(bench.read(other.id).await.snapshot(), other.snapshot(), "others keep theirs");
    let last = bench.actions().await;
    assert_eq!(last[last.len() - 2..], ["audience.released resolver", "person.erased resolver"]);
}

#[tokio::test]
async fn an_audience_frozen_when_somebody_is_back_keeps_the_snapshot_that_an_erasure_releases() {
    let bench = Bench::new();
    bench.know(&devices(10)).await;
    let before = freeze(&bench, 1, &everybody(10), |_| {}).await;
    ask_to_forget(&bench, 1, "user-002").await;
    assert_eq!(erase::round(&bench.desk).await.unwrap(), 1);
    bench.clock.advance(DAY);
    let (store, blobs) = (&*bench.backend().store, &*bench.backend().blobs);
    let (old, gone) = (suppression::list(store).await.unwrap(), [key(&bench).await.user("user-002")]);
    let randomness = &*bench.desk.runtime.randomness;
    let change = suppression::change(blobs, randomness, bench.desk.now(), &old, &[], &gone).await.unwrap();
    store.write(vec![change.unwrap().write]).await.unwrap();
    bench.know(&devices(10)).await;
    let after = freeze(&bench, 2, &everybody(10), |_| {}).await;
    assert_eq!(after.snapshot(), before.snapshot(), "the same people have the same snapshot");
    for _ in 0..3 {
        bench.clock.advance(DAY * 60);
        collect(&bench.desk).await.unwrap();
    }
    assert_eq!(bench.read(after.id).await.snapshot(), after.snapshot());
    assert!(is_there(&bench, &rows::audience::snapshot_blob(after.snapshot().unwrap())).await);
}

#[tokio::test]
async fn what_is_asked_about_somebody_who_is_forgotten_goes_before_the_receipt_says_so() {
    let bench = Bench::new();
    bench.know(&devices(10)).await;
    freeze(&bench, 1, &everybody(10), |_| {}).await;
    let id = ask_to_forget(&bench, 1, "user-002").await;
    assert_eq!(erase::round(&bench.desk).await.unwrap(), 1);
    let asked = ask_about(&bench, 1, "user-002").await;
    for blob in bench.backend().blobs.list("snapshots/").await.unwrap() {
        bench.backend().blobs.delete(&blob).await.unwrap();
    }
    assert_eq!(erase::round(&bench.desk).await.unwrap(), 1, "an answer is still to come");
    answer(&bench, asked).await;
    assert_eq!(erase::round(&bench.desk).await.unwrap(), 0);
    assert!(receipt(&bench, id).await.is_over());
    assert!(inquiry::get(&*bench.backend().store, asked).await.unwrap().is_none());
    assert!(bench.backend().blobs.list("inquiries/").await.unwrap().is_empty());
}

#[tokio::test]
async fn whoever_is_forgotten_is_left_out_of_later_imports_and_audiences() {
    let bench = Bench::new();
    ask_to_forget(&bench, 1, "user-002").await;
    assert_eq!(erase::round(&bench.desk).await.unwrap(), 0, "nobody knew the person");
    for bad_rows in [BadRows::RejectAll, BadRows::AcceptValid { share_ppm_max: 1_000_000 }] {
        let mut upload = bench
            .blob(
                &format!("imports/1/{bad_rows:?}").replace([' ', '{', '}', ':'], ""),
                csv(&devices(4)).as_bytes(),
            )
            .await;
        upload.bad_rows = bad_rows;
        let id = ImportId(if bad_rows == BadRows::RejectAll { 1 } else { 2 });
        bench.import(id.0, upload).await;
        import::run(&bench.desk, id, 1).await.unwrap();
        let report = bench.read_import(id).await.body.report.unwrap();
        assert_eq!((report.read.rows, report.read.left_out.get("erased")), (8, Some(&2)));
        assert_eq!(bench.backend().directory.count().await.unwrap(), (3, 6));
    }
    let frozen = freeze(&bench, 1, &csv(&devices(4)), |_| {}).await;
    assert_eq!(frozen.report.unwrap().not_in.get("erased"), Some(&2));
}

#[tokio::test]
async fn work_under_way_is_waited_for_and_so_is_what_comes_of_it() {
    let bench = Bench::new();
    bench.know(&devices(4)).await;
    // A resolver has looked at the late list, and freezes afterwards.
    let upload = bench.blob("uploads/7/1", csv(&devices(4)).as_bytes()).await;
    let slow = bench.audience(7, None, upload).await;
    let mut row = bench.read(slow).await;
    row.state = AudienceState::Resolving { rows: 1 };
    bench.backend().store.write(vec![rows::audience::put(&row, Expect::Anything)]).await.unwrap();
    // An upload in parts that names the person is not whole.
    let uploaded = bench.blob("imports/8/1", csv(&devices(4)).as_bytes()).await;
    let mut growing = bench.backend().blobs.grow(&upload::object(UploadId(8))).await.unwrap().unwrap();
    growing.append(b"user\nuser-0".to_vec()).await.unwrap();

    let id = ask_to_forget(&bench, 1, "user-002").await;
    assert_eq!(erase::round(&bench.desk).await.unwrap(), 1);
    let told = receipt(&bench, id).await;
    let waits_for = vec![slow.to_string(), "imports/8/1".to_owned(), UploadId(8).to_string()];
    assert_eq!(told.waits_for.map(|mut names| (names.sort(), names).1), Some(waits_for));
    assert_eq!(told.cleared_at, None);
    assert_eq!(
        things(&receipt(&bench, id).await, Where::Directory),
        Some(2),
        "what is not waited for goes at once"
    );

    // Both come to their end: the snapshot of a door opened before, and an import.
    row.state = AudienceState::Uploaded;
    bench.backend().store.write(vec![rows::audience::put(&row, Expect::Anything)]).await.unwrap();
    let mut old = suppression::list(&*bench.backend().store).await.unwrap();
    let list = old.body.clone();
    old.body = suppression::List::default();
    put_list(&bench, &old.body).await;
    bench.moving_on(resolve::run(&bench.desk, slow, 1)).await.unwrap();
    put_list(&bench, &list).await;
    let slipped = bench.read(slow).await.snapshot().unwrap();
    growing.discard().await.unwrap();
    let import = bench.import(8, uploaded).await;
    assert_eq!(erase::round(&bench.desk).await.unwrap(), 1);
    let told = receipt(&bench, id).await;
    assert_eq!((told.is_second_look, told.waits_for), (true, Some(vec![import.to_string()])));
    import::run(&bench.desk, import, 1).await.unwrap();
    assert_eq!(erase::round(&bench.desk).await.unwrap(), 1);
    let told = receipt(&bench, id).await;
    assert!(told.cleared_at.is_some());
    let named: Vec<Digest> = told.snapshots.iter().map(|naming| naming.snapshot).collect();
    assert_eq!(named, [slipped], "the receipt names the snapshot that came later");
    assert!(bench.backend().directory.devices(&[user(2)]).await.unwrap()[0].is_empty());
    assert!(!is_there(&bench, "uploads/7/1").await);
}

async fn put_list(bench: &Bench, list: &suppression::List) {
    let write = backend::Write::put(
        backend::Key::new("suppression", "list"),
        Expect::Anything,
        serde_json::to_vec(list).unwrap(),
    );
    bench.backend().store.write(vec![write]).await.unwrap();
}

#[tokio::test]
async fn an_upload_that_is_being_handed_over_is_waited_for_by_its_row() {
    let bench = Bench::new();
    let uploaded = bench.blob("uploads/9/1", b"user\nuser-002\n").await;
    let parts = upload::Parts {
        id: UploadId(9),
        target: upload::Target::Audience(AudienceId(9)),
        actor: "ann".into(),
        reading: upload::Reading {
            format: uploaded.format,
            packing: uploaded.packing,
            bad_rows: uploaded.bad_rows,
            defaults: uploaded.defaults.clone(),
        },
        length: None,
        digests: Default::default(),
        idempotency_key: None,
        state: PartsState::Received { upload: uploaded },
        created_at: Timestamp(1),
        expires_at: Timestamp(2),
    };
    bench.backend().store.write(vec![upload::put(&parts, Expect::Absent)]).await.unwrap();
    let id = ask_to_forget(&bench, 1, "user-002").await;
    erase::round(&bench.desk).await.unwrap();
    assert_eq!(receipt(&bench, id).await.waits_for, Some(vec![UploadId(9).to_string()]));
}
