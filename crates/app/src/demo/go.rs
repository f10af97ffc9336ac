//! The moment: two marketers press Go at once, one of them again; processes die if they are to; everybody watches the
//! curve until the launch is over.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use model::runtime::Clock;
use model::{LaunchId, Monotonic};
use serde::Deserialize;
use tokio::task::JoinSet;

use super::client::{Client, each_line};
use super::kill::Kill;
use super::plot::{Frame, Plot};
use super::preparation::WAVE;
use super::service::Processes;

/// When the impatient one presses again.
const PRESS_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Before a reader whose events broke off comes back.
const COME_BACK_AFTER: Duration = Duration::from_millis(50);
/// A launch without news for this long is stuck. FCM's quota is refilled once a minute.
const STUCK_AFTER: Duration = Duration::from_secs(300);

/// The answer to a press.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Pressed {
    pub(crate) launch: LaunchId,
    pub(crate) is_new: bool,
    pub(crate) pressed_by: String,
    pub(crate) pressed_ms_before: u64,
    pub(crate) installation: String,
}

/// A press: who, and what the answer was after how long.
#[derive(Clone, Debug)]
pub(crate) struct Press {
    pub(crate) by: &'static str,
    pub(crate) answer: Pressed,
    pub(crate) took: Duration,
}

/// What the presses and the launch led to.
pub(crate) struct Gone {
    pub(crate) launch: LaunchId,
    pub(crate) presses: Vec<Press>,
    /// From the press to the news that the launch is over.
    pub(crate) over_after: Duration,
}

/// Those who press, and what they press.
pub(crate) struct Marketers {
    pub(crate) ann: Client,
    pub(crate) bob: Client,
    pub(crate) clock: Arc<dyn Clock>,
    /// `/v1/campaigns/...`.
    pub(crate) campaign: String,
}

impl Marketers {
    /// Presses, watches until the launch is over, and presses once more.
    pub(crate) async fn go(&self, kills: &[Kill], processes: Option<Arc<Processes>>) -> Result<Gone> {
        // Both have the page open: their connections stand, and they have read the same version.
        let (ann_read, bob_read) = (self.ann.tag(&self.campaign).await?, self.bob.tag(&self.campaign).await?);
        eprintln!("\n  ann and bob press Go at the same moment\n");
        let pressed_at = self.clock.monotonic();
        let mut dying = schedule(kills, processes, &self.clock, pressed_at);
        let presses =
            tokio::join!(self.press(&self.ann, "ann", &ann_read), self.press(&self.bob, "bob", &bob_read));
        let mut presses = vec![presses.0?, presses.1?];
        let launch = presses[0].answer.launch;
        let again = async {
            self.clock.sleep(PRESS_AGAIN_AFTER).await;
            self.press(&self.bob, "bob", &bob_read).await
        };
        let watching = async {
            let watched = self.watch(launch).await;
            (watched, self.clock.monotonic().since(pressed_at))
        };
        let (again, (watched, over_after)) = tokio::join!(again, watching);
        presses.push(again?);
        watched?;
        // Whoever was to be killed later has nothing left to be killed in.
        while let Some(died) = dying.try_join_next() {
            died??;
        }
        if !dying.is_empty() {
            eprintln!("  the launch was over before {} of the kills", dying.len());
            dying.shutdown().await;
        }
        presses.push(self.press(&self.bob, "bob", &bob_read).await?);
        Ok(Gone { launch, presses, over_after })
    }

    async fn press(&self, who: &Client, by: &'static str, read: &str) -> Result<Press> {
        let start = self.clock.monotonic();
        let answer = who.press(&format!("{}/waves/{WAVE}/launch", self.campaign), read).await?;
        let took = self.clock.monotonic().since(start);
        let answer = serde_json::from_value(answer).context("the answer to a press")?;
        Ok(Press { by, answer, took })
    }

    /// Follows the launch's events and draws its curve until it is over. A reader whose events break off comes back.
    async fn watch(&self, launch: LaunchId) -> Result<()> {
        let path = format!("/v1/launches/{launch}/events");
        let mut plot = Plot::new();
        let mut last = Event::default();
        let mut news_at = self.clock.monotonic();
        while !last.is_over {
            let is_broken = self.follow(&path, &mut plot, &mut last, &mut news_at).await.is_err();
            if is_broken && self.clock.monotonic().since(news_at) > STUCK_AFTER {
                bail!("no news of launch {launch} for {} s; the last: {last:?}", STUCK_AFTER.as_secs());
            }
            if !last.is_over {
                self.clock.sleep(COME_BACK_AFTER).await;
            }
        }
        Ok(())
    }

    async fn follow(
        &self,
        path: &str,
        plot: &mut Plot,
        last: &mut Event,
        news_at: &mut Monotonic,
    ) -> Result<()> {
        let events = self.ann.stream(path).await?;
        let clock = &self.clock;
        each_line(events, |line| {
            if clock.monotonic().since(*news_at) > STUCK_AFTER {
                bail!("nothing happens");
            }
            let Some(data) = line.strip_prefix(b"data:") else { return Ok(()) };
            let event: Event = serde_json::from_slice(data).context("an event")?;
            if event.done != last.done || event.state != last.state || event.is_over {
                *news_at = clock.monotonic();
            }
            plot.draw(&event.frame());
            *last = event;
            Ok(())
        })
        .await
    }
}

/// Sees to it that every role dies when it should and starts again at once.
fn schedule(
    kills: &[Kill],
    processes: Option<Arc<Processes>>,
    clock: &Arc<dyn Clock>,
    pressed_at: Monotonic,
) -> JoinSet<Result<()>> {
    let mut dying = JoinSet::new();
    let Some(processes) = processes else { return dying };
    for &Kill { role, after } in kills {
        let (processes, clock) = (Arc::clone(&processes), Arc::clone(clock));
        dying.spawn(async move {
            clock.sleep((pressed_at + after).since(clock.monotonic())).await;
            eprintln!("  {} is killed {:.2} s after Go", role.name(), after.as_secs_f64());
            tokio::task::spawn_blocking(move || processes.replace(role)).await?
        });
    }
    dying
}

/// An event of a launch.
#[derive(Debug, Default, Deserialize)]
struct Event {
    state: String,
    is_over: bool,
    devices: u64,
    done: u64,
    counts: EventCounts,
    since_press_ms: u64,
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
    p99_ms: Option<f64>,
    curve: Vec<u64>,
}

#[derive(Debug, Default, Deserialize)]
struct EventCounts {
    accepted: u64,
}

impl Event {
    fn frame(&self) -> Frame {
        Frame {
            state: self.state.replace('_', " "),
            since_press: Duration::from_millis(self.since_press_ms),
            devices: self.devices,
            answered: self.done,
            accepted: self.counts.accepted,
            p50_ms: self.p50_ms,
            p95_ms: self.p95_ms,
            p99_ms: self.p99_ms,
            curve: self.curve.clone(),
        }
    }
}
