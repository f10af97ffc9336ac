//! People of a file on their way onto the late list. Their ids are hashed as they are read and kept as hashes only; whoever is on
//! the list as asked already is counted and forgotten, so that memory is that of the list and of those who are new to it.

use std::sync::Arc;

use backend::rows::suppression::{self, Change, Current};
use model::Timestamp;
use model::suppression::{Cause, Entry, HashKey, Suppressed, UserHash};

use crate::desk::Desk;
use crate::error::{Error, Failure, Result};
use crate::rows::Rows;
use crate::upload::{STEP_ROWS, failure, step};

/// New people before they are sorted for the first time.
const SORT_MIN: usize = 1 << 20;

/// People being read.
pub(crate) struct Gathering {
    /// The list as it stood when reading began.
    people: Arc<Suppressed>,
    key: HashKey,
    cause: Cause,
    /// Those who are not on it as asked. Some stand there twice until they are sorted.
    news: Vec<UserHash>,
    /// Most people on the list.
    most: u64,
    /// When they are sorted next.
    sort_at: usize,
}

/// Everybody of a file who was not on the list as asked.
#[derive(Clone)]
pub(crate) struct Gathered {
    cause: Cause,
    news: Arc<Vec<UserHash>>,
}

impl Gathering {
    pub(crate) async fn begin(desk: &Desk, cause: Cause) -> Result<Self> {
        let (store, blobs) = (&*desk.backend.store, &*desk.backend.blobs);
        let people = Arc::new(suppression::current(store, blobs).await?.people);
        let key = suppression::hash_key(store, &*desk.runtime.randomness).await?;
        let most = desk.config.limits.late_list_max;
        Ok(Self { people, key, cause, news: Vec::new(), most, sort_at: SORT_MIN })
    }

    /// Reads a part of the file; true at its end.
    pub(crate) fn read_some(mut self, mut rows: Rows) -> std::result::Result<(Self, Rows, bool), Failure> {
        for _ in 0..STEP_ROWS {
            let Some(user) = rows.next_user().map_err(failure)? else { return Ok((self, rows, true)) };
            self.push(self.key.user(user))?;
        }
        Ok((self, rows, false))
    }

    fn push(&mut self, user: UserHash) -> std::result::Result<(), Failure> {
        if self.people.find(&user).is_none_or(|known| known < self.cause) {
            self.news.push(user);
            if self.news.len() >= self.sort_at {
                self.sort()?;
            }
        }
        Ok(())
    }

    fn sort(&mut self) -> std::result::Result<(), Failure> {
        self.news.sort_unstable();
        self.news.dedup();
        self.sort_at = SORT_MIN.max(2 * self.news.len());
        let (most, before) = (self.most, self.people.len());
        // Whoever only gets a stronger cause is among them: looked at when it matters.
        let came = || self.news.iter().filter(|user| self.people.find(user).is_none()).count();
        if (before + self.news.len()) as u64 > most && (before + came()) as u64 > most {
            return Err(Failure::Refused(format!(
                "the late list would have more than {most} people (uploads.late_list_max)"
            )));
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> std::result::Result<Gathered, Failure> {
        self.sort()?;
        Ok(Gathered { cause: self.cause, news: Arc::new(self.news) })
    }
}

impl Gathered {
    /// The change of the list as it stands now, its blob stored; `None` when everybody is on it.
    pub(crate) async fn change(&self, desk: &Desk) -> std::result::Result<Option<Change>, Failure> {
        let (store, blobs, since) = (&*desk.backend.store, &*desk.backend.blobs, desk.now());
        let current = suppression::current(store, blobs).await?;
        let (gathered, randomness) = (self.clone(), Arc::clone(&desk.runtime.randomness));
        let changing = step(move || Ok(gathered.change_of(current, &*randomness, since)));
        let Some(mut change) = changing.await? else { return Ok(None) };
        change.store_blob(blobs).await.map_err(Error::from)?;
        Ok(Some(change))
    }

    fn change_of(
        &self,
        current: Current,
        randomness: &dyn model::runtime::Randomness,
        since: Timestamp,
    ) -> Option<Change> {
        let entry = |user: &UserHash| Entry { user: *user, cause: self.cause, since };
        current.change(randomness, since, self.news.iter().map(entry), &[])
    }
}
