//! Importing and resolving take the memory that is configured, however many devices there are. Alone in its program, for it
//! counts what the whole of it takes of the heap.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails its test")]
#![allow(clippy::disallowed_methods, reason = "a driver: the real clock and real tasks")]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use audience::Config;
use backend::{Backend, Expect, Outgoing, Queue, rows};
use backend_embedded::Place;
use model::audience::{BadRows, Defaults, Packing, Upload, UploadFormat};
use model::import::{Destination, Import, ImportState};
use model::queued::{Resolve, TakeIn, ToResolver};
use model::runtime::{BoxFuture, Clock, Runtime, SeededRandomness, Spawner, mix};
use model::{Audience, AudienceId, AudienceState, Digest, ImportId, Monotonic, Timestamp};
use peak_alloc::PeakAlloc;
use tokio_util::sync::CancellationToken;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;
const DEVICES: u64 = 400_000;
/// The devices' rows alone, as a build keeps them.
const PACKED_BYTES: u64 = DEVICES * (122 + 16);
/// For devices being packed.
const BUILD_BYTES: usize = 8 * MIB;
/// For users being sorted.
const SORT_BYTES: usize = MIB;
/// Besides: a tenth of the build's, buffers for runs and segments, batches that are looked up, stored or written, four bytes for
/// each user of each segment; and of whoever stores them fourteen for each user there is.
const BESIDES_BYTES: usize = 16 * MIB;

#[derive(Debug)]
struct Real(Instant);

impl Clock for Real {
    fn now(&self) -> Timestamp {
        Timestamp(SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros() as u64)
    }
    fn monotonic(&self) -> Monotonic {
        Monotonic(self.0.elapsed().as_nanos() as u64)
    }
    fn sleep(&self, duration: Duration) -> BoxFuture {
        Box::pin(tokio::time::sleep(duration))
    }
}

impl Spawner for Real {
    fn spawn(&self, _: &'static str, task: BoxFuture) {
        tokio::spawn(task);
    }
}

fn devices() -> Vec<u8> {
    use std::io::Write as _;
    let mut text = b"user,platform,key,app,locale,market\n".to_vec();
    for number in 0..DEVICES {
        let part = |place: u64| format!("{:016x}", mix(number * 16 + place));
        let key: String = (0..9).map(part).collect();
        let (user, key) = (mix(number / 2), &key[..140]);
        writeln!(text, "user-{user:020},fcm,{}aaaaaa:{key},p,en,us", part(15)).unwrap();
    }
    text
}

fn users() -> Vec<u8> {
    let lines = (0..DEVICES / 2).map(|user| format!("user-{:020}\n", mix(user)));
    ["user\n".to_owned()].into_iter().chain(lines).collect::<String>().into_bytes()
}

async fn store(backend: &Backend, blob: &str, bytes: Vec<u8>) -> Upload {
    let (length, digest) = (bytes.len() as u64, Digest::of(&bytes));
    backend.blobs.put(blob, bytes).await.unwrap();
    Upload {
        blob: blob.into(),
        bytes: length,
        digest,
        format: UploadFormat::Csv,
        packing: Packing::None,
        bad_rows: BadRows::RejectAll,
        defaults: Defaults::default(),
    }
}

/// Has something done; what that took of the heap beyond what was there.
async fn taken(backend: &Backend, message: &ToResolver, mut is_over: impl AsyncFnMut() -> bool) -> usize {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let body = serde_json::to_string(message).unwrap();
    backend.queues.send(Queue::Resolve, vec![Outgoing::now(body)]).await.unwrap();
    while !is_over().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    HEAP.peak_usage().saturating_sub(before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_are_taken_in_and_resolved_in_the_memory_that_is_configured() {
    let folder = tempfile::tempdir().unwrap();
    let real = Arc::new(Real(Instant::now()));
    let runtime =
        Runtime { clock: real.clone(), randomness: Arc::new(SeededRandomness::new(1)), spawner: real };
    let embedded = backend_embedded::open(&Place::Folder(folder.path().to_owned()), &runtime).unwrap();
    let (backend, shutdown) = (embedded.backend.clone(), CancellationToken::new());
    let config = Config {
        build_bytes_max: BUILD_BYTES,
        sort_bytes_max: SORT_BYTES,
        import_devices: 2_000,
        resolve_users: 2_000,
        ..Config::default()
    };
    let role = tokio::spawn(audience::run(backend.clone(), runtime, config, shutdown.clone()));
    let (store_of_rows, at) = (&*backend.store, Timestamp(1));

    let id = ImportId(1);
    let upload = store(&backend, "imports/1/1", devices()).await;
    let into = Destination::Directory;
    let import = Import {
        id,
        into,
        upload,
        state: ImportState::Uploaded,
        report: None,
        created_at: at,
        worked_at: None,
    };
    store_of_rows.write(vec![rows::import::put(&import, Expect::Absent)]).await.unwrap();
    let message = ToResolver::TakeIn(TakeIn { import: id });
    let importing = taken(&backend, &message, async || {
        let state = rows::import::get(store_of_rows, id).await.unwrap().unwrap().body.state;
        assert!(!matches!(state, ImportState::Failed { .. }), "{state:?}");
        state.is_over()
    });
    let importing = importing.await;

    let id = AudienceId(1);
    let audience = Audience {
        id,
        name: "all".into(),
        rows: None,
        sample: None,
        control: None,
        sandbox: false,
        upload: Some(store(&backend, "uploads/1/1", users()).await),
        state: AudienceState::Uploaded,
        report: None,
        created_at: at,
        worked_at: None,
    };
    store_of_rows.write(vec![rows::audience::put(&audience, Expect::Absent)]).await.unwrap();
    let read = async || rows::audience::get(store_of_rows, id).await.unwrap().unwrap().body;
    let message = ToResolver::Resolve(Resolve { audience: id });
    let resolving = taken(&backend, &message, async || {
        let audience = read().await;
        assert!(!matches!(audience.state, AudienceState::Failed { .. }), "{:?}", audience.state);
        audience.snapshot().is_some()
    });
    let resolving = resolving.await;
    let audience = read().await;
    assert_eq!(audience.report.as_ref().unwrap().devices, DEVICES);

    shutdown.cancel();
    role.await.unwrap();
    println!("importing {importing}, resolving {resolving} of {PACKED_BYTES} bytes");
    let most = BUILD_BYTES + SORT_BYTES + BESIDES_BYTES;
    assert!(most as u64 * 2 < PACKED_BYTES, "what is kept would be seen");
    for (what, bytes) in [("importing", importing), ("resolving", resolving)] {
        assert!(bytes < most, "{what} took {bytes} bytes of {most}");
    }
    embedded.close().await;
}
