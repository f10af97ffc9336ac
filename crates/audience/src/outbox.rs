//! Whoever stores an upload enqueues its work afterwards, and may die in between; and the message of work that breaks again and
//! again becomes a dead letter. The rows are the outbox: work at which nobody was for a whole sweep is enqueued again. Twice is
//! harmless, the row decides.

use std::collections::HashMap;

use backend::rows::{Versioned, audience, export, import, inquiry};
use backend::{Outgoing, Queue};
use model::AudienceState;
use model::queued::{LookUp, Resolve, TakeIn, ToResolver, WriteOut};

use crate::desk::Desk;
use crate::error::Result;

const PAGE_ROWS: u32 = 500;

/// What waited at the last sweep, with its row's version.
#[derive(Default)]
pub(crate) struct Outbox {
    seen: HashMap<String, u64>,
}

/// Work that is not over.
struct Waiting {
    id: String,
    version: u64,
    message: ToResolver,
}

impl Outbox {
    /// Enqueues what waited at the last sweep already; returns how many that were.
    pub(crate) async fn sweep(&mut self, desk: &Desk) -> Result<usize> {
        let waiting = all(desk).await?;
        let mut messages = Vec::new();
        for one in &waiting {
            if self.seen.get(&one.id) == Some(&one.version) {
                let body = serde_json::to_string(&one.message).expect("an id always serializes");
                messages.push(Outgoing::now(body));
            }
        }
        // What is enqueued now is new again: it has a whole sweep's time to be begun.
        let is_sent = |one: &Waiting| self.seen.get(&one.id) == Some(&one.version);
        self.seen =
            waiting.iter().filter(|one| !is_sent(one)).map(|one| (one.id.clone(), one.version)).collect();
        let number = messages.len();
        if number > 0 {
            tracing::warn!(number, "work at which nobody was is enqueued again");
            desk.backend.queues.send(Queue::Resolve, messages).await?;
        }
        Ok(number)
    }
}

/// What can wait.
#[derive(Clone, Copy)]
enum Kind {
    Audiences,
    Imports,
    Exports,
    Inquiries,
}

/// A part of all rows of a kind.
struct Part {
    waiting: Vec<Waiting>,
    /// The id of its last row; `None`: there are no more.
    after: Option<String>,
}

impl Part {
    fn of<T>(
        (rows, has_more): (Vec<Versioned<T>>, bool),
        id: impl Fn(&T) -> String,
        message: impl Fn(&T) -> Option<ToResolver>,
    ) -> Self {
        let waiting = rows.iter().filter_map(|row| {
            Some(Waiting { id: id(&row.body), version: row.version, message: message(&row.body)? })
        });
        let after = rows.last().filter(|_| has_more).map(|row| id(&row.body));
        Self { waiting: waiting.collect(), after }
    }

    async fn read(desk: &Desk, kind: Kind, after: &str) -> Result<Self> {
        let store = &*desk.backend.store;
        Ok(match kind {
            Kind::Audiences => Self::of(
                audience::list(store, after, PAGE_ROWS).await?,
                |row| row.id.to_string(),
                |row| {
                    let is_waiting =
                        matches!(row.state, AudienceState::Uploaded | AudienceState::Resolving { .. });
                    is_waiting.then_some(ToResolver::Resolve(Resolve { audience: row.id }))
                },
            ),
            Kind::Imports => Self::of(
                import::list(store, after, PAGE_ROWS).await?,
                |row| row.id.to_string(),
                |row| (!row.state.is_over()).then_some(ToResolver::TakeIn(TakeIn { import: row.id })),
            ),
            Kind::Inquiries => Self::of(
                inquiry::list(store, after, PAGE_ROWS).await?,
                |row| row.id.to_string(),
                |row| (!row.state.is_over()).then_some(ToResolver::LookUp(LookUp { inquiry: row.id })),
            ),
            Kind::Exports => Self::of(
                export::list(store, after, PAGE_ROWS).await?,
                |row| row.id.to_string(),
                |row| (!row.state.is_over()).then_some(ToResolver::WriteOut(WriteOut { export: row.id })),
            ),
        })
    }
}

async fn all(desk: &Desk) -> Result<Vec<Waiting>> {
    let mut waiting = Vec::new();
    for kind in [Kind::Audiences, Kind::Imports, Kind::Exports, Kind::Inquiries] {
        let mut after = Some(String::new());
        while let Some(last) = after {
            let part = Part::read(desk, kind, &last).await?;
            waiting.extend(part.waiting);
            after = part.after;
        }
    }
    Ok(waiting)
}
