//! The claim on forgetting people, which one resolver does at a time for everybody who waits. It is put again and again while the
//! work lasts, as the row of any other work is: another sees that whoever had it was killed, and goes on.

use backend::Expect;
use backend::rows::Versioned;
use backend::rows::erasure::{self, Claim};

use crate::desk::{AtWork, Desk, Pulse};
use crate::error::{Error, Result};

/// Does `work` unless another resolver is at it; then `None`.
pub(crate) async fn alone<T>(desk: &Desk, work: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    let Some(mut hold) = Hold::take(desk).await? else { return Ok(None) };
    let done = hold.during(work).await.and_then(|done| done);
    match hold.put(true).await {
        // Another took it over meanwhile, and what was done here since is as if it had been killed.
        Ok(()) | Err(Error::Overtaken) => done.map(Some),
        Err(error) => done.and(Err(error)),
    }
}

struct Hold<'a> {
    desk: &'a Desk,
    claim: Versioned<Claim>,
    pulse: Pulse,
}

impl<'a> Hold<'a> {
    async fn take(desk: &'a Desk) -> Result<Option<Self>> {
        let found = erasure::claim(&*desk.backend.store).await?;
        if let Some(row) = found.as_ref().filter(|row| !row.body.is_over)
            && !desk.is_abandoned(erasure::claim_key(), row.version).await?
        {
            return Ok(None);
        }
        let expect = found.map_or(Expect::Absent, |row| Expect::Version(row.version));
        let body = Claim { owner: desk.runtime.randomness.u64(), at: desk.now(), is_over: false };
        match desk.put(erasure::put_claim(&body, expect)).await {
            Ok(version) => {
                Ok(Some(Self { desk, claim: Versioned { version, body }, pulse: Pulse::new(desk) }))
            }
            Err(Error::Overtaken) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn put(&mut self, is_over: bool) -> Result<()> {
        let body = Claim { at: self.desk.now(), is_over, ..self.claim.body };
        let version = self.desk.put(erasure::put_claim(&body, Expect::Version(self.claim.version))).await?;
        self.claim = Versioned { version, body };
        Ok(())
    }
}

impl AtWork for Hold<'_> {
    fn pulse(&mut self) -> (&mut Pulse, &Desk) {
        (&mut self.pulse, self.desk)
    }

    async fn say(&mut self) -> Result<()> {
        self.put(false).await
    }
}
