//! The machine's clocks, a runtime, made-up devices and a message for them: for tests and benchmarks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use model::runtime::{BoxFuture, Clock, Runtime, SeededRandomness, Spawner, mix};
use model::{Content, LaunchId, Monotonic, Platform, Timestamp, Variant};
use push::{Key, KeyBuf, Keys};

/// The machine's clocks.
#[derive(Debug)]
pub(crate) struct RealClock(Instant);

impl RealClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "tests and benchmarks against real sockets need the real clock"
    )]
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for RealClock {
    #[allow(clippy::disallowed_methods, reason = "this is the clock that others take as an argument")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Timestamp(since.as_micros() as u64)
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(self.0.elapsed().as_nanos() as u64)
    }

    #[allow(clippy::disallowed_methods, reason = "this is the clock that others take as an argument")]
    fn sleep(&self, duration: Duration) -> BoxFuture {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A runtime of its own, which ends with the last who may spawn.
#[derive(Debug)]
struct TokioSpawner(Option<tokio::runtime::Runtime>);

impl Spawner for TokioSpawner {
    fn spawn(&self, _name: &'static str, task: BoxFuture) {
        drop(self.0.as_ref().unwrap().spawn(task));
    }
}

impl Drop for TokioSpawner {
    fn drop(&mut self) {
        // The last may be a task of the runtime itself, which cannot wait for its own end.
        self.0.take().unwrap().shutdown_background();
    }
}

pub(crate) fn runtime() -> Runtime {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    Runtime {
        clock: Arc::new(RealClock::new()),
        randomness: Arc::new(SeededRandomness::new(7)),
        spawner: Arc::new(TokioSpawner(Some(tokio))),
    }
}

/// The number of a device that breaks the thread which looks at its key.
pub(crate) const BREAKING: u32 = u32::MAX;

/// Devices whose keys follow from their numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MadeUp {
    pub(crate) platform: Platform,
    pub(crate) first: u32,
    pub(crate) count: u32,
    /// Every tenth key cannot be sent.
    pub(crate) has_unusable: bool,
}

impl MadeUp {
    /// The key of one of them: raw for APNs, text for FCM.
    pub(crate) fn write<'a>(&self, index: u32, room: &'a mut [u8]) -> &'a [u8] {
        let number = u64::from(self.first + index);
        match self.platform {
            Platform::Apns => {
                for (place, word) in room[..32].as_chunks_mut::<8>().0.iter_mut().zip(0..) {
                    *place = mix(number * 4 + word).to_be_bytes();
                }
                &room[..32]
            }
            Platform::Fcm if number % 5 == 4 => text(number, &mut room[..22]),
            Platform::Fcm => {
                let token = text(number, &mut room[..163]);
                token[22] = b':';
                token
            }
        }
    }
}

/// Base64url text that starts with the number and so is unique.
fn text(number: u64, room: &mut [u8]) -> &mut [u8] {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    room.fill(b'x');
    for (place, shift) in room[..11].iter_mut().zip((0..).step_by(6)) {
        *place = ALPHABET[(mix(number) >> shift) as usize & 63];
    }
    room
}

impl Keys for MadeUp {
    fn len(&self) -> u32 {
        self.count
    }

    fn key<'a>(&'a self, index: u32, room: &'a mut KeyBuf) -> Key<'a> {
        assert_ne!(self.first + index, BREAKING, "a defect of the program");
        if self.has_unusable && index % 10 == 9 {
            return Key::Unusable;
        }
        let key = self.write(index, room.bytes());
        match (self.platform, key.len()) {
            (Platform::Apns, _) => Key::Apns(key),
            (Platform::Fcm, 22) => Key::FcmFid(key),
            (Platform::Fcm, _) => Key::FcmToken(key),
        }
    }

    fn ordinal(&self, index: u32) -> u64 {
        u64::from(self.first + index)
    }
}

pub(crate) fn message() -> (message::ApnsMessage, message::FcmMessage) {
    let body = "The match starts in five minutes. Are you watching? Tap to see who plays and where.";
    let variant = Variant { title: "Fanfare".into(), body: body.into(), ..Variant::default() };
    let content = Content { variants: BTreeMap::from([("en".into(), variant)]), fallback: "en".into() };
    let context = message::compose::Context {
        collapse_id: message::compose::collapse_id(LaunchId(1)),
        not_after: Timestamp::from_secs(4_000_000_000),
        now: Timestamp::from_secs(3_999_996_400),
    };
    let composed = message::compose(&content, "en", &context).unwrap();
    (composed.apns, composed.fcm)
}
