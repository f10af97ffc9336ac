//! Work that falls into independent pieces, on several threads. What comes of it does not depend on their number.

use std::sync::{Mutex, PoisonError};
use std::thread;

/// Does `work` on every piece, on so many threads, the caller's among them.
pub(super) fn each<T: Send>(threads: usize, pieces: impl Iterator<Item = T> + Send, work: impl Fn(T) + Sync) {
    let pieces = Mutex::new(pieces);
    let take = || pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        while let Some(piece) = take() {
            work(piece);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(run);
        }
        run();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_done_once_whatever_the_number_of_threads() {
        for threads in [0, 1, 2, 7] {
            let mut done = vec![0; 100];
            each(threads, done.iter_mut().enumerate(), |(number, place)| *place += number);
            assert!(done.into_iter().eq(0..100), "{threads} threads");
        }
    }
}
