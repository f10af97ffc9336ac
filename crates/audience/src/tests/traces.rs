//! Somebody who is erased leaves no trace: every row and every file is searched, before, when the person must be found in each kind
//! of place, and afterwards; and a kill between any two changes leads to the same end.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use backend::fault::{self, Faults};
use backend::rows::{campaign, launch, upload};
use backend_embedded::inspect;
use model::erasure::{Erasure, Place as In};
use model::export::{ExportFormat, ExportState, Subject};
use model::{Campaign, CampaignId, Content, ErasureId, Outcome, OutcomeRuns, UploadId};

use super::exports::{LAUNCH, exported_of, launched, record};
use super::people::{answer, ask_about, ask_to_forget, receipt};
use super::*;
use crate::error::{Error, Result};
use crate::garbage::collect;
use crate::{erase, import, resolve};

const ANN: &str = "ann-who-wants-to-be-forgotten";
const APNS_KEY: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";
const FCM_KEY: &str = "cForgetMe:APA91b_this-is-the-key-of-somebody-who-wants-to-be-forgotten";
const ERASURE: ErasureId = ErasureId(77);

/// A few others, and ann with one device of each provider.
fn people() -> Vec<Device> {
    let mut devices: Vec<Device> = (0..12).map(|number| device(&format!("u{number}"), number)).collect();
    let apns = Device { key: APNS_KEY.into(), market: "us".into(), ..device(ANN, 2) };
    let fcm = Device { key: FCM_KEY.into(), market: "us".into(), ..device(ANN, 1) };
    devices.extend([apns, fcm]);
    devices
}

fn at(folder: &Path, now: Timestamp) -> Bench {
    Bench::at(&Place::Folder(folder.to_owned()), now, Config::default(), |backend, _| backend)
}

/// Everything that may come to know somebody, up to the moment in which ann asks to be forgotten.
async fn live(folder: &Path) -> Timestamp {
    let bench = at(folder, Timestamp::from_secs(1_000_000));
    let backend = bench.backend();
    // Imported from a file, and from an upload that came in parts.
    let upload = bench.blob("imports/1/1", csv(&people()).as_bytes()).await;
    let first = bench.import(1, upload).await;
    bench.moving_on(import::run(&bench.desk, first, 1)).await.unwrap();
    let mut growing = backend.blobs.grow(&upload::object(UploadId(2))).await.unwrap().unwrap();
    for part in csv(&people()).as_bytes().chunks(100) {
        growing.append(part.to_vec()).await.unwrap();
    }
    growing.keep("imports/2/1").await.unwrap();
    let text = backend.blobs.get("imports/2/1").await.unwrap().unwrap();
    let mut second = bench.blob("imports/2/1", &text).await;
    second.bad_rows = BadRows::AcceptValid { share_ppm_max: 1_000_000 };
    let second = bench.import(2, second).await;
    bench.moving_on(import::run(&bench.desk, second, 1)).await.unwrap();
    // A file of an import that was over when its resolver was killed, before it was gone.
    bench.blob("imports/2/1", &text).await;
    // An audience of users, and one of devices that is launched, recorded and exported.
    let upload = bench.blob("uploads/9/1", format!("user\nu1\n{ANN}\n").as_bytes()).await;
    let users = bench.audience(9, None, upload).await;
    bench.moving_on(resolve::run(&bench.desk, users, 1)).await.unwrap();
    let (sent, plan) = bench.moving_on(launched(&bench, &people())).await;
    for shard in plan.shards() {
        record(&bench, &plan, shard.number, OutcomeRuns::uniform(Outcome::ACCEPTED, shard.count)).await;
    }
    let now = bench.desk.now();
    let kept = Campaign {
        id: CampaignId(1),
        name: "c".into(),
        content: Content::default(),
        audience: Some(AudienceId(1)),
        waves: vec![sent.wave.clone()],
        policy: sent.policy.clone(),
        created_at: now,
        updated_at: now,
    };
    let writes = vec![
        campaign::put(&kept, Expect::Absent),
        campaign::put_wave_launch(kept.id, "all", LAUNCH),
        launch::close(LAUNCH),
    ];
    backend.store.write(writes).await.unwrap();
    for (subject, format) in [
        (Subject::Outcomes { launch: LAUNCH }, ExportFormat::Csv),
        (Subject::Outcomes { launch: LAUNCH }, ExportFormat::Ndjson),
        (Subject::DeadDevices { launch: LAUNCH }, ExportFormat::Csv),
        (members(&bench).await, ExportFormat::Csv),
    ] {
        Box::pin(bench.moving_on(exported_of(&bench, subject, format))).await;
    }
    let asked = ask_about(&bench, 1, ANN).await;
    let told = answer(&bench, asked).await;
    let sent = told.launches[0].devices.as_ref().unwrap();
    assert!(sent.iter().all(|device| device.outcome == "accepted") && sent.len() == 2, "{sent:?}");
    // What a resolver left that was killed while it worked.
    let left = backend.blobs.staging().join("work-00000000");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("lock"), "").unwrap();
    fs::write(left.join(".unfinished-1.users"), ANN).unwrap();
    ask_to_forget(&bench, ERASURE.0, ANN).await;
    let now = bench.desk.now();
    bench.close().await;
    now
}

/// An export of everybody in the audience that was launched.
async fn members(bench: &Bench) -> Subject {
    let audience = bench.read(AudienceId(1)).await;
    Subject::Members { audience: audience.id, snapshot: audience.snapshot().unwrap() }
}

/// Files below `folder` that hold any trace of ann, packed or not, and values of the database.
fn traces(folder: &Path) -> BTreeSet<String> {
    let packed: Vec<u8> = APNS_KEY
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let needles = [ANN.as_bytes(), APNS_KEY.as_bytes(), FCM_KEY.as_bytes(), &packed];
    let holds = |bytes: &[u8]| needles.iter().any(|needle| memchr::memmem::find(bytes, needle).is_some());
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(path) = folders.pop() {
        for entry in fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            let bytes = fs::read(&entry).unwrap();
            let unpacked = zstd::decode_all(&bytes[..]).unwrap_or_default();
            if holds(&bytes) || holds(&unpacked) {
                found.insert(entry.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    let values = inspect::values(folder).unwrap().into_iter();
    found.extend(values.filter(|(_, bytes)| holds(bytes)).map(|(place, _)| format!("row {place}")));
    found
}

/// Which kinds of places those are.
fn kinds(found: &BTreeSet<String>) -> BTreeSet<&str> {
    let kind = |place: &String| {
        const KINDS: [&str; 10] = [
            "directory.log",
            "blobs/uploads",
            "blobs/imports",
            "blobs/exports",
            "blobs/inquiries",
            "blobs/erasures",
            "staging/work",
            "growing",
            "fanfare.db",
            "row ",
        ];
        match KINDS.iter().find(|kind| place.starts_with(**kind)) {
            Some(kind) => *kind,
            None if place.ends_with(".users") => "users",
            None if place.ends_with(".map") => "map",
            None => panic!("{place}"),
        }
    };
    found.iter().map(kind).collect()
}

/// A step of the way to the end, and how much time passes before it.
const STEPS: [(Duration, Step); 5] = [
    (Duration::ZERO, Step::Round),
    (Duration::from_secs(90 * 24 * 3_600), Step::Collect),
    (Duration::from_secs(25 * 3_600), Step::Collect),
    (Duration::ZERO, Step::Round),
    (Duration::ZERO, Step::Round),
];

#[derive(Clone, Copy)]
enum Step {
    Round,
    Collect,
}

async fn take(bench: &Bench, step: Step) -> Result<()> {
    match step {
        Step::Round => erase::round(&bench.desk).await.map(drop),
        Step::Collect => collect(&bench.desk).await.map(drop),
    }
}

/// Goes to the end, but is killed after so many changes; whether it came so far.
async fn forget(folder: &Path, mut now: Timestamp, changes: u64) -> (Timestamp, bool) {
    let mut faults: Option<Faults> = None;
    let place = Place::Folder(folder.to_owned());
    let mut bench = Bench::at(&place, now, Config::default(), |backend, clock| {
        let (backend, handle) = fault::wrap(backend, clock, 1);
        handle.stop_after(changes);
        faults = Some(handle);
        backend
    });
    let mut was_killed = false;
    for (pause, step) in STEPS {
        now = now + pause + Duration::from_secs(1);
        bench.clock.advance(pause + Duration::from_secs(1));
        match bench.moving_on(take(&bench, step)).await {
            Ok(()) => {}
            Err(error) if was_killed => panic!("after the kill: {error}"),
            Err(error) => {
                assert!(matches!(error, Error::Backend(_)), "{error}");
                was_killed = true;
                // The next process begins with the step that was cut short.
                now = bench.desk.now().max(now);
                bench.close().await;
                bench = at(folder, now);
                bench.moving_on(take(&bench, step)).await.unwrap();
            }
        }
        now = bench.desk.now();
    }
    bench.close().await;
    (now, was_killed)
}

async fn end(folder: &Path, now: Timestamp) -> Erasure {
    let bench = at(folder, now);
    let receipt = receipt(&bench, ERASURE).await;
    assert_eq!(bench.staged(), 0, "nothing is on its way");
    let others = bench.backend().directory.count().await.unwrap();
    assert_eq!(others, (12, 12), "the others are there");
    bench.close().await;
    receipt
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn somebody_who_was_everywhere_is_nowhere_and_no_kill_in_between_changes_that() {
    let folder = tempfile::tempdir().unwrap();
    let before = folder.path().join("before");
    let now = Box::pin(live(&before)).await;
    let found = traces(&before);
    let wanted = [
        "blobs/erasures",
        "blobs/exports",
        "blobs/imports",
        "blobs/inquiries",
        "blobs/uploads",
        "directory.log",
        "map",
        "staging/work",
        "users",
    ];
    assert_eq!(kinds(&found).into_iter().collect::<Vec<_>>(), wanted, "the search finds: {found:?}");

    let mut ends = BTreeSet::new();
    for changes in 0.. {
        let here = folder.path().join(format!("after-{changes}"));
        copy(&before, &here);
        let (now, was_killed) = Box::pin(forget(&here, now, changes)).await;
        let receipt = end(&here, now).await;
        assert!(receipt.is_over(), "killed after {changes} changes: {receipt:?}");
        assert_eq!(traces(&here), BTreeSet::new(), "killed after {changes} changes");
        let mut things: Vec<_> =
            receipt.cleared.iter().map(|cleared| (cleared.place, cleared.things)).collect();
        things.sort_unstable();
        ends.insert((receipt.snapshots.len(), things));
        fs::remove_dir_all(&here).unwrap();
        if !was_killed {
            assert!(changes > 20, "there was something to kill: {changes}");
            break;
        }
    }
    let things = [(In::Directory, 2), (In::Uploads, 3), (In::Exports, 3), (In::Inquiries, 1)];
    assert_eq!(ends.into_iter().collect::<Vec<_>>(), [(2, things.to_vec())], "whatever is killed when");
}

#[tokio::test]
async fn until_the_snapshots_go_only_they_name_the_person() {
    let folder = tempfile::tempdir().unwrap();
    let now = Box::pin(live(folder.path())).await;
    let bench = at(folder.path(), now);
    bench.moving_on(erase::round(&bench.desk)).await.unwrap();
    // What is written out from now on names nobody who is erased.
    let members = members(&bench).await;
    let Subject::Members { audience, snapshot } = members else { panic!("{members:?}") };
    let other = bench.read(AudienceId(9)).await;
    let against_snapshot = other.snapshot().unwrap();
    let difference = Subject::Difference { audience, snapshot, against: other.id, against_snapshot };
    for (subject, wanted) in [(Subject::Outcomes { launch: LAUNCH }, 2), (members, 2), (difference, 0)] {
        let export = Box::pin(bench.moving_on(exported_of(&bench, subject, ExportFormat::Csv))).await;
        let ExportState::Done { blob, devices, .. } = export.state else { panic!("{export:?}") };
        let text = String::from_utf8(bench.backend().blobs.get(&blob).await.unwrap().unwrap()).unwrap();
        let is_blank = |line: &&str| line.starts_with(',') && line.ends_with(',');
        let blank = text.lines().filter(is_blank).count();
        assert_eq!((text.lines().count() as u64, blank), (devices + 1, wanted), "{text}");
    }
    bench.close().await;
    let found = traces(folder.path());
    assert_eq!(kinds(&found).into_iter().collect::<Vec<_>>(), ["map", "users"], "{found:?}");
}
