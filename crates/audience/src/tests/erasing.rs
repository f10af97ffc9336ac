//! Forgetting people.

use backend::fault::{self, Fault, Faults, Operation, Shares};
use backend::rows::erasure;
use backend::rows::inquiry;
use backend::rows::suppression;
use backend::rows::upload::{self, PartsState};
use model::UploadId;
use model::erasure::{ErasureState, Place as Where};

use super::people::{
    DAY, answer, ask_about, ask_to_forget, devices, everybody, export, freeze, is_there, key, receipt,
    things, user,
};
use super::*;
use crate::garbage::collect;
use crate::{erase, import, resolve};

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
    assert_eq!(erase::round(&bench.desk).await.unwrap(), 0, "a snapshot is left, and is waited for");
    let told = receipt(&bench, id).await;
    assert_eq!((&told.state, told.waits_for.as_deref()), (&ErasureState::Suppressed, Some(&[][..])));
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
    assert_eq!(erase::round(&bench.desk).await.unwrap(), 0);
    bench.clock.advance(DAY);
    let (store, blobs) = (&*bench.backend().store, &*bench.backend().blobs);
    let gone = [key(&bench).await.user("user-002")];
    let randomness = &*bench.desk.runtime.randomness;
    let change = suppression::change(store, blobs, randomness, bench.desk.now(), &[], &gone).await.unwrap();
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
    assert_eq!(erase::round(&bench.desk).await.unwrap(), 0);
    let asked = ask_about(&bench, 1, "user-002").await;
    for blob in bench.backend().blobs.list("snapshots/").await.unwrap() {
        bench.backend().blobs.delete(&blob).await.unwrap();
    }
    collect(&bench.desk).await.unwrap();
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
    assert_eq!(erase::round(&bench.desk).await.unwrap(), 0);
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

/// Whoever is at it needs ten seconds for the directory.
fn slow(bench: &Bench) -> (Desk, Faults) {
    let (backend, faults) = fault::wrap(bench.backend().clone(), bench.clock.clone(), 1);
    let delay_max = Duration::from_secs(600);
    faults.set(Operation::EraseUsers, Shares { delay: 1.0, delay_max, ..Shares::default() });
    (Desk { backend, runtime: bench.desk.runtime.clone(), config: Config::default() }, faults)
}

#[tokio::test]
async fn of_two_resolvers_one_forgets_people_and_the_other_lets_it() {
    let bench = Bench::new();
    bench.know(&devices(10)).await;
    let id = ask_to_forget(&bench, 1, "user-002").await;
    let (one, _) = slow(&bench);
    let (first, second) =
        bench.moving_on(futures::future::join(erase::round(&one), erase::round(&bench.desk))).await;
    assert_eq!((first.unwrap(), second.unwrap()), (0, 1), "the other looks again later");
    let told = receipt(&bench, id).await;
    assert!(told.is_over());
    assert_eq!(things(&told, Where::Directory), Some(2));
    assert_eq!(bench.actions().await, ["person.erased resolver"]);
}

#[tokio::test]
async fn what_a_killed_resolver_forgot_in_part_is_taken_up_and_counted_once() {
    let bench = Bench::new();
    bench.know(&devices(10)).await;
    for number in 0..4 {
        export(&bench, number, "user,key_hash\nuser-002,bb\n").await;
    }
    let id = ask_to_forget(&bench, 1, "user-002").await;
    let (one, _) = slow(&bench);
    {
        let mut killed = std::pin::pin!(erase::round(&one));
        while things(&receipt(&bench, id).await, Where::Directory).is_none() {
            assert!(futures::poll!(&mut killed).is_pending());
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(bench.moving_on(erase::round(&bench.desk)).await.unwrap(), 0);
    let told = receipt(&bench, id).await;
    assert!(told.is_over() && told.going.is_empty());
    assert_eq!((things(&told, Where::Directory), things(&told, Where::Exports)), (Some(2), Some(4)));
}

#[tokio::test]
async fn receipts_that_are_over_are_not_read_again() {
    let bench = Bench::new();
    bench.know(&devices(10)).await;
    freeze(&bench, 1, &everybody(10), |_| {}).await;
    let over = ask_to_forget(&bench, 1, "nobody").await;
    assert_eq!(erase::round(&bench.desk).await.unwrap(), 0);
    assert!(receipt(&bench, over).await.is_over());
    // Whoever reads it now fails.
    let damaged = backend::Write::put(erasure::key(over), Expect::Anything, b"damaged".to_vec());
    bench.backend().store.write(vec![damaged]).await.unwrap();
    let id = ask_to_forget(&bench, 2, "user-002").await;
    assert_eq!(erase::round(&bench.desk).await.unwrap(), 0);
    assert!(receipt(&bench, id).await.cleared_at.is_some());
    collect(&bench.desk).await.unwrap();
}

#[tokio::test]
async fn an_erasure_ends_when_nobody_can_tell_any_more_whose_it_is_and_others_go_on() {
    let bench = Bench::new();
    bench.know(&devices(10)).await;
    let (lost, garbled) =
        (ask_to_forget(&bench, 1, "user-002").await, ask_to_forget(&bench, 2, "user-003").await);
    let fine = ask_to_forget(&bench, 3, "user-004").await;
    let blobs = &bench.backend().blobs;
    blobs.delete(&erasure::user_blob(lost)).await.unwrap();
    blobs.delete(&erasure::user_blob(garbled)).await.unwrap();
    blobs.put(&erasure::user_blob(garbled), vec![0xff, 0xfe]).await.unwrap();
    assert_eq!(erase::round(&bench.desk).await.unwrap(), 0, "nothing is waited for");
    for id in [lost, garbled] {
        let told = receipt(&bench, id).await;
        let ErasureState::Failed { why, .. } = &told.state else { panic!("{told:?}") };
        assert!(why.contains("ask for the erasure again"), "{why}");
        assert!(told.is_over() && told.cleared_at.is_none());
    }
    assert!(receipt(&bench, fine).await.is_over());
    let found = bench.backend().directory.devices(&[user(2), user(4)]).await.unwrap();
    assert_eq!((found[0].len(), found[1].len()), (2, 0));
    assert_eq!(blobs.list("erasures/").await.unwrap(), [""; 0]);
    let ends = ["person.not_erased resolver", "person.not_erased resolver", "person.erased resolver"];
    assert_eq!(bench.actions().await, ends);
    // Asked again it is done.
    let again = ask_to_forget(&bench, 4, "user-002").await;
    assert_eq!(erase::round(&bench.desk).await.unwrap(), 0);
    assert_eq!(things(&receipt(&bench, again).await, Where::Directory), Some(2));
}

#[tokio::test]
async fn a_record_that_the_disk_does_not_give_stops_nobody_else_and_is_read_later() {
    let bench = Bench::new();
    bench.know(&devices(10)).await;
    let first = ask_to_forget(&bench, 1, "user-002").await;
    let second = ask_to_forget(&bench, 2, "user-003").await;
    let (backend, faults) = fault::wrap(bench.backend().clone(), bench.clock.clone(), 1);
    let desk = Desk { backend, runtime: bench.desk.runtime.clone(), config: Config::default() };
    faults.next(Operation::GetBlob, Some(Fault::Broken));
    assert_eq!(erase::round(&desk).await.unwrap(), 1);
    assert!(!receipt(&bench, first).await.is_over() && receipt(&bench, second).await.is_over());
    assert_eq!(erase::round(&desk).await.unwrap(), 0);
    assert!(receipt(&bench, first).await.is_over());
}
