//! The tokens that requests carry: one for all threads and, through a shelf, for the whole fleet; renewed by one at a
//! time, not too often, not too late, and not in a burst.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use model::Timestamp;

use crate::error::Error;
use crate::secret::Secret;

/// A provider token (APNs) or an access token (FCM).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// As it stands behind `bearer`.
    pub text: Secret,
    /// When its age began.
    pub minted_at: Timestamp,
    /// When the provider stops taking it.
    pub good_until: Timestamp,
}

/// At which age a token is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// Never before, even when the provider refuses the token.
    pub soonest: Duration,
    /// From then on, when nothing is being sent.
    pub ahead: Duration,
    /// From then on, whatever is being sent.
    pub latest: Duration,
}

impl Renewal {
    /// Whether a token is to be renewed now. `is_refused`: the provider no longer takes it.
    pub fn is_due(&self, token: &Token, now: Timestamp, is_busy: bool, is_refused: bool) -> bool {
        let age = now.since(token.minted_at);
        let is_late = age >= self.latest || now >= token.good_until;
        let is_idle_time = age >= self.ahead && !is_busy;
        age >= self.soonest && (is_late || is_idle_time || is_refused)
    }
}

/// Makes tokens for one credential.
#[async_trait]
pub trait TokenSource: Send + Sync + Debug {
    /// A new token.
    async fn token(&self, now: Timestamp) -> Result<Token, Error>;

    /// The credential's name: the same in every process that uses it, and no secret.
    fn name(&self) -> String;

    /// When its tokens are renewed.
    fn renewal(&self) -> Renewal;

    /// Whether no provider has ever seen the key behind it.
    fn is_throw_away(&self) -> bool;
}

/// Where the processes of a fleet find the token that they share.
#[async_trait]
pub trait TokenShelf: Send + Sync + Debug {
    /// The token that the fleet uses for a credential. An error of the store is `None`: a process then uses its own.
    async fn take(&self, credential: &str) -> Option<Token>;

    /// Puts `token` there unless somebody else has replaced `instead_of` in the meantime; answers the one that stands.
    async fn offer(&self, credential: &str, token: Token, instead_of: Option<Timestamp>) -> Token;
}

/// For a process that shares its tokens with nobody.
#[derive(Debug, Default)]
pub struct NoShelf;

#[async_trait]
impl TokenShelf for NoShelf {
    async fn take(&self, _credential: &str) -> Option<Token> {
        None
    }

    async fn offer(&self, _credential: &str, token: Token, _instead_of: Option<Timestamp>) -> Token {
        token
    }
}

#[derive(Debug, Default)]
struct Current {
    token: Option<Token>,
    /// The one before, in case the provider finds that tokens come too often.
    older: Option<Token>,
    /// No renewal before this.
    held_until: Timestamp,
}

/// The current token of a credential, as sending threads see it. A generation counts its changes; 0: none yet.
#[derive(Debug)]
pub(crate) struct TokenCell {
    source: Arc<dyn TokenSource>,
    shelf: Arc<dyn TokenShelf>,
    renewal: Renewal,
    generation: AtomicU64,
    refused: AtomicU64,
    current: Mutex<Current>,
    /// One renewal at a time.
    flight: tokio::sync::Mutex<()>,
}

impl TokenCell {
    pub(crate) fn new(source: Arc<dyn TokenSource>, shelf: Arc<dyn TokenShelf>, renewal: Renewal) -> Self {
        Self {
            source,
            shelf,
            renewal,
            generation: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            current: Mutex::default(),
            flight: tokio::sync::Mutex::new(()),
        }
    }

    /// Which token is current; cheap.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether the current token may be used: there is one, and the provider has not refused it.
    #[inline]
    pub(crate) fn is_usable(&self) -> bool {
        !self.is_refused(self.generation())
    }

    /// The current token and its generation.
    pub(crate) fn current(&self) -> Option<(u64, Token)> {
        let current = self.lock();
        current.token.as_ref().map(|token| (self.generation(), token.clone()))
    }

    /// The provider has refused the token of this generation.
    pub(crate) fn refuse(&self, generation: u64) {
        self.refused.fetch_max(generation, Ordering::Relaxed);
    }

    /// Whether the provider has refused the token of this generation, or one after it.
    #[inline]
    pub(crate) fn is_refused(&self, generation: u64) -> bool {
        generation <= self.refused.load(Ordering::Relaxed)
    }

    /// The provider finds that tokens are renewed too often: none is minted for a while, and the older one serves as
    /// long as it is good. Refusals of a token that is no longer in use change nothing.
    pub(crate) fn keep_older(&self, generation: u64, now: Timestamp) {
        let mut current = self.lock();
        if generation != self.generation() {
            return;
        }
        current.held_until = now + self.renewal.soonest;
        let is_good =
            |older: &Token| now.since(older.minted_at) < self.renewal.latest && now < older.good_until;
        if let Some(older) = current.older.take().filter(is_good) {
            current.token = Some(older);
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Whether a token is wanted that [`TokenCell::keep`] has not brought yet.
    pub(crate) fn is_wanting(&self) -> bool {
        !self.is_usable()
    }

    /// Renews the token if it is time. Callers that come while another renews wait for its result.
    pub(crate) async fn keep(&self, now: Timestamp, is_busy: bool) -> Result<(), Error> {
        if !self.is_due(now, is_busy) {
            return Ok(());
        }
        let _flight = self.flight.lock().await;
        if !self.is_due(now, is_busy) {
            return Ok(());
        }
        let name = self.source.name();
        let ours = self.lock().token.as_ref().map(|token| token.minted_at);
        if let Some(theirs) = self.shelf.take(&name).await
            && Some(theirs.minted_at) > ours
            && !self.renewal.is_due(&theirs, now, true, false)
        {
            self.put(theirs);
            return Ok(());
        }
        let minted = self.source.token(now).await?;
        let standing = self.shelf.offer(&name, minted, ours).await;
        self.put(standing);
        Ok(())
    }

    fn is_due(&self, now: Timestamp, is_busy: bool) -> bool {
        let is_refused = self.is_wanting();
        let current = self.lock();
        let is_due = |token: &Token| self.renewal.is_due(token, now, is_busy, is_refused);
        now >= current.held_until && current.token.as_ref().is_none_or(is_due)
    }

    fn put(&self, token: Token) {
        let mut current = self.lock();
        current.older = current.token.replace(token);
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        // Nothing is done under the lock that could leave a half-written token.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
