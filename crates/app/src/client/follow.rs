//! What becomes of an upload: watched until it is over, then told.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use model::Timestamp;
use model::runtime::Clock;
use serde_json::Value;

use super::calls::{Calls, is_over};

/// A resolver says every second that it is at work.
const SILENT_AFTER: Duration = Duration::from_secs(5);

/// Somebody who waits for what becomes of an upload.
pub(super) struct Shown<'a> {
    pub(super) calls: &'a Calls,
    pub(super) named: &'a str,
}

impl Shown<'_> {
    /// Waits until an import or audience is over; how it is then.
    pub(super) async fn until_over(&self, now: Value) -> Result<Value> {
        let path = path(&now).context("the answer names neither an import nor an audience")?;
        let style = ProgressStyle::with_template("{msg} {spinner} {human_pos} rows");
        let bar = ProgressBar::new_spinner().with_style(style.expect("the template is right"));
        bar.set_message(self.named.to_owned());
        let tell = |now: &Value| {
            let rows = now["rows_read"].as_u64().or(now["rows"].as_u64());
            bar.set_position(rows.unwrap_or(0));
            bar.set_message(match silent_s(now, self.calls.clock()) {
                Some(seconds) => format!("{}: nobody was at it for {seconds} s", self.named),
                None => self.named.to_owned(),
            });
            bar.tick();
        };
        let over = self.calls.until(&path, now, is_over, tell).await?;
        bar.finish_and_clear();
        Ok(over)
    }
}

/// How long nobody was at work that is begun, if that is long: its resolver was killed, or stands still.
fn silent_s(now: &Value, clock: &dyn Clock) -> Option<u64> {
    let at: Timestamp = serde_json::from_value(now["worked_at"].clone()).ok()?;
    let silent = clock.now().since(at);
    (silent > SILENT_AFTER).then_some(silent.as_secs())
}

/// Where an import or audience is found.
fn path(answer: &Value) -> Option<String> {
    let id = answer["id"].as_str()?;
    let kind = match id.split_once('_')?.0 {
        "imp" => "imports",
        "aud" => "audiences",
        _ => return None,
    };
    Some(format!("/v1/{kind}/{id}"))
}

/// The numbers of a report that are shown, in this order, when they are not nothing.
const NUMBERS: &[(&str, &str)] = &[
    ("added", "added"),
    ("changed", "changed"),
    ("unchanged", "unchanged"),
    ("users", "users"),
    ("devices", "devices"),
    ("duplicate_users", "users listed twice"),
    ("unknown_users", "users not in the directory"),
    ("duplicate_devices", "devices listed twice"),
];

/// An import or audience, for reading.
pub(super) fn text(named: &str, over: &Value, base: &str) -> String {
    let mut text = String::new();
    let mut put = |line: std::fmt::Arguments<'_>| {
        text.write_fmt(line).expect("a string takes every text");
        text.push('\n');
    };
    let word = |field: &str| over[field].as_str().unwrap_or_default();
    put(format_args!("{named}: {} {}", word("id"), word("state")));
    if let Some(why) = over["why"].as_str() {
        put(format_args!("  because {why}"));
    }
    if let Some(snapshot) = over["snapshot"].as_str() {
        put(format_args!("  snapshot {snapshot}"));
    }
    let report = &over["report"];
    if report.is_object() {
        let number = |field: &str| report[field].as_u64().unwrap_or(0);
        put(format_args!("  {} rows, {} bad", number("rows"), number("bad_rows")));
        for (field, label) in NUMBERS.iter().filter(|(field, _)| number(field) > 0) {
            put(format_args!("  {} {label}", number(field)));
        }
        if let Some(version) = report["late_list_version"].as_u64() {
            put(format_args!("  version {version} of the late list"));
        }
        for (field, label) in [("bad_by_reason", "bad"), ("left_out", "left out"), ("not_in", "not in")] {
            for (reason, count) in report[field].as_object().into_iter().flatten() {
                put(format_args!("  {label}: {count} {reason}"));
            }
        }
        for bad in report["first_bad_rows"].as_array().into_iter().flatten() {
            let cause = bad["cause"].as_str().unwrap_or_default();
            put(format_args!("  line {}, byte {}: {cause}", bad["line"], bad["byte"]));
        }
        if let (Some(_), Some(path)) = (report["bad_rows_blob"].as_str(), path(over)) {
            put(format_args!("  all bad rows: {base}{path}/bad-rows"));
        }
        if let (true, Some(path)) = (report["left_out_list"].is_object(), path(over)) {
            let cut = if report["left_out_list"]["is_cut"] == true { ", the first of them" } else { "" };
            put(format_args!("  who is not in{cut}: {base}{path}/left-out"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_report_tells_counts_by_reason_the_first_bad_rows_and_where_all_are() {
        let import = json!({
            "id": "imp_1", "state": "failed", "why": "2 of 9 rows are bad",
            "report": { "rows": 9, "bad_rows": 2, "added": 0, "changed": 7,
                "bad_by_reason": { "apns_key": 2 }, "left_out": { "opted_out": 1 },
                "first_bad_rows": [{ "line": 3, "byte": 70, "cause": "no key" }], "bad_rows_blob": "b" },
        });
        let wanted = "f.csv: imp_1 failed\n  because 2 of 9 rows are bad\n  9 rows, 2 bad\n  7 changed\n  bad: 2 apns_key\n  \
                      left out: 1 opted_out\n  line 3, byte 70: no key\n  all bad rows: http://h/v1/imports/imp_1/bad-rows\n";
        assert_eq!(text("f.csv", &import, "http://h"), wanted);
    }
}
