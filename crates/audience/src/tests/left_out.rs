//! Who is not in a snapshot: the list of them, and numbers that add up.

use std::collections::{BTreeMap, BTreeSet};

use model::audience::PPM;
use model::left_out::LeftOutRow;
use model::selection::{Control, Sample};
use model::suppression::Cause;

use super::choosing::{all_users, people, resolve_as, suppress};
use super::*;

/// The list of an audience: user, reason, and of a device its platform, who has it, and whether the user is in.
type Listed = (String, String, Option<(Platform, Option<(String, bool)>)>);

async fn listed(bench: &Bench, audience: &Audience) -> Vec<Listed> {
    let Some(list) = &audience.report.as_ref().unwrap().left_out_list else { return Vec::new() };
    let packed = bench.backend().blobs.get(&list.blob).await.unwrap().unwrap();
    let text = String::from_utf8(zstd::decode_all(&packed[..]).unwrap()).unwrap();
    let rows: Vec<Listed> = text
        .lines()
        .map(|line| {
            let LeftOutRow { user, reason, device, kept } = serde_json::from_str(line).unwrap();
            let kept = kept.map(|kept| (kept.kept_by.into_owned(), kept.user_in));
            (user.into_owned(), reason.into_owned(), device.map(|device| (device.platform, kept)))
        })
        .collect();
    assert_eq!(rows.len() as u64, list.rows);
    rows
}

/// Every number of a report explains another.
fn check_sums(report: &AudienceReport, rows: Option<UploadRows>) {
    let sum = |numbers: &BTreeMap<String, u64>| numbers.values().sum::<u64>();
    let read = &report.read;
    let found = sum(&report.not_in_devices) + report.duplicate_devices + report.devices;
    assert_eq!(report.found_devices, found, "{report:?}");
    let good = read.rows - read.bad_rows - sum(&read.left_out);
    match rows {
        Some(UploadRows::Devices) => {
            assert_eq!(good, report.found_devices, "{report:?}");
            assert_eq!(report.not_in, report.not_in_devices);
        }
        _ => assert_eq!(good, report.duplicate_users + sum(&report.not_in) + report.users, "{report:?}"),
    }
}

/// People of each sort: `u000` to `u299` with two devices each, of whom some have each other's.
async fn everybody(bench: &Bench) -> Vec<Device> {
    let mut devices = people(bench).await;
    suppress(bench, &[("u001", Cause::OptedOut), ("u002", Cause::Blocked), ("u003", Cause::Erased)]).await;
    // `u010` has the devices of `u011` since, and one of `u012`.
    for number in [22, 23, 24] {
        let taken =
            Device { user: "u010".into(), registered_at: Timestamp::from_secs(6), ..devices[number].clone() };
        devices.push(taken);
    }
    bench.know(&devices[600..]).await;
    devices
}

#[tokio::test]
async fn everybody_left_out_is_listed_with_the_reason_and_the_numbers_add_up() {
    let bench = Bench::new();
    everybody(&bench).await;
    let text = all_users() + "u000\nnobody\nu000\n";
    let audience = resolve_as(&bench, 1, Some(&text), |_| {}).await;
    let report = audience.report.clone().unwrap();
    check_sums(&report, audience.rows);
    assert_eq!((report.users, report.duplicate_users, report.duplicate_devices), (296, 2, 3));
    assert_eq!((report.found_devices, report.devices), (603, 594));
    let wanted = [("blocked", 1), ("duplicate_key", 1), ("erased", 1), ("opted_out", 1), ("unknown", 1)];
    assert_eq!(report.not_in, wanted.map(|(reason, number)| (reason.to_owned(), number)).into());
    let wanted = [("blocked", 2), ("erased", 2), ("opted_out", 2)];
    assert_eq!(report.not_in_devices, wanted.map(|(reason, number)| (reason.to_owned(), number)).into());
    assert_eq!(report.left_out_list.as_ref().map(|list| (list.rows, list.is_cut)), Some((7, false)));

    let rows = listed(&bench, &audience).await;
    let people: Vec<(&str, &str)> = rows
        .iter()
        .filter(|(.., device)| device.is_none())
        .map(|(user, reason, _)| (&**user, &**reason))
        .collect();
    let wanted = [("nobody", "unknown"), ("u001", "opted_out"), ("u002", "blocked"), ("", "erased")];
    let mut wanted = wanted;
    wanted.sort_unstable();
    let mut people = people;
    people.sort_unstable();
    assert_eq!(people, wanted, "whoever is erased counts, and is not named");
    let mut devices: Vec<_> =
        rows.into_iter().filter_map(|(user, reason, device)| Some((user, reason, device?))).collect();
    devices.sort();
    let lost = |user: &str, platform, is_in| {
        (user.to_owned(), "duplicate_key".to_owned(), (platform, Some(("u010".to_owned(), is_in))))
    };
    let wanted = [
        lost("u011", Platform::Apns, false),
        lost("u011", Platform::Fcm, false),
        lost("u012", Platform::Apns, true),
    ];
    assert_eq!(devices, wanted, "whoever has it is named, and whether the other is in by another device");
}

#[tokio::test]
async fn of_a_list_of_devices_each_device_left_out_is_listed_with_its_hash() {
    let bench = Bench::new();
    let devices = everybody(&bench).await;
    let mut text =
        csv(&devices) + &csv(&devices[..1]).lines().nth(1).map(|line| format!("{line}\n")).unwrap();
    text += "u1,apns,odd,a,en,us,\n";
    let audience = resolve_as(&bench, 1, Some(&text), |audience| {
        audience.upload.as_mut().unwrap().bad_rows = BadRows::AcceptValid { share_ppm_max: PPM };
    })
    .await;
    let report = audience.report.clone().unwrap();
    check_sums(&report, audience.rows);
    assert_eq!((report.read.rows, report.read.bad_rows, report.found_devices), (605, 1, 604));
    assert_eq!((report.duplicate_devices, report.devices), (4, 594));
    let rows = listed(&bench, &audience).await;
    assert_eq!(rows.len(), 6 + 4);
    let (erased, devices_left_out): (Vec<_>, Vec<_>) =
        rows.iter().partition(|(_, reason, _)| reason == "erased");
    assert!(erased.iter().all(|(user, _, device)| user.is_empty() && device.is_none()) && erased.len() == 2);
    assert!(devices_left_out.iter().all(|(_, reason, device)| (reason == "duplicate_key")
        == device.as_ref().expect("each is a device").1.is_some()));
    let itself = rows.iter().find(|(user, ..)| user == "u000").unwrap();
    assert_eq!(itself.2.as_ref().unwrap().1, Some(("u000".into(), true)), "listed twice");
    let blob = report.left_out_list.unwrap().blob;
    let packed = bench.backend().blobs.get(&blob).await.unwrap().unwrap();
    let text = String::from_utf8(zstd::decode_all(&packed[..]).unwrap()).unwrap();
    let hash = blake3::hash(devices[2].key.as_bytes()).to_hex();
    assert!(text.contains(&format!("\"key_hash\":\"{}\"", &hash[..32])), "{text}");
    assert!(devices.iter().all(|device| !text.contains(&format!("\"{}\"", device.key))), "no key in clear");
}

#[tokio::test]
async fn a_sample_lists_whom_it_did_not_choose_and_whom_it_might_not() {
    let bench = Bench::new();
    people(&bench).await;
    resolve_as(&bench, 1, Some(&all_users()), |_| {}).await;
    suppress(&bench, &[("u001", Cause::OptedOut)]).await;
    let control = Some(Control { share_ppm: 100_000, seed: 5 });
    for (number, markets) in [(2, vec![]), (3, vec!["de".to_owned()])] {
        let (platforms, disjoint_from) = (Vec::new(), Vec::new());
        let sample = Sample { of: AudienceId(1), users: 40, seed: 1, markets, platforms, disjoint_from };
        let audience = resolve_as(&bench, number, None, |audience| {
            (audience.sample, audience.control) = (Some(sample), control);
        })
        .await;
        let report = audience.report.clone().unwrap();
        check_sums(&report, audience.rows);
        assert_eq!(report.users, 40);
        let rows = listed(&bench, &audience).await;
        let mut by_reason: BTreeMap<String, u64> = BTreeMap::new();
        rows.iter().for_each(|(_, reason, _)| *by_reason.entry(reason.clone()).or_default() += 1);
        assert_eq!(by_reason, report.not_in);
        assert!(report.not_in["held_back"] > 0 && report.not_in["not_chosen"] > 0);
        assert_eq!(rows.iter().map(|(user, ..)| user).collect::<BTreeSet<_>>().len(), rows.len());
    }
}

#[tokio::test]
async fn a_list_of_those_left_out_ends_where_the_configuration_says_and_says_so() {
    for (most, wanted) in [(5, (5, true)), (7, (7, false))] {
        let limits = crate::Limits { left_out_listed_max: most, ..crate::Limits::default() };
        let bench = Bench::with(Config { limits, ..Config::default() });
        everybody(&bench).await;
        let audience = resolve_as(&bench, 1, Some(&(all_users() + "nobody\n")), |_| {}).await;
        let report = audience.report.clone().unwrap();
        check_sums(&report, audience.rows);
        assert_eq!(report.left_out_list.map(|list| (list.rows, list.is_cut)), Some(wanted));
    }
    let bench = Bench::new();
    people(&bench).await;
    let audience = resolve_as(&bench, 1, Some(&all_users()), |_| {}).await;
    assert_eq!(audience.report.unwrap().left_out_list, None, "nobody is left out");
}

#[tokio::test]
async fn an_audience_of_which_nobody_is_left_lists_them_all_the_same() {
    let bench = Bench::new();
    people(&bench).await;
    let audience = resolve_as(&bench, 1, Some("user\nnobody\n"), |_| {}).await;
    assert!(matches!(audience.state, AudienceState::Failed { .. }));
    assert_eq!(listed(&bench, &audience).await, [("nobody".into(), "unknown".into(), None)]);
}

#[tokio::test]
async fn devices_of_the_sandbox_come_in_only_where_they_are_asked_for() {
    let bench = Bench::new();
    let sandboxed = |user: &str, number| Device { app: "org.example@sandbox".into(), ..device(user, number) };
    let devices = [device("both", 2), sandboxed("both", 4), sandboxed("only", 6), sandboxed("only", 8)];
    bench.know(&devices).await;
    let users = "user\nboth\nonly\n";
    let list = csv(&devices);
    for (number, text, rows) in [(1, users, UploadRows::Users), (2, &list, UploadRows::Devices)] {
        let audience = resolve_as(&bench, number, Some(text), |_| {}).await;
        let report = audience.report.as_ref().unwrap();
        check_sums(report, Some(rows));
        assert_eq!((report.users, report.devices), (1, 1), "{rows:?}");
        assert_eq!(report.not_in_devices, [("sandbox".to_owned(), 3)].into());
        let out: Vec<String> = listed(&bench, &audience)
            .await
            .into_iter()
            .map(|(user, reason, _)| user + " " + &reason)
            .collect();
        assert_eq!(out, ["both sandbox", "only sandbox", "only sandbox"]);
        if rows == UploadRows::Users {
            assert_eq!(
                report.not_in,
                [("sandbox".to_owned(), 1)].into(),
                "the other has a device that is in"
            );
        }
        let asked = resolve_as(&bench, number + 10, Some(text), |audience| audience.sandbox = true).await;
        let report = asked.report.as_ref().unwrap();
        check_sums(report, Some(rows));
        assert_eq!((report.users, report.devices), (2, 4), "{rows:?}");
    }
}
