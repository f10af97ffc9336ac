//! Who of an audience is in its snapshot: the late list, control groups, samples.

use std::collections::BTreeSet;

use backend::directory::DeadDevice;
use backend::rows::suppression;
use device_map::{Snapshot, Users};
use model::audience::PPM;
use model::selection::{Control, Sample};
use model::suppression::{Cause, Entry};

use super::*;
use crate::resolve;

/// Users `u000` to `u299`, two devices each, one of each provider; every fifth device is in market `de`.
pub(super) async fn people(bench: &Bench) -> Vec<Device> {
    let devices: Vec<Device> =
        (0..600).map(|number| device(&format!("u{:03}", number / 2), number)).collect();
    bench.know(&devices).await;
    devices
}

pub(super) async fn suppress(bench: &Bench, users: &[(&str, Cause)]) {
    let backend = bench.backend();
    let randomness = &*bench.desk.runtime.randomness;
    let key = suppression::hash_key(&*backend.store, randomness).await.unwrap();
    let entries: Vec<Entry> = users
        .iter()
        .map(|(user, cause)| Entry { user: key.user(user), cause: *cause, since: Timestamp(1) })
        .collect();
    let now = bench.desk.now();
    let change = suppression::change(&*backend.store, &*backend.blobs, randomness, now, &entries, &[]);
    backend.store.write(vec![change.await.unwrap().unwrap().write]).await.unwrap();
}

/// Stores an audience and resolves it.
pub(super) async fn resolve_as(
    bench: &Bench,
    number: u128,
    text: Option<&str>,
    change: impl FnOnce(&mut Audience),
) -> Audience {
    let upload = match text {
        None => None,
        Some(text) => Some(bench.blob(&format!("uploads/{number}/1"), text.as_bytes()).await),
    };
    let mut audience = Audience {
        id: AudienceId(number),
        name: "some".into(),
        rows: None,
        sample: None,
        control: None,
        sandbox: false,
        upload,
        state: AudienceState::Uploaded,
        report: None,
        created_at: Timestamp::from_secs(999),
        worked_at: None,
    };
    change(&mut audience);
    bench.backend().store.write(vec![rows::audience::put(&audience, Expect::Absent)]).await.unwrap();
    resolve::run(&bench.desk, audience.id, 1).await.unwrap();
    bench.read(audience.id).await
}

/// The people of a frozen audience, and its devices as user and key.
async fn content(bench: &Bench, audience: &Audience) -> (BTreeSet<String>, BTreeSet<(String, String)>) {
    let digest = audience.snapshot().unwrap_or_else(|| panic!("{:?}", audience.state));
    let blobs = &bench.backend().blobs;
    let map = blobs.file(&rows::audience::snapshot_blob(digest)).await.unwrap().unwrap();
    let users = blobs.file(&rows::audience::users_blob(digest)).await.unwrap().unwrap();
    let snapshot = Snapshot::open(&map, digest).unwrap();
    let users = Users::open(&users, snapshot.users_digest()).unwrap();
    let mut devices = BTreeSet::new();
    for (index, group) in (0..).zip(snapshot.groups()) {
        for device in snapshot.range(index, 0, group.devices).unwrap() {
            devices.insert((users.id(device.user_ordinal()).unwrap().to_owned(), device.text()));
        }
    }
    (devices.iter().map(|(user, _)| user.clone()).collect(), devices)
}

pub(super) fn all_users() -> String {
    (0..300).fold("user\n".to_owned(), |text, number| text + &format!("u{number:03}\n"))
}

#[tokio::test]
async fn people_on_the_late_list_are_left_out_when_an_audience_is_frozen_each_with_the_cause() {
    let bench = Bench::new();
    let devices = people(&bench).await;
    suppress(&bench, &[("u001", Cause::OptedOut), ("u002", Cause::Blocked), ("u003", Cause::Erased)]).await;
    suppress(&bench, &[("u004", Cause::OptedOut), ("stranger", Cause::OptedOut)]).await;
    // Their last device was found dead.
    let dead = devices[20..22].iter().map(|device| DeadDevice {
        user: device.user.clone(),
        platform: device.platform,
        app: device.app.clone(),
        key: device.key.clone(),
        dead_since: Timestamp::from_secs(9),
    });
    assert_eq!(bench.backend().directory.prune(dead.collect()).await.unwrap(), 2);
    let text = all_users() + "nobody\nstranger\n";
    let audience = resolve_as(&bench, 1, Some(&text), |_| {}).await;
    let (users, _) = content(&bench, &audience).await;
    assert_eq!(users.len(), 295);
    assert!(["u001", "u002", "u003", "u004"].iter().all(|user| !users.contains(*user)));
    let report = audience.report.unwrap();
    let wanted = [("blocked", 1), ("erased", 1), ("no_device", 1), ("opted_out", 2), ("unknown", 2)];
    assert_eq!(report.not_in, wanted.map(|(reason, number)| (reason.to_owned(), number)).into());
    assert_eq!((report.users, report.unknown_users), (295, 2));

    // A list of devices is read with the same eyes.
    let audience = resolve_as(&bench, 2, Some(&csv(&devices)), |_| {}).await;
    assert_eq!(content(&bench, &audience).await.0.len(), users.len() + 1, "it has its own device for u010");
    let wanted = [("blocked", 2), ("erased", 2), ("opted_out", 4)];
    assert_eq!(
        audience.report.unwrap().not_in,
        wanted.map(|(reason, number)| (reason.to_owned(), number)).into()
    );
}

#[tokio::test]
async fn an_audience_of_which_nobody_is_left_says_why() {
    let bench = Bench::new();
    people(&bench).await;
    suppress(&bench, &[("u001", Cause::OptedOut), ("u002", Cause::Blocked)]).await;
    let audience = resolve_as(&bench, 1, Some("user\nu001\nu002\nnobody\n"), |_| {}).await;
    let AudienceState::Failed { why } = &audience.state else { panic!("{:?}", audience.state) };
    assert_eq!(why, "the audience has no devices: left out are 1 blocked, 1 opted_out, 1 unknown");
}

#[tokio::test]
async fn a_control_group_is_held_back_and_is_the_same_for_the_same_seed() {
    let bench = Bench::new();
    people(&bench).await;
    let control =
        |share_ppm, seed| move |audience: &mut Audience| audience.control = Some(Control { share_ppm, seed });
    let text = all_users();
    let small = resolve_as(&bench, 1, Some(&text), control(100_000, 5)).await;
    let large = resolve_as(&bench, 2, Some(&text), control(300_000, 5)).await;
    let other = resolve_as(&bench, 3, Some(&text), control(100_000, 6)).await;
    let held_back = small.report.as_ref().unwrap().not_in["held_back"];
    let users = content(&bench, &small).await.0;
    assert!((15..50).contains(&held_back), "{held_back}");
    assert_eq!(users.len() as u64 + held_back, 300);
    assert!(content(&bench, &large).await.0.is_subset(&users));
    assert_ne!(content(&bench, &other).await.0, users);
    let again = resolve_as(&bench, 4, Some(&text), control(100_000, 5)).await;
    assert_eq!(again.snapshot(), small.snapshot(), "the same people are the same snapshot");
}

fn sample(of: u128, users: u64) -> Sample {
    let (markets, platforms, disjoint_from) = (Vec::new(), Vec::new(), Vec::new());
    Sample { of: AudienceId(of), users, seed: 1, markets, platforms, disjoint_from }
}

async fn drawn(bench: &Bench, number: u128, sample: Sample) -> Audience {
    resolve_as(bench, number, None, |audience| audience.sample = Some(sample)).await
}

#[tokio::test]
async fn samples_of_one_seed_nest_and_have_all_devices_of_their_people() {
    let bench = Bench::new();
    people(&bench).await;
    let whole = resolve_as(&bench, 1, Some(&all_users()), |_| {}).await;
    let all = content(&bench, &whole).await;
    let mut before: BTreeSet<String> = BTreeSet::new();
    for (number, users) in [(2, 10), (3, 60), (4, 299)] {
        let audience = drawn(&bench, number, sample(1, users)).await;
        let (people, devices) = content(&bench, &audience).await;
        assert_eq!((people.len() as u64, devices.len() as u64), (users, 2 * users));
        assert!(devices.is_subset(&all.1) && before.is_subset(&people));
        let report = audience.report.unwrap();
        assert_eq!((report.read.rows, report.not_in["not_chosen"]), (300, 300 - users));
        before = people;
    }
    let everybody = drawn(&bench, 5, sample(1, 300)).await;
    assert_eq!(everybody.snapshot(), whole.snapshot(), "all of it is the audience itself");
    let other = drawn(&bench, 6, Sample { seed: 2, ..sample(1, 60) }).await;
    assert_ne!(content(&bench, &other).await.0, content(&bench, &bench.read(AudienceId(3)).await).await.0);
}

#[tokio::test]
async fn a_sample_keeps_to_markets_platforms_and_away_from_others() {
    let bench = Bench::new();
    people(&bench).await;
    suppress(&bench, &[("u299", Cause::OptedOut)]).await;
    resolve_as(&bench, 1, Some(&all_users()), |_| {}).await;
    let first = drawn(&bench, 2, sample(1, 100)).await;
    let rest = Sample { disjoint_from: vec![AudienceId(2)], ..sample(1, 199) };
    let rest = drawn(&bench, 3, rest).await;
    assert!(content(&bench, &first).await.0.is_disjoint(&content(&bench, &rest).await.0));

    let narrow = Sample { markets: vec!["de".into()], platforms: vec![Platform::Apns], ..sample(1, 30) };
    let narrow = drawn(&bench, 4, narrow).await;
    let report = narrow.report.clone().unwrap();
    assert_eq!((report.by_platform.len(), report.by_market.len()), (1, 1));
    assert_eq!((report.by_platform["apns"], report.by_market["de"]), (30, 30));

    let all = PPM;
    let held = resolve_as(&bench, 5, None, |audience| {
        audience.sample = Some(sample(1, 1));
        audience.control = Some(Control { share_ppm: all, seed: 1 });
    });
    for (audience, wanted) in [
        (held.await, "the sample is to have 1 people and there are 0 to choose from"),
        (drawn(&bench, 6, sample(1, 300)).await, "the sample is to have 300 people and there are 299"),
        (drawn(&bench, 7, sample(77, 1)).await, "is not frozen"),
    ] {
        let AudienceState::Failed { why } = &audience.state else { panic!("{:?}", audience.state) };
        assert!(why.contains(wanted), "{why}");
    }
}
