//! When tokens are renewed, by whom, and who shares them.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll, Waker};

use super::*;

const RENEWAL: Renewal = crate::apns::auth::RENEWAL;

#[derive(Debug, Default)]
struct Mint(AtomicUsize);

#[async_trait]
impl TokenSource for Mint {
    async fn token(&self, now: Timestamp) -> Result<Token, Error> {
        // Whoever else wants one meanwhile gets its chance.
        tokio::task::yield_now().await;
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        let text = Secret::new(format!("token {number}"));
        Ok(Token { text, minted_at: now, good_until: now + Duration::from_secs(3_600) })
    }

    fn name(&self) -> String {
        "mint".into()
    }

    fn renewal(&self) -> Renewal {
        RENEWAL
    }

    fn is_throw_away(&self) -> bool {
        true
    }
}

#[derive(Debug, Default)]
struct Shelf(Mutex<Option<Token>>);

#[async_trait]
impl TokenShelf for Shelf {
    async fn take(&self, _credential: &str) -> Option<Token> {
        self.0.lock().unwrap().clone()
    }

    async fn offer(&self, _credential: &str, token: Token, instead_of: Option<Timestamp>) -> Token {
        let mut standing = self.0.lock().unwrap();
        if standing.as_ref().map(|token| token.minted_at) == instead_of {
            *standing = Some(token);
        }
        standing.clone().unwrap()
    }
}

fn minutes(minutes: u64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + minutes * 60)
}

/// Runs futures in turn until all are done.
fn run<F: Future>(futures: impl IntoIterator<Item = F>) {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..1_000 {
        futures.retain_mut(|future| future.as_mut().poll(&mut context).is_pending());
        if futures.is_empty() {
            return;
        }
    }
    panic!("a future never ended");
}

fn keep(cell: &TokenCell, now: Timestamp, is_busy: bool) {
    let mut keeping = pin!(cell.keep(now, is_busy));
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..100 {
        if let Poll::Ready(result) = keeping.as_mut().poll(&mut context) {
            return result.unwrap();
        }
    }
    panic!("renewing never ended");
}

fn cell() -> (Arc<Mint>, TokenCell) {
    let mint = Arc::new(Mint::default());
    let cell = TokenCell::new(mint.clone(), Arc::new(NoShelf), RENEWAL);
    (mint, cell)
}

#[test]
fn a_token_is_renewed_ahead_when_idle_and_at_the_latest_before_it_is_an_hour_old() {
    let (_, cell) = cell();
    keep(&cell, minutes(0), false);
    let at = |minute, is_busy| {
        keep(&cell, minutes(minute), is_busy);
        cell.generation()
    };
    assert_eq!(at(39, false), 1);
    assert_eq!(at(54, true), 1, "not in a burst");
    assert_eq!(at(55, true), 2);
    assert_eq!(at(55 + 40, false), 3, "ahead when idle");
}

#[test]
fn a_refused_token_is_renewed_but_not_before_it_is_twenty_minutes_old() {
    let (mint, cell) = cell();
    keep(&cell, minutes(0), true);
    cell.refuse(1);
    assert!(!cell.is_usable());
    keep(&cell, minutes(19), true);
    assert!(!cell.is_usable(), "renewing more often looks like an attack");
    keep(&cell, minutes(20), true);
    assert!(cell.is_usable());
    cell.refuse(1);
    assert!(cell.is_usable(), "an old token's refusal says nothing about the new one");
    assert_eq!(mint.0.load(Ordering::Relaxed), 2);
}

#[test]
fn a_provider_that_finds_tokens_come_too_often_gets_the_older_one_back() {
    let (mint, cell) = cell();
    keep(&cell, minutes(0), false);
    let first = cell.current().unwrap().1;
    keep(&cell, minutes(41), false);
    cell.keep_older(1, minutes(42));
    assert_ne!(cell.current().unwrap().1, first, "said of a token that is gone already");
    cell.keep_older(2, minutes(42));
    assert_eq!(cell.current(), Some((3, first)));
    keep(&cell, minutes(61), true);
    assert_eq!(mint.0.load(Ordering::Relaxed), 2, "none is minted for a while");
    keep(&cell, minutes(62), true);
    assert_eq!(mint.0.load(Ordering::Relaxed), 3);
}

#[test]
fn one_renewal_serves_all_who_wait() {
    let (mint, cell) = cell();
    run((0..10).map(|_| cell.keep(minutes(0), false)));
    assert_eq!(mint.0.load(Ordering::Relaxed), 1);
    assert_eq!(cell.generation(), 1);
}

#[test]
fn a_fleet_shares_one_token() {
    let mint = Arc::new(Mint::default());
    let shelf = Arc::new(Shelf::default());
    let cells: Vec<_> = (0..5).map(|_| TokenCell::new(mint.clone(), shelf.clone(), RENEWAL)).collect();
    run(cells.iter().map(|cell| cell.keep(minutes(0), false)));
    let texts: Vec<_> = cells.iter().map(|cell| cell.current().unwrap().1.text).collect();
    assert!(texts.iter().all(|text| *text == texts[0]), "who lost the race takes what stands");
    let minted = mint.0.load(Ordering::Relaxed);
    for cell in &cells {
        keep(cell, minutes(45), false);
    }
    assert_eq!(mint.0.load(Ordering::Relaxed), minted + 1, "the first to renew renews for all");
    let newest = cells[0].current().unwrap().1;
    assert!(cells.iter().all(|cell| cell.current().unwrap().1 == newest));
}
