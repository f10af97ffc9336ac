//! What the comparison found, for a terminal, for docs/capacity.md and for machines.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Value, json};

use super::cell::{Cell, Reason, counterpart};
use super::client::Peer;
use super::machine::Machine;
use super::server::Kind;

const HEAD: [&str; 7] =
    ["server", "client", "setting", "CPU us/request", "x ours", "requests/s", "server CPU us/request"];
const WHOLE: &str = "* CPU of the whole process, start and handshakes included: it cannot say what it used between its \
                     first request and its last answer, as the others do. h2o allows 100 streams whatever it is told.";

/// How many times our CPU another client must need, at least.
struct Demand {
    peer: Peer,
    server: Kind,
    at_least: f64,
}

const DEMANDS: [Demand; 3] = [
    Demand { peer: Peer::H2load, server: Kind::FastSim, at_least: 8.0 },
    Demand { peer: Peer::H2load, server: Kind::Nginx, at_least: 1.8 },
    Demand { peer: Peer::A2, server: Kind::FastSim, at_least: 40.0 },
];

/// Rows of a table, under what they have in common.
struct Table {
    title: &'static str,
    rows: Vec<[String; 7]>,
}

fn tables(cells: &[Cell]) -> [Table; 2] {
    let of = |title, belongs: fn(Reason) -> bool, reason| Table {
        title,
        rows: cells.iter().filter(|cell| belongs(cell.reason)).map(|cell| row(cells, cell, reason)).collect(),
    };
    [
        of("The same connections x streams for all", Reason::is_common, Reason::Common),
        of("Each client at the best of the settings that were tried", Reason::is_best, Reason::Best),
    ]
}

/// `reason` says which of our cells this one is compared with.
fn row(cells: &[Cell], cell: &Cell, reason: Reason) -> [String; 7] {
    let mark = if cell.peer.is_measured_whole() { " *" } else { "" };
    let name = format!("{}{mark}", cell.peer.name());
    let Some(median) = cell.median() else {
        let dash = || "-".to_owned();
        let failed = "FAILED".to_owned();
        return [cell.server.name().into(), name, cell.setting.to_string(), failed, dash(), dash(), dash()];
    };
    let ratio = ratio(cells, cell, reason).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    [
        cell.server.name().to_owned(),
        name,
        cell.setting.to_string(),
        format!("{:.3}", median.cpu_us),
        ratio,
        thousands(median.per_second),
        format!("{:.2}", median.server_cpu_us),
    ]
}

/// How many times our CPU per request a client needs.
fn ratio(cells: &[Cell], cell: &Cell, reason: Reason) -> Option<f64> {
    let cell = Cell { reason, ..cell.clone() };
    let ours = counterpart(cells, &cell, Peer::Fanfare)?.median()?;
    Some(cell.median()?.cpu_us / ours.cpu_us)
}

/// What is demanded, and whether it was reached: at the same setting, and each at its best.
fn verdicts(cells: &[Cell]) -> Vec<String> {
    let mut verdicts = Vec::new();
    for demand in &DEMANDS {
        let theirs = || cells.iter().filter(|cell| cell.peer == demand.peer && cell.server == demand.server);
        let common = theirs().filter(|cell| cell.reason.is_common()).map(|cell| (cell, Reason::Common));
        let best = theirs().filter(|cell| cell.reason.is_best()).map(|cell| (cell, Reason::Best));
        for (cell, reason) in common.chain(best) {
            let Some(ratio) = ratio(cells, cell, reason) else { continue };
            let at = match reason {
                Reason::Best => "each at its best".to_owned(),
                Reason::Common | Reason::CommonAndBest => format!("both at {}", cell.setting),
            };
            let verdict = if ratio >= demand.at_least { "ok" } else { "MISSED" };
            verdicts.push(format!(
                "{} / fanfare, {}, {at}: {ratio:.2} of {:.1} demanded: {verdict}",
                cell.peer.name(),
                cell.server.name(),
                demand.at_least,
            ));
        }
    }
    verdicts
}

/// For people at a terminal.
pub(super) fn terminal(cells: &[Cell], machine: &Machine) -> String {
    let mut text = String::new();
    for table in tables(cells).iter().filter(|table| !table.rows.is_empty()) {
        let all: Vec<[&str; 7]> = std::iter::once(HEAD)
            .chain(table.rows.iter().map(|row| row.each_ref().map(String::as_str)))
            .collect();
        let width = |column: usize| all.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let widths: [usize; 7] = std::array::from_fn(width);
        let _ = writeln!(text, "{}", table.title);
        for row in all {
            let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
                if column < 3 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        text.push('\n');
    }
    let _ = writeln!(text, "{WHOLE}\n\n{}", about(machine).join("\n"));
    let _ = writeln!(text, "\n{}", verdicts(cells).join("\n"));
    text
}

/// For docs/capacity.md.
pub(super) fn markdown(cells: &[Cell], machine: &Machine) -> String {
    let mut text = format!("`{}`\n\n", machine.command);
    for line in about(machine) {
        let _ = writeln!(text, "- {line}");
    }
    for table in tables(cells).iter().filter(|table| !table.rows.is_empty()) {
        let _ = writeln!(text, "\n{}:\n\n| {} |", table.title, HEAD.join(" | "));
        let _ = writeln!(text, "|---|---|---|---:|---:|---:|---:|");
        for row in &table.rows {
            let _ = writeln!(text, "| {} |", row.join(" | ").replace(" *", " \\*"));
        }
    }
    let _ = writeln!(text, "\n\\{WHOLE}\n");
    for verdict in verdicts(cells) {
        let _ = writeln!(text, "- {verdict}");
    }
    text
}

fn about(machine: &Machine) -> Vec<String> {
    vec![
        format!("machine: {}, {}, load {} at the end", machine.processor, machine.kernel, machine.load),
        format!("commit: {}", machine.commit),
        format!("with: {}", machine.versions.join(", ")),
    ]
}

/// Every single measurement.
pub(super) fn json(cells: &[Cell], machine: &Machine) -> Result<String> {
    let cells: Vec<Value> = cells.iter().map(cell_json).collect();
    let all = json!({
        "machine": machine.processor,
        "kernel": machine.kernel,
        "commit": machine.commit,
        "command": machine.command,
        "versions": machine.versions,
        "cells": cells,
    });
    Ok(serde_json::to_string_pretty(&all)? + "\n")
}

fn cell_json(cell: &Cell) -> Value {
    let samples: Vec<Value> = cell
        .samples
        .iter()
        .map(|sample| {
            json!({
                "cpu_us_per_request": sample.cpu_us,
                "per_second": sample.per_second,
                "server_cpu_us_per_request": sample.server_cpu_us,
            })
        })
        .collect();
    json!({
        "server": cell.server.name(),
        "client": cell.peer.name(),
        "setting": cell.setting.to_string(),
        "is_common_setting": cell.reason.is_common(),
        "is_best_setting": cell.reason.is_best(),
        "requests": cell.requests,
        "samples": samples,
        "failure": cell.failure,
    })
}

/// A whole number with commas.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::cell::{Setting, tests::cell};
    use super::*;

    fn machine() -> Machine {
        Machine {
            processor: "one, 2 cores".into(),
            kernel: "Linux 6".into(),
            commit: "abc".into(),
            command: "cargo xtask bench peers".into(),
            load: "0.1".into(),
            versions: vec!["nginx 1".into()],
        }
    }

    fn cells() -> Vec<Cell> {
        let (common, other) = (Setting::new(8, 1000), Setting::new(1, 500));
        vec![
            cell(Peer::Fanfare, common, Reason::CommonAndBest, &[0.30, 0.25, 0.2]),
            cell(Peer::H2load, common, Reason::Common, &[3.0, 2.5, 2.0]),
            cell(Peer::H2load, other, Reason::Best, &[1.9]),
        ]
    }

    #[test]
    fn a_row_shows_the_median_and_how_many_times_ours_it_is() {
        let text = terminal(&cells(), &machine());
        let row = |start: &str| {
            let line = text.lines().find(|line| line.starts_with("fast simulator") && line.contains(start));
            line.unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            row("h2load *"),
            "fast simulator h2load * 8x1000 2.500 10.00 1,000,000 0.50".split(' ').collect::<Vec<_>>()
        );
        assert_eq!(row("1x500")[5..7], ["1.900", "7.60"]);
    }

    #[test]
    fn a_verdict_names_what_was_demanded_and_what_was_missed() {
        assert_eq!(
            verdicts(&cells()),
            [
                "h2load / fanfare, fast simulator, both at 8x1000: 10.00 of 8.0 demanded: ok",
                "h2load / fanfare, fast simulator, each at its best: 7.60 of 8.0 demanded: MISSED",
            ]
        );
    }

    #[test]
    fn a_client_that_failed_is_shown_as_failed_and_has_no_ratio() {
        let mut cells = cells();
        cells[1].failure = Some("1 of 9".into());
        assert!(markdown(&cells, &machine()).contains("| h2load \\* | 8x1000 | FAILED | - | - | - |"));
        assert_eq!(verdicts(&cells).len(), 1);
        let value: Value = serde_json::from_str(&json(&cells, &machine()).unwrap()).unwrap();
        assert_eq!(value["cells"][1]["failure"], "1 of 9");
        assert_eq!(value["cells"][0]["samples"].as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn thousands_have_commas() {
        assert_eq!(thousands(1_234_567.4), "1,234,567");
        assert_eq!(thousands(999.6), "1,000");
        assert_eq!(thousands(12.0), "12");
    }
}
