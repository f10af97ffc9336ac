//! What is held about one person.

use backend::rows::erasure;
use backend::rows::inquiry;
use backend::rows::suppression;
use model::erasure::{Erasure, Place as Where};
use model::export::{Export, ExportFormat, ExportState, Subject};
use model::inquiry::{Answer, Inquiry, InquiryState};
use model::selection::{Control, Sample};
use model::suppression::{Cause, Entry};
use model::{ErasureId, ExportId, InquiryId, LaunchId};

use super::*;
use crate::garbage::collect;
use crate::{inquire, resolve};

pub(super) const DAY: Duration = Duration::from_secs(24 * 3_600);

pub(super) async fn key(bench: &Bench) -> model::suppression::HashKey {
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
    let entry = Entry { user: hash, cause: Cause::Erased, since: now };
    let randomness = &*bench.desk.runtime.randomness;
    let change = suppression::change(store, blobs, randomness, now, &[entry], &[]).await.unwrap();
    let writes = change.map(|change| change.write).into_iter().chain(erasure::create(&asked));
    store.transact(writes.collect()).await.unwrap();
    id
}

pub(super) async fn receipt(bench: &Bench, id: ErasureId) -> Erasure {
    erasure::get(&*bench.backend().store, id).await.unwrap().unwrap().body
}

pub(super) fn things(receipt: &Erasure, place: Where) -> Option<u64> {
    receipt.cleared.iter().find(|cleared| cleared.place == place).map(|cleared| cleared.things)
}

pub(super) fn user(number: u32) -> String {
    format!("user-{number:03}")
}

/// Two devices each.
pub(super) fn devices(users: u32) -> Vec<Device> {
    (0..2 * users).map(|number| device(&user(number / 2), number)).collect()
}

pub(super) async fn freeze(
    bench: &Bench,
    number: u128,
    text: &str,
    change: impl FnOnce(&mut Audience),
) -> Audience {
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

pub(super) async fn export(bench: &Bench, number: u128, text: &str) -> String {
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

pub(super) async fn is_there(bench: &Bench, blob: &str) -> bool {
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
async fn an_inquiry_tells_what_it_can_and_names_what_cannot_be_read() {
    let bench = Bench::new();
    bench.know(&devices(10)).await;
    let whole = freeze(&bench, 1, &everybody(10), |_| {}).await;
    let damaged = freeze(&bench, 2, "user\nuser-001\n", |_| {}).await;
    let sample = Sample {
        of: damaged.id,
        users: 1,
        seed: 1,
        markets: Vec::new(),
        platforms: Vec::new(),
        disjoint_from: Vec::new(),
    };
    let drawn =
        freeze(&bench, 3, "unused", |audience| (audience.sample, audience.upload) = (Some(sample), None))
            .await;
    assert_eq!(drawn.snapshot(), damaged.snapshot());
    let blobs = &bench.backend().blobs;
    let damage = async |blob: &str, bytes: &[u8]| {
        blobs.delete(blob).await.unwrap();
        blobs.put(blob, bytes.to_vec()).await.unwrap();
    };
    let snapshot = damaged.snapshot().unwrap();
    // In each of its files.
    let parts = [
        rows::audience::snapshot_blob(snapshot),
        rows::audience::users_blob(snapshot),
        rows::audience::manifest_blob(snapshot),
    ];
    for (number, part) in (100..).zip(parts) {
        let bytes = blobs.get(&part).await.unwrap().unwrap();
        damage(&part, &bytes[..bytes.len() / 2]).await;
        let id = ask_about(&bench, number, "user-001").await;
        let told = answer(&bench, id).await;
        assert_eq!(told.unreadable, [format!("snapshot {snapshot}")], "{part}");
        assert_eq!(
            (told.devices.len(), told.audiences[0].audience, told.audiences[0].is_in),
            (2, whole.id, true)
        );
        for audience in &told.audiences[1..] {
            assert_eq!(
                (audience.is_in, audience.why.as_deref()),
                (false, Some("snapshot_unreadable")),
                "{part}"
            );
        }
        damage(&part, &bytes).await;
    }
    let id = ask_about(&bench, 1, "user-001").await;
    assert_eq!(answer(&bench, id).await.unreadable, [""; 0]);
}

#[tokio::test]
async fn an_inquiry_names_exports_and_lists_that_name_the_person_and_no_others() {
    let bench = Bench::new();
    bench.know(&devices(10)).await;
    export(&bench, 1, "user,key_hash\nuser-001,aa\n").await;
    export(&bench, 2, "user,key_hash\nuser-0011,aa\n").await;
    // By a key alone, which another user id may have had.
    export(&bench, 3, &format!("key\n{}\n", devices(10)[3].key)).await;
    // What stood in it is gone.
    let gone = export(&bench, 4, "user-001\n").await;
    bench.backend().blobs.delete(&gone).await.unwrap();
    let control = Control { share_ppm: 500_000, seed: 7 };
    let held_back = freeze(&bench, 5, &everybody(10), |audience| audience.control = Some(control)).await;
    let is_held_back = |told: &Answer| told.audiences[0].why.as_deref() == Some("held_back");
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..10 {
        let id = ask_about(&bench, 100 + u128::from(number), &user(number)).await;
        let told = answer(&bench, id).await;
        let names: Vec<(&str, &str)> = told.files.iter().map(|file| (&*file.what, &*file.of)).collect();
        let mut wanted = Vec::new();
        let (one, three, list) = (ExportId(1).to_string(), ExportId(3).to_string(), held_back.id.to_string());
        if number == 1 {
            wanted.extend([("export", &*one), ("export", &*three)]);
        }
        if is_held_back(&told) {
            wanted.push(("left_out", &*list));
        }
        assert_eq!(names, wanted, "{number}");
        seen.insert(is_held_back(&told));
    }
    assert_eq!(seen.len(), 2, "some are held back and some are not");
}
