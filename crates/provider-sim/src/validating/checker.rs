//! What all threads of a validating simulator remember together: keys and tokens, how often each device was pushed to,
//! and what was found.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::Platform;

use super::apns::{self, Bound};
use super::arrived::Arrived;
use super::finding::{Book, Finding, Judged};
use super::provider_token::{Claims, Keyring};
use super::{Now, fcm};
use crate::config::{Checks, Config, Quota};
use crate::error::Error;
use crate::fingerprint::Fingerprint;
use crate::report::Found;

/// Checks requests; one for a simulator.
#[derive(Debug)]
pub(crate) struct Checker {
    pub(super) checks: Checks,
    platform: Platform,
    keyring: Mutex<Keyring>,
    /// When each device's window began, and how many requests it has seen since.
    devices: Mutex<HashMap<Fingerprint, (u64, u64)>>,
    book: Mutex<Book>,
}

impl Checker {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let checks = config.checks.clone();
        let every_us = checks.token_updates_every.as_micros() as u64;
        Ok(Self {
            keyring: Mutex::new(Keyring::new(checks.public_key.as_deref(), every_us)?),
            checks,
            platform: config.provider,
            devices: Mutex::default(),
            book: Mutex::default(),
        })
    }

    /// What is wrong with a request, on a connection that has fixed what `bound` says.
    pub(crate) fn judge(&self, request: &Arrived, bound: &Bound, now: Now) -> Judged {
        match self.platform {
            Platform::Apns => apns::judge(request, bound, self, now),
            Platform::Fcm => fcm::judge(request, &self.checks),
        }
    }

    /// A request that was `judged` to have a lesson was processed: from then on its key is known, and the connection is
    /// for its sender and topic.
    pub(crate) fn learn(&self, request: &Arrived, judged: &Judged, bound: &mut Bound, now: Now) {
        let Some(lesson) = &judged.lesson else { return };
        if let Some(Ok(token)) = request.bearer() {
            lock(&self.keyring).learn(token, now.since_start_us, now.unix_s);
        }
        bound.learn(lesson);
    }

    /// Whom a provider token speaks for.
    pub(super) fn admit(&self, token: &str, now: Now) -> Result<Claims, Finding> {
        lock(&self.keyring).admit(token, now.since_start_us, now.unix_s)
    }

    /// Whether the device takes one more request now.
    pub(crate) fn takes(&self, device: Fingerprint, now_us: u64) -> bool {
        let Some(Quota { requests, window }) = &self.checks.device_rate else { return true };
        let mut devices = lock(&self.devices);
        let (began_us, seen) = devices.entry(device).or_insert((now_us, 0));
        if now_us - *began_us >= window.as_micros() as u64 {
            (*began_us, *seen) = (now_us, 0);
        }
        *seen += 1;
        *seen <= *requests
    }

    /// Counts what was found in a request for `device`.
    pub(crate) fn note(&self, findings: &[Finding], device: Option<Fingerprint>) {
        if !findings.is_empty() {
            lock(&self.book).note(findings, device);
        }
    }

    /// All that was found since the last [`Checker::forget`].
    pub(crate) fn found(&self) -> BTreeMap<String, Found> {
        lock(&self.book).all()
    }

    /// Forgets what was found and how often devices were pushed to; keys and tokens stay known.
    pub(crate) fn forget(&self) {
        lock(&self.book).clear();
        lock(&self.devices).clear();
    }
}

/// A poisoned lock only says that another thread panicked; what is behind it stays whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
