//! Whether a storm rages, and whom it hits: decided for all threads of a simulator together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use model::Reason;
use model::runtime::mix;

use crate::config::{ConnectionFault, Hits, Storm};
use crate::fingerprint::unit;

/// A storm that has not begun.
const NEVER_US: u64 = u64::MAX;

/// What the threads know together.
#[derive(Debug)]
struct Shared {
    /// Requests for devices so far.
    requests: AtomicU64,
    began_us: AtomicU64,
    /// Connections whose turn has come.
    turns: AtomicU64,
    has_hit_one: AtomicBool,
}

/// The weather; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    storm: Arc<Storm>,
    shared: Arc<Shared>,
    seed: u64,
    /// There is never a storm.
    is_calm: bool,
}

impl Weather {
    pub(crate) fn new(storm: &Storm, seed: u64) -> Self {
        let began_us = if storm.from_request == 0 { 0 } else { NEVER_US };
        let shared = Shared {
            requests: AtomicU64::new(0),
            began_us: AtomicU64::new(began_us),
            turns: AtomicU64::new(0),
            has_hit_one: AtomicBool::new(false),
        };
        let is_calm = storm.is_none();
        Self { storm: Arc::new(storm.clone()), shared: Arc::new(shared), seed, is_calm }
    }

    /// Whether there is never a storm.
    #[inline]
    pub(crate) fn is_calm(&self) -> bool {
        self.is_calm
    }

    /// Its configuration.
    pub(crate) fn storm(&self) -> &Storm {
        &self.storm
    }

    /// A request for a device has arrived; it may be the one that brings the storm.
    pub(crate) fn count(&self, now_us: u64) {
        let requests = self.shared.requests.fetch_add(1, Ordering::Relaxed) + 1;
        if requests == self.storm.from_request {
            self.shared.began_us.store(now_us, Ordering::Relaxed);
        }
    }

    /// Whether the storm rages.
    pub(crate) fn is_on(&self, now_us: u64) -> bool {
        let began_us = self.shared.began_us.load(Ordering::Relaxed);
        !self.is_calm && began_us <= now_us && self.ends_us().is_none_or(|ends_us| now_us < ends_us)
    }

    /// When the storm that has begun is over, if ever.
    pub(crate) fn ends_us(&self) -> Option<u64> {
        let lasts_us = self.storm.lasts?.as_micros() as u64;
        Some(self.shared.began_us.load(Ordering::Relaxed).saturating_add(lasts_us))
    }

    /// What every request is answered now.
    pub(crate) fn answer(&self, now_us: u64) -> Option<Reason> {
        self.storm.answers.filter(|_| self.is_on(now_us))
    }

    /// Whether nobody listens now.
    pub(crate) fn refuses(&self, now_us: u64) -> bool {
        self.storm.refuses && self.is_on(now_us)
    }

    /// From when on credentials that were seen before have expired.
    pub(crate) fn expires_us(&self) -> Option<u64> {
        self.storm.expires_credentials.then(|| self.shared.began_us.load(Ordering::Relaxed))
    }

    /// A connection has had so many requests for devices: whether its turn has come.
    pub(crate) fn is_turn(&self, requests: u64, now_us: u64) -> bool {
        self.storm.connection.is_some() && requests >= self.storm.at_request && self.is_on(now_us)
    }

    /// What happens to a connection whose turn has come, if it is hit.
    pub(crate) fn take_turn(&self) -> Option<ConnectionFault> {
        let turn = self.shared.turns.fetch_add(1, Ordering::Relaxed);
        let is_hit = match self.storm.hits {
            Hits::One => !self.shared.has_hit_one.swap(true, Ordering::Relaxed),
            Hits::Share(share) => unit(mix(self.seed ^ mix(turn))) < share,
            Hits::All => true,
        };
        self.storm.connection.filter(|_| is_hit)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn weather(change: impl FnOnce(&mut Storm)) -> Weather {
        let mut storm = Storm { connection: Some(ConnectionFault::Reset), ..Storm::default() };
        change(&mut storm);
        Weather::new(&storm, 7)
    }

    #[test]
    fn a_storm_begins_with_its_request_and_passes() {
        let weather = weather(|storm| {
            storm.from_request = 3;
            storm.lasts = Some(Duration::from_micros(10));
            storm.answers = Some(Reason::TooManyRequests);
        });
        for _ in 0..2 {
            weather.count(5);
            assert!(!weather.is_on(5));
        }
        weather.count(6);
        assert!(weather.is_on(6) && weather.is_on(15) && !weather.is_on(16));
        assert_eq!((weather.answer(7), weather.answer(16)), (Some(Reason::TooManyRequests), None));
        weather.count(20);
        assert!(!weather.is_on(20), "it comes once");
    }

    #[test]
    fn one_connection_a_share_or_all_are_hit() {
        let hits = |hits| {
            let weather = weather(|storm| storm.hits = hits);
            (0..1_000).filter(|_| weather.take_turn().is_some()).count()
        };
        assert_eq!((hits(Hits::One), hits(Hits::All)), (1, 1_000));
        assert!((200..300).contains(&hits(Hits::Share(0.25))));
        assert!(!weather(|_| {}).is_turn(0, 0) && weather(|_| {}).is_turn(1, 0));
        assert!(Weather::new(&Storm::default(), 0).is_calm());
    }
}
