//! A disk that is really full while an audience is resolved or an export is written: each attempt says so and leaves nothing behind, and
//! once there is room the work is done. Whoever may mount gets a small disk, which is filled again and again, each time with some more
//! room left; elsewhere no file of a process may grow further.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use model::ExportId;
use model::export::{Export, ExportFormat, ExportState, Subject};

use super::*;
use crate::{export, resolve};

/// Bytes of the disk: several times what everything takes.
const DISK_BYTES: u64 = 64 << 20;
/// How much more room there is each time.
const ROOM_STEP_BYTES: u64 = 192 << 10;
/// Devices of the audience: its snapshot, what is sorted for it and what is exported of it have some megabytes each.
const DEVICES: u32 = 30_000;
const AUDIENCE: AudienceId = AudienceId(1);
const EXPORT: ExportId = ExportId(1);
/// Where the child that may not write large files works.
const FOLDER: &str = "FANFARE_FULL_FOLDER";
/// The largest file of the child, in blocks of 512 bytes: less than a snapshot.
const BLOCKS_MAX: &str = "1024";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Resolve,
    Export,
}

/// A small disk of its own, which is gone when dropped.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// `None` where nobody may mount.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={DISK_BYTES}"), "fanfare-test"]).arg(folder.path());
        let is_mounted = mount.output().is_ok_and(|output| output.status.success());
        is_mounted.then_some(Self { folder })
    }

    fn filler(&self) -> PathBuf {
        self.folder.path().join("filler")
    }

    /// Fills it up to so many bytes.
    fn fill_but(&self, room: u64) {
        let mut filler = File::create(self.filler()).unwrap();
        let mut bytes = 0;
        while let Ok(written @ 1..) = filler.write(&[7; 4_096]) {
            bytes += written as u64;
        }
        assert!(bytes > room, "there is not so much room");
        filler.set_len(bytes - room).unwrap();
    }

    fn clear(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}

/// Little memory, so that everything that can be spilled is.
fn open(folder: &Path) -> Bench {
    let config = Config { build_bytes_max: 1 << 20, sort_bytes_max: 60_000, ..Config::default() };
    let place = Place::Folder(folder.join("data"));
    // No two processes at one place have one clock, or they would give one name twice.
    let now = Timestamp::from_secs(1_000_000 + u64::from(std::process::id()));
    Bench::at(&place, now, config, |backend, _| backend)
}

fn devices() -> Vec<Device> {
    (0..DEVICES)
        .map(|number| Device { key: format!("{number:064x}"), ..device(&format!("u{:06}", number / 2), 2) })
        .collect()
}

fn list() -> String {
    (0..DEVICES / 2).fold("user\n".to_owned(), |text, number| text + &format!("u{number:06}\n"))
}

/// Everything that the work needs, on a disk with room.
async fn prepare(bench: &Bench, work: Work) {
    bench.know(&devices()).await;
    let upload = bench.blob("uploads/1/1", list().as_bytes()).await;
    assert_eq!(bench.audience(1, None, upload).await, AUDIENCE);
    if work == Work::Export {
        bench.moving_on(resolve::run(&bench.desk, AUDIENCE, 1)).await.unwrap();
        let snapshot = bench.read(AUDIENCE).await.snapshot().unwrap();
        let export = Export {
            id: EXPORT,
            subject: Subject::Members { audience: AUDIENCE, snapshot },
            format: ExportFormat::Csv,
            state: ExportState::Asked,
            created_at: Timestamp(1),
            worked_at: None,
        };
        bench.backend().store.write(vec![rows::export::put(&export, Expect::Absent)]).await.unwrap();
    }
}

async fn attempt(bench: &Bench, work: Work, receives: u32) -> crate::Result<()> {
    let done = match work {
        Work::Resolve => bench.moving_on(Box::pin(resolve::run(&bench.desk, AUDIENCE, receives))).await,
        Work::Export => bench.moving_on(Box::pin(export::run(&bench.desk, EXPORT, receives))).await,
    };
    assert_eq!(bench.staged(), 0, "nothing keeps the disk full");
    done
}

/// The digest of what came of it, and nothing is lost.
async fn outcome(bench: &Bench, work: Work) -> Option<Digest> {
    let upload = bench.backend().blobs.get("uploads/1/1").await.unwrap();
    assert!(upload.is_some_and(|bytes| bytes == list().as_bytes()), "the upload is as it was");
    assert_eq!(
        bench.backend().directory.count().await.unwrap(),
        (u64::from(DEVICES / 2), u64::from(DEVICES))
    );
    match work {
        Work::Resolve => bench.read(AUDIENCE).await.snapshot(),
        Work::Export => match export_state(bench).await {
            ExportState::Done { digest, .. } => Some(digest),
            _ => None,
        },
    }
}

async fn export_state(bench: &Bench) -> ExportState {
    rows::export::get(&*bench.backend().store, EXPORT).await.unwrap().unwrap().body.state
}

/// Why it was given up, if it was.
async fn why(bench: &Bench, work: Work) -> Option<String> {
    match (work, bench.read(AUDIENCE).await.state) {
        (Work::Resolve, AudienceState::Failed { why }) => Some(why),
        (Work::Export, _) => match export_state(bench).await {
            ExportState::Failed { why } => Some(why),
            _ => None,
        },
        _ => None,
    }
}

/// What comes of it where there is room.
async fn wanted(work: Work) -> Option<Digest> {
    let bench = Bench::new();
    prepare(&bench, work).await;
    attempt(&bench, work, 1).await.unwrap();
    outcome(&bench, work).await
}

fn says_so(text: &str) -> bool {
    ["No space left on device", "database or disk is full", "File too large"]
        .iter()
        .any(|part| text.contains(part))
}

/// Attempts with more and more room, until one succeeds.
async fn on_a_small_disk(disk: &Disk, work: Work) {
    let bench = open(disk.folder.path());
    prepare(&bench, work).await;
    let mut attempts = 0;
    for room in (0..).step_by(ROOM_STEP_BYTES as usize) {
        disk.fill_but(room);
        let done = attempt(&bench, work, 1).await;
        disk.clear();
        let Err(error) = done else { break };
        assert!(says_so(&error.text()), "with {room} bytes left: {}", error.text());
        assert_eq!(outcome(&bench, work).await, None);
        attempts += 1;
    }
    println!("{work:?}: {attempts} attempts on a full disk");
    assert!(attempts > 5, "{attempts} attempts");
    assert_eq!(outcome(&bench, work).await, wanted(work).await);
    bench.close().await;
}

/// The same in a process whose files cannot grow; the next process has room.
async fn with_small_files(work: Work) {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(folder.path());
    prepare(&bench, work).await;
    bench.close().await;
    let mut shell = Command::new("sh");
    // A file that may not grow is an error then, not the end.
    shell.args(["-c", &format!("trap '' XFSZ; ulimit -f {BLOCKS_MAX}; exec \"$0\" \"$@\"")]);
    shell.arg(std::env::current_exe().unwrap());
    let child = format!("tests::full_disk::{}", if work == Work::Resolve { "resolves" } else { "exports" });
    let name = format!("{child}_where_no_file_may_grow");
    let output = shell.args(["--exact", &name, "--nocapture"]).env(FOLDER, folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{output:?}");
    let bench = open(folder.path());
    attempt(&bench, work, 2).await.unwrap();
    assert_eq!(outcome(&bench, work).await, wanted(work).await);
    bench.close().await;
}

/// The child. Passes at once when it runs as a test.
async fn try_with_small_files(work: Work) {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let bench = open(Path::new(&folder));
    let error = attempt(&bench, work, 1).await.unwrap_err();
    assert!(says_so(&error.text()), "{}", error.text());
    assert_eq!(outcome(&bench, work).await, None);
    bench.close().await;
}

async fn on_a_full_disk(work: Work) {
    match Disk::mount() {
        Some(disk) => on_a_small_disk(&disk, work).await,
        None => {
            println!("{work:?}: nobody may mount here: no file may grow instead");
            with_small_files(work).await;
        }
    }
}

#[tokio::test]
async fn a_disk_that_is_full_at_any_step_of_resolving_costs_attempts_and_nothing_else() {
    on_a_full_disk(Work::Resolve).await;
}

#[tokio::test]
async fn a_disk_that_is_full_at_any_step_of_an_export_costs_attempts_and_nothing_else() {
    on_a_full_disk(Work::Export).await;
}

#[tokio::test]
async fn files_that_cannot_grow_cost_attempts_and_nothing_else() {
    with_small_files(Work::Resolve).await;
    with_small_files(Work::Export).await;
}

#[tokio::test]
async fn resolves_where_no_file_may_grow() {
    try_with_small_files(Work::Resolve).await;
}

#[tokio::test]
async fn exports_where_no_file_may_grow() {
    try_with_small_files(Work::Export).await;
}

/// The last attempt says why it was given up.
#[tokio::test]
async fn work_that_never_gets_room_ends_with_the_reason() {
    let Some(disk) = Disk::mount() else {
        println!(
            "nobody may mount here: what a failed attempt says is looked at with files that cannot grow"
        );
        return with_small_files(Work::Resolve).await;
    };
    for work in [Work::Resolve, Work::Export] {
        let bench = open(&disk.folder.path().join(format!("{work:?}")));
        prepare(&bench, work).await;
        // Room for rows and for nothing else.
        disk.fill_but(700 << 10);
        attempt(&bench, work, bench.desk.config.attempts_max).await.unwrap();
        disk.clear();
        let why = why(&bench, work).await.expect("it is given up");
        assert!(says_so(&why) && why.starts_with("it was begun 5 times"), "{why}");
        bench.close().await;
    }
}
