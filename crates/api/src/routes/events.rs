//! Progress as server-sent events: each carries the whole state, so that a reader who comes back needs only the newest.

use std::convert::Infallible;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt as _};
use model::LaunchId;

use super::live::{Figures, Standing, figures};
use super::report;
use crate::Api;
use crate::extract::Place;
use crate::problem::Result;

/// Follow a launch: an event whenever something changed, five times a second while it runs; the last has `is_over`. Ids are
/// milliseconds since the press. An event holds all figures, so a reader who reconnects with `Last-Event-ID` misses nothing.
#[utoipa::path(get, path = "/v1/launches/{id}/events", tag = "launch", params(("id" = String, Path)),
    responses((status = 200, content_type = "text/event-stream", body = Figures)))]
pub(crate) async fn events(
    State(api): State<Api>,
    Place(id): Place<LaunchId>,
) -> Result<Sse<impl Stream<Item = std::result::Result<Event, Infallible>>>> {
    let standing = Standing::read(&api, id).await?;
    let keep_alive = KeepAlive::new().interval(std::time::Duration::from_secs(5));
    let follow = Follow { api, standing, shown: None };
    let events = futures::stream::unfold(follow, |mut follow| async move {
        let figures = follow.next().await?;
        Some((event(&figures), follow))
    });
    Ok(Sse::new(events.map(Ok)).keep_alive(keep_alive))
}

fn event(figures: &Figures) -> Event {
    let event = Event::default().event("progress").id(figures.since_press_ms.to_string());
    let data = serde_json::to_string(figures).expect("figures are numbers and strings");
    event.data(data)
}

/// A reader of one launch.
struct Follow {
    api: Api,
    standing: Standing,
    shown: Option<Figures>,
}

impl Follow {
    /// The next figures that differ from those shown; `None` after the last, or when the service stops.
    async fn next(&mut self) -> Option<Figures> {
        if self.shown.as_ref().is_some_and(|shown| shown.is_over) {
            return None;
        }
        loop {
            if self.shown.is_some() {
                tokio::select! {
                    () = self.api.runtime.clock.sleep(self.api.config.events_every) => {}
                    () = self.api.shutdown.cancelled() => return None,
                }
            }
            match self.look().await {
                Ok(figures) if self.is_news(&figures) => {
                    self.shown = Some(figures.clone());
                    return Some(figures);
                }
                Ok(_) => {}
                Err(problem) => {
                    tracing::warn!(detail = problem.detail, "progress cannot be read");
                    // Without a first event there is no rhythm yet: end, and let the reader come back.
                    self.shown.as_ref()?;
                }
            }
        }
    }

    async fn look(&mut self) -> Result<Figures> {
        self.standing.refresh(&self.api).await?;
        let figures = figures(&self.api, &self.standing).await?;
        if !figures.is_over {
            return Ok(figures);
        }
        Ok(figures.settled(&report::of(&self.api, &self.standing).await?))
    }

    /// Whether anything but the time has changed.
    fn is_news(&self, figures: &Figures) -> bool {
        self.shown.as_ref().is_none_or(|shown| {
            let since_press_ms = shown.since_press_ms;
            Figures { since_press_ms, per_second: shown.per_second, ..figures.clone() } != *shown
        })
    }
}
