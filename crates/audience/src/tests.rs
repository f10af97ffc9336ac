//! The resolver's work on a backend in memory: what is uploaded comes out as a snapshot, a directory or a clear refusal.

mod choosing;
mod difference;
mod erasing;
mod exports;
mod faults;
mod full_disk;
mod garbage;
mod imports;
mod late_list;
mod left_out;
mod people;
mod resolving;
mod role;
mod rubbish;
mod suppressing;
mod traces;

use std::sync::Arc;
use std::time::Duration;

use backend::rows::{self, Versioned};
use backend::{Backend, Expect, Queue};
use backend_embedded::{Embedded, Place};
use model::audience::{BadRows, Defaults, Packing, Upload, UploadFormat, UploadRows};
use model::import::{Destination, Import, ImportState};
use model::runtime::{BoxFuture, ManualClock, Runtime, SeededRandomness, Spawner};
use model::{
    Audience, AudienceId, AudienceReport, AudienceState, Device, Digest, ImportId, Platform, Timestamp,
};

use crate::config::Config;
use crate::desk::Desk;

#[derive(Debug)]
struct TokioSpawner;

impl Spawner for TokioSpawner {
    #[allow(clippy::disallowed_methods, reason = "the tests' driver")]
    fn spawn(&self, _: &'static str, task: BoxFuture) {
        tokio::spawn(task);
    }
}

/// An installation in memory, its clock standing still.
struct Bench {
    desk: Arc<Desk>,
    clock: Arc<ManualClock>,
    embedded: Embedded,
}

impl Bench {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        Self::at(&Place::Memory, Timestamp::from_secs(1_000), config, |backend, _| backend)
    }

    /// One at a place, its clock standing at `now`.
    fn at(
        place: &Place,
        now: Timestamp,
        config: Config,
        wrap: impl FnOnce(Backend, Arc<ManualClock>) -> Backend,
    ) -> Self {
        let clock = Arc::new(ManualClock::new(now));
        // No name is given twice when a place is opened again.
        let randomness = Arc::new(SeededRandomness::new(now.as_secs()));
        let runtime = Runtime { clock: clock.clone(), randomness, spawner: Arc::new(TokioSpawner) };
        let embedded = backend_embedded::open(place, &runtime).unwrap();
        let backend = wrap(embedded.backend.clone(), clock.clone());
        let desk = Desk { backend, runtime, config };
        Self { desk: Arc::new(desk), clock, embedded }
    }

    /// Everything is written to the files.
    async fn close(self) {
        self.embedded.close().await;
    }

    fn backend(&self) -> &Backend {
        &self.desk.backend
    }

    async fn blob(&self, name: &str, text: &[u8]) -> Upload {
        self.backend().blobs.put(name, text.to_vec()).await.unwrap();
        Upload {
            blob: name.into(),
            bytes: text.len() as u64,
            digest: Digest::of(text),
            format: UploadFormat::Csv,
            packing: Packing::None,
            bad_rows: BadRows::RejectAll,
            defaults: Defaults::default(),
        }
    }

    /// Stores an uploaded audience.
    async fn audience(&self, number: u128, rows: Option<UploadRows>, upload: Upload) -> AudienceId {
        let id = AudienceId(number);
        let audience = Audience {
            id,
            name: "all".into(),
            rows,
            sample: None,
            control: None,
            sandbox: false,
            upload: Some(upload),
            state: AudienceState::Uploaded,
            report: None,
            created_at: Timestamp::from_secs(999),
            worked_at: None,
        };
        self.backend().store.write(vec![rows::audience::put(&audience, Expect::Absent)]).await.unwrap();
        id
    }

    async fn read(&self, id: AudienceId) -> Audience {
        rows::audience::get(&*self.backend().store, id).await.unwrap().unwrap().body
    }

    /// Stores an uploaded import.
    async fn import(&self, number: u128, upload: Upload) -> ImportId {
        self.import_into(number, Destination::Directory, upload).await
    }

    /// The same into something else.
    async fn import_into(&self, number: u128, into: Destination, upload: Upload) -> ImportId {
        let id = ImportId(number);
        let (state, created_at) = (ImportState::Uploaded, Timestamp::from_secs(999));
        let import = Import { id, into, upload, state, report: None, created_at, worked_at: None };
        self.backend().store.write(vec![rows::import::put(&import, Expect::Absent)]).await.unwrap();
        id
    }

    async fn read_import(&self, id: ImportId) -> Versioned<Import> {
        rows::import::get(&*self.backend().store, id).await.unwrap().unwrap()
    }

    async fn know(&self, devices: &[Device]) {
        self.backend().directory.import(devices.to_vec()).await.unwrap();
    }

    async fn actions(&self) -> Vec<String> {
        let (entries, _) = rows::audit::list(&*self.backend().store, 0, 100).await.unwrap();
        rows::audit::verify(&entries).unwrap();
        entries.into_iter().map(|entry| format!("{} {}", entry.event.action, entry.event.actor)).collect()
    }

    /// Runs `work` while the clock moves on. Boxed, for it may be large.
    fn moving_on<'a, T: 'a>(
        &'a self,
        work: impl Future<Output = T> + 'a,
    ) -> std::pin::Pin<Box<dyn Future<Output = T> + 'a>> {
        let mut work = Box::pin(work);
        Box::pin(async move {
            loop {
                tokio::select! {
                    biased;
                    done = &mut work => return done,
                    () = tokio::task::yield_now() => self.clock.advance(Duration::from_millis(10)),
                }
            }
        })
    }

    fn staged(&self) -> usize {
        std::fs::read_dir(self.backend().blobs.staging()).unwrap().count()
    }
}

fn device(user: &str, number: u32) -> Device {
    let platform = if number.is_multiple_of(2) { Platform::Apns } else { Platform::Fcm };
    Device {
        user: user.into(),
        platform,
        key: format!("{number:08x}"),
        app: "org.example".into(),
        locale: if number.is_multiple_of(3) { "de".into() } else { "en".into() },
        market: if number.is_multiple_of(5) { "de".into() } else { "us".into() },
        registered_at: Timestamp::from_secs(5),
    }
}

/// Devices as a CSV file.
fn csv(devices: &[Device]) -> String {
    let head = "user,platform,key,app,locale,market,registered_at\n".to_owned();
    devices.iter().fold(head, |text, device| {
        let Device { user, platform, key, app, locale, market, registered_at } = device;
        text + &format!("{user},{platform},{key},{app},{locale},{market},{registered_at}\n")
    })
}
