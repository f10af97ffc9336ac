//! Decides what happens to each request. [`Rules`] are pure, so that whoever made the population can predict every
//! answer; [`Judge`] adds what depends on the past: attempts, quotas, credentials and every n-th request.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Platform, Reason};

use crate::config::{Config, Faults, ListedFault, Manner, Quota};
use crate::fingerprint::{Fingerprint, is_dead, threshold};
use crate::weather::Weather;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether and how it is answered.
    pub manner: Manner,
    /// [`Reason::None`] accepts it.
    pub reason: Reason,
    /// A 429 of the project's quota, not of the device.
    pub is_project_quota: bool,
}

impl Verdict {
    /// Answered with 200.
    pub const ACCEPTED: Self = Self::answered(Reason::None);

    /// Answered with `reason`.
    pub const fn answered(reason: Reason) -> Self {
        Self { manner: Manner::Answered, reason, is_project_quota: false }
    }

    /// Whether the provider acted on the request: accepted it or found the device wanting.
    pub const fn is_processed(self) -> bool {
        !matches!(self.manner, Manner::Refused | Manner::DroppedBefore) && !self.reason.is_transient()
    }

    /// Whether the notification would have gone on to the device.
    pub const fn is_accepted(self) -> bool {
        self.is_processed() && matches!(self.reason, Reason::None)
    }
}

const LASTING: u64 = 1;
const PASSING: u64 = 1_000;

/// The part of the faults that seed and key decide.
#[derive(Clone, Debug)]
pub struct Rules {
    seed: u64,
    dead_seed: u64,
    dead_share: f64,
    dead_reason: Reason,
    /// Upper bounds of a draw, ascending, and what lies below each.
    lasting: Vec<(u64, Reason)>,
    passing: Vec<(u64, Verdict)>,
}

impl Rules {
    /// The rules of a configuration.
    pub fn of(config: &Config) -> Self {
        let faults = &config.faults;
        let (passing, lasting): (Vec<_>, Vec<_>) =
            faults.shares.0.iter().partition(|(reason, _)| reason.is_transient());
        let manner = |manner| Verdict { manner, ..Verdict::ACCEPTED };
        let manners = [
            (manner(Manner::Refused), faults.refused),
            (manner(Manner::DroppedBefore), faults.dropped_before),
            (manner(Manner::DroppedAfter), faults.dropped_after),
            (manner(Manner::Silent), faults.silent),
        ];
        let passing = passing.into_iter().map(|(reason, share)| (Verdict::answered(*reason), *share));
        Self {
            seed: config.seed,
            dead_seed: faults.dead_seed.unwrap_or(config.seed),
            dead_share: faults.dead,
            dead_reason: match config.provider {
                Platform::Apns => Reason::Unregistered,
                Platform::Fcm => Reason::FcmUnregistered,
            },
            lasting: bounds(lasting.into_iter().map(|(reason, share)| (*reason, *share))),
            passing: bounds(manners.into_iter().chain(passing)),
        }
    }

    /// What every request of `key` that is answered for good is answered: a reason, or [`Reason::None`] for 200.
    pub fn lasting(&self, key: Fingerprint) -> Reason {
        if self.dead_share > 0.0 && is_dead(self.dead_seed, key, self.dead_share) {
            return self.dead_reason;
        }
        below(&self.lasting, || key.draw(self.seed, LASTING)).unwrap_or(Reason::None)
    }

    /// The passing fault of a key that had `attempt` of them before, if the next request meets one.
    pub fn passing(&self, key: Fingerprint, attempt: u32) -> Option<Verdict> {
        let mut verdict = below(&self.passing, || key.draw(self.seed, PASSING + u64::from(attempt)))?;
        if verdict.manner != Manner::Answered {
            verdict.reason = self.lasting(key);
        }
        Some(verdict)
    }

    fn is_quiet(&self) -> bool {
        self.dead_share == 0.0 && self.lasting.is_empty() && self.passing.is_empty()
    }
}

fn bounds<T>(shares: impl Iterator<Item = (T, f64)>) -> Vec<(u64, T)> {
    let mut total = 0.0;
    let with_share = shares.filter(|(_, share)| *share > 0.0);
    with_share
        .map(|(item, share)| {
            total += share;
            (threshold(total), item)
        })
        .collect()
}

fn below<T: Copy>(bounds: &[(u64, T)], draw: impl FnOnce() -> u64) -> Option<T> {
    let (highest, _) = bounds.last()?;
    let draw = draw();
    if draw >= *highest {
        return None;
    }
    bounds.iter().find(|(bound, _)| draw < *bound).map(|(_, item)| *item)
}

/// What all threads of a simulator decide together.
#[derive(Debug)]
struct Shared {
    rules: Rules,
    listed: HashMap<Fingerprint, ListedFault>,
    /// How often each key had a passing or a listed fault.
    attempts: Mutex<HashMap<Fingerprint, u32>>,
    arrivals: AtomicU64,
    /// The quota's window: when it started and how many requests it has seen.
    window: Mutex<(u64, u64)>,
    credentials: Mutex<HashSet<u64>>,
}

/// Judges requests; clones share their memory.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    shared: Arc<Shared>,
    pub(crate) weather: Weather,
    drop_before_every: Option<u64>,
    drop_after_every: Option<u64>,
    quota: Option<Quota>,
    expire_at_us: Option<u64>,
    /// Nothing at all can go wrong with a key.
    is_quiet: bool,
}

impl Judge {
    pub(crate) fn new(config: &Config) -> Self {
        let Faults { listed, drop_before_every, drop_after_every, quota, credentials_expire_after, .. } =
            &config.faults;
        let rules = Rules::of(config);
        let counts = [*drop_before_every, *drop_after_every].iter().any(Option::is_some);
        let is_quiet = rules.is_quiet() && listed.is_empty() && !counts && quota.is_none();
        let shared = Shared {
            rules,
            listed: listed.iter().map(|fault| (fault.key, fault.clone())).collect(),
            attempts: Mutex::default(),
            arrivals: AtomicU64::new(0),
            window: Mutex::default(),
            credentials: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
            weather: Weather::new(&config.faults.storm, config.seed),
            drop_before_every: *drop_before_every,
            drop_after_every: *drop_after_every,
            quota: quota.clone(),
            expire_at_us: credentials_expire_after.map(|after| after.as_micros() as u64),
            is_quiet,
        }
    }

    /// What happens to a request of `key` that arrived at `now_us`.
    #[inline]
    pub(crate) fn judge(&self, key: Fingerprint, now_us: u64) -> Verdict {
        if self.is_quiet { Verdict::ACCEPTED } else { self.judge_fault(key, now_us) }
    }

    /// What happens to a request whatever its key: only the quota can refuse it.
    pub(crate) fn pass(&self, now_us: u64) -> Verdict {
        if self.takes_from_quota(now_us) {
            return Verdict::ACCEPTED;
        }
        Verdict { is_project_quota: true, ..Verdict::answered(Reason::QuotaExceeded) }
    }

    fn judge_fault(&self, key: Fingerprint, now_us: u64) -> Verdict {
        let verdict = self.pass(now_us);
        if verdict != Verdict::ACCEPTED {
            return verdict;
        }
        if let Some(verdict) = self.listed(key) {
            return verdict;
        }
        if let Some(manner) = self.every_nth() {
            return Verdict { manner, ..Verdict::answered(self.shared.rules.lasting(key)) };
        }
        if let Some(first) = self.shared.rules.passing(key, 0) {
            let mut attempts = lock(&self.shared.attempts);
            let attempt = attempts.entry(key).or_default();
            let next = if *attempt == 0 { Some(first) } else { self.shared.rules.passing(key, *attempt) };
            if let Some(verdict) = next {
                *attempt += 1;
                return verdict;
            }
        }
        Verdict::answered(self.shared.rules.lasting(key))
    }

    fn listed(&self, key: Fingerprint) -> Option<Verdict> {
        let fault = self.shared.listed.get(&key)?;
        if let Some(times) = fault.times {
            let mut attempts = lock(&self.shared.attempts);
            let attempt = attempts.entry(key).or_default();
            if *attempt >= times {
                return None;
            }
            *attempt += 1;
        }
        Some(Verdict { manner: fault.manner, ..Verdict::answered(fault.reason) })
    }

    fn every_nth(&self) -> Option<Manner> {
        if self.drop_before_every.is_none() && self.drop_after_every.is_none() {
            return None;
        }
        let arrival = self.shared.arrivals.fetch_add(1, Ordering::Relaxed) + 1;
        let is_nth =
            |every: Option<u64>| every.is_some_and(|every| every > 0 && arrival.is_multiple_of(every));
        match (is_nth(self.drop_before_every), is_nth(self.drop_after_every)) {
            (true, _) => Some(Manner::DroppedBefore),
            (false, true) => Some(Manner::DroppedAfter),
            (false, false) => None,
        }
    }

    fn takes_from_quota(&self, now_us: u64) -> bool {
        let Some(quota) = &self.quota else { return true };
        let window_us = quota.window.as_micros() as u64;
        let mut window = lock(&self.shared.window);
        let (start_us, count) = &mut *window;
        if *count == 0 || now_us.saturating_sub(*start_us) >= window_us {
            (*start_us, *count) = (now_us, 0);
        }
        *count += 1;
        *count <= quota.requests
    }

    /// Seconds until the quota is refilled, rounded up.
    pub(crate) fn quota_refilled_in_s(&self, now_us: u64) -> u64 {
        let Some(quota) = &self.quota else { return 0 };
        let end_us = lock(&self.shared.window).0 + quota.window.as_micros() as u64;
        end_us.saturating_sub(now_us).div_ceil(1_000_000).max(1)
    }

    /// Whether credentials have to be looked at.
    pub(crate) fn watches_credentials(&self) -> bool {
        self.expire_at_us.is_some() || self.weather.storm().expires_credentials
    }

    /// Whether this credential (its hash) has expired at `now_us`.
    pub(crate) fn is_expired(&self, credential: u64, now_us: u64) -> bool {
        let Some(expire_at_us) = self.expire_at_us.or_else(|| self.weather.expires_us()) else {
            return false;
        };
        let mut known = lock(&self.shared.credentials);
        if now_us < expire_at_us {
            known.insert(credential);
            return false;
        }
        known.contains(&credential)
    }
}

/// A poisoned lock only says that another thread panicked; counts behind it stay whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
