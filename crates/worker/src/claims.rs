//! Claiming just before the first write: conditional writes in batches. Most shards were never claimed, so the first
//! write expects no row; what meets one is judged by it.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backend::Queue;
use backend::queues::LEASE;
use backend::rows::shard::{self, Before, ShardRow, Standing, StoredShard};
use backend::store::{Expect, Written};
use model::{Monotonic, Timestamp};
use push::{Refused, ShardWork, Side, WhyOpen};
use report::{ShardRecord, Stage};
use tracing::warn;

use crate::held::{Held, Row};
use crate::intake::{Candidate, Fate};
use crate::judge::{self, Meeting};
use crate::keys::ShardKeys;
use crate::late_list;
use crate::{News, Worker};

/// A claim on its way into the store.
struct Claiming<S> {
    candidate: Candidate<S>,
    before: Before,
    known: Option<ShardRecord>,
    row: ShardRow,
    expect: Expect,
}

/// Everything that one batch of claims has in common.
#[derive(Clone, Copy)]
struct Times {
    now: Timestamp,
    monotonic: Monotonic,
}

impl<S: Side> Worker<S> {
    /// Claims and submits; the fates of the messages that were not.
    pub(crate) async fn claim(&self, queue: Queue, candidates: Vec<Candidate<S>>) -> Vec<(String, Fate)> {
        let mut fates = Vec::new();
        let times = Times { now: self.now(), monotonic: self.monotonic() };
        let mut claimings = Vec::new();
        for candidate in candidates {
            if self.table.reserve(candidate.name) {
                claimings.push(self.first_claim(candidate, times));
            } else {
                // The other delivery of it decides; this one is looked at when that must be over.
                fates.push((candidate.receipt, Fate::Later(LEASE)));
            }
        }
        // Once for those that nobody had, once for those whose row said how they may be had.
        for _ in 0..2 {
            if claimings.is_empty() {
                break;
            }
            let met = self.write_claims(&claimings).await;
            let mut again = Vec::new();
            for (claiming, met) in claimings.into_iter().zip(met) {
                match met {
                    Met::Claimed(version) => self.submit(queue, claiming, version, times, &mut fates),
                    Met::Row(stored) => match self.next_claim(claiming, *stored, times) {
                        Ok(claiming) => again.push(claiming),
                        Err((receipt, fate)) => fates.push((receipt, fate)),
                    },
                    Met::Nobody => {
                        self.table.release(&claiming.candidate.name);
                        fates.push((claiming.candidate.receipt, Fate::Later(self.config.retry_every)));
                    }
                    Met::Unknown => {
                        self.table.release(&claiming.candidate.name);
                        fates.push((claiming.candidate.receipt, Fate::Leave));
                    }
                }
            }
            claimings = again;
        }
        for claiming in claimings {
            self.table.release(&claiming.candidate.name);
            fates.push((claiming.candidate.receipt, Fate::Later(Duration::from_millis(50))));
        }
        fates
    }

    fn first_claim(&self, candidate: Candidate<S>, times: Times) -> Claiming<S> {
        let before = Before::default();
        let claim = judge::claim(before, self.owner, times.now + LEASE);
        let row = judge::claimed(None, claim);
        Claiming { candidate, before, known: None, row, expect: Expect::Absent }
    }

    /// The claim after a row was met, or the message's fate.
    fn next_claim(
        &self,
        claiming: Claiming<S>,
        stored: StoredShard,
        times: Times,
    ) -> Result<Claiming<S>, (String, Fate)> {
        let standing = Standing::of(Some(&stored.row), times.now, self.config.clock_error);
        let policy = claiming.candidate.active.launch.policy.on_unknown;
        let fate = match judge::meet(standing, times.now, policy, self.config.attempts_max) {
            Meeting::Recorded => Fate::Delete,
            Meeting::Later(delay) => Fate::Later(delay),
            Meeting::Claim(before) => match stored.row.read_record() {
                Ok(known) => {
                    let claim = judge::claim(before, self.owner, times.now + LEASE);
                    let expect = Expect::Version(stored.version);
                    let row = judge::claimed(Some(stored.row), claim);
                    return Ok(Claiming { before, known, row, expect, ..claiming });
                }
                Err(failure) => {
                    warn!(error = &failure as &dyn std::error::Error, "a shard's record cannot be read");
                    Fate::Leave
                }
            },
        };
        self.table.release(&claiming.candidate.name);
        Err((claiming.candidate.receipt, fate))
    }

    async fn write_claims(&self, claimings: &[Claiming<S>]) -> Vec<Met> {
        let write =
            |claiming: &Claiming<S>| shard::put(&claiming.candidate.name, &claiming.row, claiming.expect);
        match self.backend.store.write(claimings.iter().map(write).collect()).await {
            Ok(written) => written.into_iter().map(met).collect(),
            Err(failure) => {
                warn!(error = &failure as &dyn std::error::Error, "claims may be lost; their rows are read");
                self.read_claims(claimings).await
            }
        }
    }

    /// After a write of which nobody knows whether it was done.
    async fn read_claims(&self, claimings: &[Claiming<S>]) -> Vec<Met> {
        let names: Vec<_> = claimings.iter().map(|claiming| claiming.candidate.name).collect();
        let Ok(rows) = self.retried(|| shard::get(&*self.backend.store, &names)).await else {
            return claimings.iter().map(|_| Met::Unknown).collect();
        };
        let met = |(claiming, stored): (&Claiming<S>, Option<StoredShard>)| match stored {
            Some(stored) if stored.row == claiming.row => Met::Claimed(stored.version),
            Some(stored) => Met::Row(Box::new(stored)),
            None => Met::Nobody,
        };
        claimings.iter().zip(rows).map(met).collect()
    }

    /// Hands a claimed shard to the engine.
    fn submit(
        &self,
        queue: Queue,
        claiming: Claiming<S>,
        version: u64,
        times: Times,
        fates: &mut Vec<(String, Fate)>,
    ) {
        let Claiming { candidate, before, known, row, .. } = claiming;
        let Candidate { name, message, receipt, active, all, received_at, permit } = candidate;
        let prepared = (|| {
            let snapshot = self.snapshots.get(message.snapshot)?;
            let content = active.message(message.group, times.now, times.monotonic).ok()?;
            let gate = active.lane(&message)?.gate.clone();
            Some((snapshot, content, gate))
        })();
        let Some((snapshot, content, gate)) = prepared else {
            // All three were there a moment ago; the lease ends, and whoever comes next has them or not.
            self.table.release(&name);
            fates.push((receipt, Fate::Leave));
            return;
        };
        let place = (message.group, message.start, message.count);
        let users = self.late_list.users(message.snapshot);
        let (sent, suppressed) =
            late_list::part(judge::to_send(known.as_ref(), &all), users.as_deref(), &snapshot, place);
        let group_start = active.group_starts[message.group as usize];
        let keys = ShardKeys::new(snapshot, message.group, message.start, group_start, &sent);
        let lease_until = Arc::new(AtomicU64::new((times.monotonic + LEASE).0));
        let row = Row { row, version, renewed_at: times.monotonic };
        let held = Arc::new(Held {
            id: self.table.next_id(),
            name,
            queue,
            receipt,
            before,
            known,
            all,
            sent,
            suppressed,
            row: Mutex::new(row),
            lease_until: Arc::clone(&lease_until),
            permit: Mutex::new(permit),
            counted: Mutex::default(),
            message,
            active: Arc::clone(&active),
        });
        let work = ShardWork {
            id: held.id,
            message: content,
            keys,
            launch: gate,
            lease_until,
            is_taken_over: before.is_started || name.attempt > 0,
            is_doubtful: false,
            on_unknown: active.launch.policy.on_unknown,
            pressed: active.pressed,
        };
        self.note_claimed(&held, received_at);
        self.table.insert(&held);
        if held.sent.is_empty() || matches!(self.engine.submit(work), Err(Refused(_))) {
            self.hand_in(untouched(&held));
        }
    }

    /// A shard that never went through the engine takes the same way as those that did.
    fn hand_in(&self, done: push::ShardDone) {
        if self.outbox.try_send(News::Done(done)).is_err() {
            warn!("no room for a finished shard: its lease ends, and somebody takes it over");
        }
    }

    fn note_claimed(&self, held: &Held<S>, received_at: Timestamp) {
        let active = &held.active;
        active.count_in_flight(1);
        let (received_us, claimed_us) = (active.us_at(received_at), active.us_at(self.now()));
        let mut counted = active.counted();
        counted.changed_at = self.monotonic();
        if held.is_burst() {
            counted.reach(Stage::Receive, received_us);
            counted.reach(Stage::Claim, claimed_us);
        }
    }
}

/// A shard that the engine did not take.
fn untouched<S: Side>(held: &Held<S>) -> push::ShardDone {
    let devices = held.sent.count();
    push::ShardDone {
        id: held.id,
        outcomes: vec![judge::OPEN; devices as usize],
        answered_us: vec![push::NO_ANSWER; devices as usize],
        requests: 0,
        not_processed: 0,
        first_write: None,
        last_answer: None,
        open: (0..devices).collect(),
        why_open: Some(WhyOpen::Held),
        dead: Vec::new(),
        stop: None,
        quota_pause: None,
        retry_after: None,
    }
}

/// What a claim met in the store.
enum Met {
    /// It is there now, with this version.
    Claimed(u64),
    /// A row that it did not expect.
    Row(Box<StoredShard>),
    /// No row, where there should be one or where the claim was not done.
    Nobody,
    /// Nobody knows: the claim may be there, and its lease then keeps everybody out.
    Unknown,
}

fn met(written: Written) -> Met {
    match written {
        Written::Done(version) => Met::Claimed(version),
        Written::Conflict(Some(row)) => {
            shard::stored(&row).map_or(Met::Unknown, |row| Met::Row(Box::new(row)))
        }
        Written::Conflict(None) => Met::Nobody,
    }
}
