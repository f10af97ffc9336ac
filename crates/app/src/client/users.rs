//! Commands about one person: looking somebody up, handing out what is held, forgetting it.

use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use model::Monotonic;
use model::runtime::Clock;
use serde_json::{Value, json};

use super::calls::{Calls, is_over};
use super::{Service, block_on, refused};
use crate::Usage;
use crate::config::Config;

/// A resolver looks every three seconds.
const BEGUN_WITHIN: Duration = Duration::from_secs(10);

/// Whom, and where to ask.
#[derive(Args)]
pub(crate) struct Asked {
    /// The user id.
    user: String,
    #[command(flatten)]
    service: Service,
    /// Give up when nothing gets through for this long.
    #[arg(long, default_value = "60s", value_parser = crate::sim::duration, value_name = "TIME")]
    give_up_after: Duration,
}

/// Look somebody up.
#[derive(Args)]
pub(crate) struct Show {
    #[command(flatten)]
    asked: Asked,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

/// Write what is held about somebody into a file.
#[derive(Args)]
pub(crate) struct Export {
    #[command(flatten)]
    asked: Asked,
    /// The file; it must not be there yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Forget somebody.
#[derive(Args)]
pub(crate) struct Erase {
    #[command(flatten)]
    asked: Asked,
    /// Do not ask whether it is meant.
    #[arg(long)]
    yes: bool,
    /// Print the receipt as JSON.
    #[arg(long)]
    json: bool,
    /// Print the erasure's id and do not wait.
    #[arg(long)]
    no_wait: bool,
}

impl Show {
    /// True when there is an answer.
    pub(crate) fn run(self, config: &Config) -> Result<bool> {
        let Self { asked, json } = self;
        asked.run(config, async |person| {
            let inquiry = person.inquire().await?;
            let answer = &inquiry["answer"];
            if json {
                println!("{answer}");
            } else if answer.is_object() {
                print!("{}", shown(answer));
            }
            Ok(person.is_answered(&inquiry))
        })
    }
}

impl Export {
    /// True when the file is written.
    pub(crate) fn run(self, config: &Config) -> Result<bool> {
        let Self { asked, out } = self;
        asked.run(config, async |person| {
            let named = out.display();
            // Before anybody works for it.
            let mut options = std::fs::OpenOptions::new();
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file =
                options.write(true).create_new(true).open(&out).with_context(|| format!("making {named}"))?;
            let inquiry = person.inquire().await?;
            if !person.is_answered(&inquiry) {
                std::fs::remove_file(&out).with_context(|| format!("removing {named}"))?;
                return Ok(false);
            }
            let id = inquiry["id"].as_str().context("an inquiry without id")?;
            let held = person.calls.get(&format!("/v1/inquiries/{id}/file")).await?;
            let text = serde_json::to_string_pretty(&held)? + "\n";
            file.write_all(text.as_bytes()).with_context(|| format!("writing {named}"))?;
            println!("{named}: {} bytes", text.len());
            Ok(true)
        })
    }
}

impl Erase {
    /// True when it is done as far as it can be now.
    pub(crate) fn run(self, config: &Config) -> Result<bool> {
        let Self { asked, yes, json, no_wait } = self;
        if !yes && !is_meant(&asked.user)? {
            eprintln!("nothing is done");
            return Ok(false);
        }
        asked.run(config, async |person| {
            let receipt = person.ask("/v1/erasures").await?;
            let id = receipt["id"].as_str().context("an erasure without id")?.to_owned();
            if no_wait {
                println!("{}", if json { receipt.to_string() } else { id });
                return Ok(true);
            }
            let (mut told_of, mut patience) = (String::new(), Patience::new(person.calls.clock()));
            let tell = |receipt: &Value| {
                patience.look(receipt["waits_for"].is_null());
                let names: Vec<&str> = list(receipt, "waits_for").iter().filter_map(Value::as_str).collect();
                let names = names.join(", ");
                if receipt["cleared_at"].is_null() && !names.is_empty() && names != told_of {
                    eprintln!("waiting for work that may name the person: {names}");
                    told_of = names;
                }
            };
            let receipt =
                person.calls.until(&format!("/v1/erasures/{id}"), receipt, is_through, tell).await?;
            if json {
                println!("{receipt}")
            } else {
                print!("{}", told(&receipt))
            }
            Ok(receipt["state"] != "failed")
        })
    }
}

/// Whether an erasure went as far as it can go now: whoever no snapshot names is erased at once.
fn is_through(receipt: &Value) -> bool {
    let is_named = list(receipt, "snapshots").iter().any(|naming| naming["gone_at"].is_null());
    receipt["state"] != "suppressed" || (!receipt["cleared_at"].is_null() && is_named)
}

/// Asks whoever sits at the terminal.
fn is_meant(user: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(Usage::new("nobody can be asked whether it is meant: say --yes").into());
    }
    eprint!(
        "Everything that is held about {user:?} will be gone, and it cannot be undone. Type the user id again: "
    );
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']) == user)
}

impl Asked {
    fn run(self, config: &Config, work: impl AsyncFnOnce(&Person) -> Result<bool>) -> Result<bool> {
        let person = Person { calls: self.service.calls(config, self.give_up_after)?, user: self.user };
        block_on(async move {
            match work(&person).await {
                Ok(is_good) => Ok(is_good),
                Err(error) => refused(error),
            }
        })
    }
}

/// Somebody who is asked about.
struct Person {
    calls: Calls,
    user: String,
}

/// Whoever waits for a resolver learns once that perhaps there is none.
struct Patience<'a> {
    clock: &'a dyn Clock,
    since: Monotonic,
    is_over: bool,
}

impl<'a> Patience<'a> {
    fn new(clock: &'a dyn Clock) -> Self {
        Self { clock, since: clock.monotonic(), is_over: false }
    }

    fn look(&mut self, is_waiting: bool) {
        if is_waiting && !self.is_over && self.clock.monotonic().since(self.since) > BEGUN_WITHIN {
            eprintln!("nobody has begun yet: is a resolver running?");
            self.is_over = true;
        }
    }
}

impl Person {
    /// Makes something about the person, once.
    async fn ask(&self, path: &str) -> Result<Value> {
        self.calls.make(path, &json!({ "user": self.user })).await
    }

    /// An inquiry that is over.
    async fn inquire(&self) -> Result<Value> {
        let inquiry = self.ask("/v1/inquiries").await?;
        let id = inquiry["id"].as_str().context("an inquiry without id")?.to_owned();
        let mut patience = Patience::new(self.calls.clock());
        let tell = |inquiry: &Value| patience.look(inquiry["state"] == "asked");
        self.calls.until(&format!("/v1/inquiries/{id}"), inquiry, is_over, tell).await
    }

    fn is_answered(&self, inquiry: &Value) -> bool {
        let is_done = inquiry["state"] == "done";
        if !is_done {
            eprintln!("no answer: {}", inquiry["why"].as_str().unwrap_or_default());
        }
        is_done
    }
}

/// Lines with columns of one width.
#[derive(Default)]
struct Table(Vec<Vec<String>>);

impl Table {
    fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.0.push(cells.map(str::to_owned).into());
    }

    fn write(&self, text: &mut String) {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        // What ends a line needs no room for others.
        let cells = |column: usize| {
            self.0.iter().filter(move |row| row.len() > column + 1).map(move |row| &row[column])
        };
        let width = |column: usize| cells(column).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for row in &self.0 {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            let line = cells.collect::<Vec<_>>().join("  ");
            put(text, format_args!("  {}", line.trim_end()));
        }
    }
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("a string takes every text");
    text.push('\n');
}

fn word<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

/// An answer, for reading.
fn shown(answer: &Value) -> String {
    let mut text = String::new();
    let known = if answer["is_known"] == true { "known" } else { "not known" };
    put(&mut text, format_args!("{}: {known} to the directory", word(answer, "user")));
    match &answer["late_list"] {
        Value::Null => put(&mut text, format_args!("not on the late list")),
        late => put(
            &mut text,
            format_args!("on the late list: {} since {}", word(late, "cause"), word(late, "since")),
        ),
    }
    put(&mut text, format_args!("devices: {}", list(answer, "devices").len()));
    let mut devices = Table::default();
    for device in list(answer, "devices") {
        let [platform, app, locale, market] = labels(device);
        let accepted = match word(device, "last_accepted") {
            "" => String::new(),
            at => format!("last accepted {at}"),
        };
        let (hash, registered) = (word(device, "key_hash"), word(device, "registered_at"));
        devices.row([platform, app, locale, market, hash, registered, &accepted]);
    }
    devices.write(&mut text);
    put(&mut text, format_args!("audiences: {}", list(answer, "audiences").len()));
    let mut audiences = Table::default();
    for audience in list(answer, "audiences") {
        let number = list(audience, "devices").len();
        let standing = match (number, word(audience, "why")) {
            (_, why @ ("snapshot_gone" | "snapshot_unreadable")) => untold(why).to_owned(),
            (_, "not_frozen") => "not frozen".to_owned(),
            (0, why) => format!("not in it: {why}"),
            (_, "") => format!("in it: {number} devices"),
            (_, why) => format!("in it: {number} devices, and gets nothing: {why}"),
        };
        audiences.row([word(audience, "audience"), word(audience, "name"), &standing]);
    }
    audiences.write(&mut text);
    put(&mut text, format_args!("launches: {}", list(answer, "launches").len()));
    let mut launches = Table::default();
    for launch in list(answer, "launches") {
        let (id, at) = (word(launch, "launch"), word(launch, "pressed_at"));
        let Some(devices) = launch["devices"].as_array() else {
            launches.row([id, at, untold(word(launch, "why"))]);
            continue;
        };
        for device in devices {
            let resent = if device["is_resent"] == true { "resent" } else { "" };
            let [platform, app, ..] = labels(device);
            let (outcome, reason) = (word(device, "outcome"), word(device, "reason"));
            launches.row([id, at, platform, app, word(device, "key_hash"), outcome, reason, resent]);
        }
    }
    launches.write(&mut text);
    let mut files = |head: &str, files: &[Value]| {
        if !files.is_empty() {
            put(&mut text, format_args!("{head}:"));
        }
        let mut table = Table::default();
        for file in files {
            let (of, since) = (word(file, "of"), format!("since {}", word(file, "since")));
            match word(file, "what") {
                "" => table.row([of, &since]),
                what => table.row([of, what, &since]),
            }
        }
        table.write(&mut text);
    };
    files("files that name the person", list(answer, "files"));
    files("uploaded files that may name the person (not searched)", list(answer, "uploads"));
    if !list(answer, "unreadable").is_empty() {
        put(
            &mut text,
            format_args!("what could not be read, and may hold more (the resolver's log says why):"),
        );
    }
    for name in list(answer, "unreadable") {
        put(&mut text, format_args!("  {}", name.as_str().unwrap_or_default()));
    }
    text
}

/// That nobody can tell, and why.
fn untold(why: &str) -> &'static str {
    match why {
        "snapshot_unreadable" => "its snapshot cannot be read: nobody can tell",
        "records_unreadable" => "its records cannot be read: nobody can tell",
        _ => "its snapshot is gone: nobody can tell",
    }
}

fn labels(device: &Value) -> [&str; 4] {
    ["platform", "app", "locale", "market"].map(|field| word(device, field))
}

/// A receipt, for reading.
fn told(receipt: &Value) -> String {
    let mut text = String::new();
    put(&mut text, format_args!("{}: {}", word(receipt, "id"), word(receipt, "state")));
    let (at, by) = (word(receipt, "asked_at"), word(receipt, "asked_by"));
    put(&mut text, format_args!("  asked {at} by {by}; suppressed since then"));
    if let Some(why) = receipt["why"].as_str() {
        put(&mut text, format_args!("  because {why}"));
    }
    let mut places = Table::default();
    for cleared in list(receipt, "cleared") {
        let things = format!("{} gone", cleared["things"]);
        places.row([word(cleared, "place"), word(cleared, "at"), &things]);
    }
    places.write(&mut text);
    for naming in list(receipt, "snapshots").iter().filter(|naming| naming["gone_at"].is_null()) {
        let (snapshot, by) = (word(naming, "snapshot"), word(naming, "goes_by"));
        put(&mut text, format_args!("  snapshot {snapshot} names the person, suppressed, and goes by {by}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_in_lines() {
        let device =
            json!({ "platform": "apns", "app": "a", "locale": "de", "market": "at", "key_hash": "0f" });
        let sent = json!({ "platform": "fcm", "app": "b", "key_hash": "1e", "outcome": "rejected", "reason": "Gone", "is_resent": true });
        let answer = json!({
            "user": "ann", "is_known": true, "late_list": { "cause": "opted_out", "since": "t" }, "devices": [device],
            "audiences": [{ "audience": "aud_1", "name": "n", "devices": [], "why": "held_back" },
                { "audience": "aud_22", "name": "m", "devices": [device], "why": null },
                { "audience": "aud_3", "name": "o", "devices": [], "why": "snapshot_unreadable" },
                { "audience": "aud_4", "name": "p", "devices": [], "why": "not_frozen" }],
            "launches": [{ "launch": "lnc_1", "pressed_at": "t1", "devices": [sent] },
                { "launch": "lnc_2", "pressed_at": "t2", "devices": null, "why": "snapshot_gone" },
                { "launch": "lnc_3", "pressed_at": "t2", "devices": null, "why": "records_unreadable" }],
            "files": [{ "what": "export", "of": "exp_1", "since": "t4" }, { "what": "left_out", "of": "aud_22", "since": "t5" }],
            "uploads": [{ "of": "imp_1", "since": "t3" }],
            "unreadable": ["snapshot 0f"],
        });
        let wanted = "ann: known to the directory\non the late list: opted_out since t\ndevices: 1\n  apns  a  de  at  0f\n\
            audiences: 4\n  aud_1   n  not in it: held_back\n  aud_22  m  in it: 1 devices\n\
            \x20 aud_3   o  its snapshot cannot be read: nobody can tell\n  aud_4   p  not frozen\nlaunches: 3\n\
            \x20 lnc_1  t1  fcm  b  1e  rejected  Gone  resent\n\
            \x20 lnc_2  t2  its snapshot is gone: nobody can tell\n\
            \x20 lnc_3  t2  its records cannot be read: nobody can tell\n\
            files that name the person:\n  exp_1   export    since t4\n  aud_22  left_out  since t5\n\
            uploaded files that may name the person (not searched):\n  imp_1  since t3\n\
            what could not be read, and may hold more (the resolver's log says why):\n  snapshot 0f\n";
        assert_eq!(shown(&answer), wanted);
    }

    #[test]
    fn an_erasure_is_waited_for_until_only_snapshots_are_left_or_it_failed() {
        let receipt = |state: &str, cleared_at: Value, snapshots: Value| {
            is_through(&json!({ "state": state, "cleared_at": cleared_at, "snapshots": snapshots }))
        };
        assert!(!receipt("suppressed", Value::Null, json!([])));
        assert!(!receipt("suppressed", "t".into(), json!([])), "erased with the next look");
        assert!(receipt("suppressed", "t".into(), json!([{ "gone_at": null }])));
        assert!(receipt("erased", "t".into(), json!([])) && receipt("failed", Value::Null, json!([])));
    }

    #[test]
    fn a_receipt_tells_what_went_and_what_is_left() {
        let receipt = json!({
            "id": "ers_1", "state": "suppressed", "asked_at": "t", "asked_by": "bob",
            "cleared": [{ "place": "directory", "at": "t1", "things": 2 }],
            "snapshots": [{ "snapshot": "aa", "goes_by": "t9", "gone_at": null }, { "snapshot": "bb", "gone_at": "t2" }],
        });
        let wanted = "ers_1: suppressed\n  asked t by bob; suppressed since then\n  directory  t1  2 gone\n\
            \x20 snapshot aa names the person, suppressed, and goes by t9\n";
        assert_eq!(told(&receipt), wanted);
        let failed = json!({ "id": "ers_1", "state": "failed", "asked_at": "t", "asked_by": "bob", "why": "w: ask again" });
        let wanted = "ers_1: failed\n  asked t by bob; suppressed since then\n  because w: ask again\n";
        assert_eq!(told(&failed), wanted);
    }
}
