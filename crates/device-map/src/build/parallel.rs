//! Work that falls into independent pieces, on several threads. What comes of it does not depend on their number.

use std::sync::{Mutex, PoisonError};
use std::thread;

/// Does `work` on every piece, on so many threads, the caller's among them; pieces are taken in order.
///
/// # Errors
/// The first that any piece gave; pieces that were not begun by then are left.
pub(super) fn try_each<T: Send, E: Send>(
    threads: usize,
    pieces: impl Iterator<Item = T> + Send,
    work: impl Fn(T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let pieces = Mutex::new((pieces, None));
    let take = || {
        let mut pieces = pieces.lock().unwrap_or_else(PoisonError::into_inner);
        if pieces.1.is_none() { pieces.0.next() } else { None }
    };
    let run = || {
        while let Some(piece) = take() {
            if let Err(error) = work(piece) {
                pieces.lock().unwrap_or_else(PoisonError::into_inner).1.get_or_insert(error);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(run);
        }
        run();
    });
    let (_, error) = pieces.into_inner().unwrap_or_else(PoisonError::into_inner);
    error.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_piece_is_done_once_whatever_the_number_of_threads() {
        for threads in [0, 1, 2, 7] {
            let mut done = vec![0; 100];
            let pieces = done.iter_mut().enumerate();
            try_each(threads, pieces, |(number, place)| {
                *place += number;
                Ok::<_, ()>(())
            })
            .unwrap();
            assert!(done.into_iter().eq(0..100));
        }
    }

    #[test]
    fn after_an_error_nothing_new_is_begun() {
        let begun = AtomicUsize::new(0);
        let failed = try_each(1, 0..100, |number| {
            begun.fetch_add(1, Ordering::Relaxed);
            if number == 3 { Err(number) } else { Ok(()) }
        });
        assert_eq!((failed, begun.into_inner()), (Err(3), 4));
    }
}
