//! Whether a run went as its row expects. Every bound follows from the fault: how many connections it hit, how many
//! requests each could carry, how long it lasted.

use super::case::{Case, Run};
use super::rows::{Expect, Many, Outcome, Row};

/// How much more memory than a run without fault the service may take: what is queued and kept for connections that come
/// and go, and the difference between two runs.
const MEMORY_MARGIN_BYTES: u64 = 64 << 20;

/// What was found.
pub(crate) struct Verdict(pub(crate) Vec<String>);

impl Verdict {
    pub(crate) fn is_ok(&self) -> bool {
        self.0.is_empty()
    }
}

/// Judges a run. `base_bytes`: the peak memory of the run without fault.
pub(crate) fn judge(row: &Row, case: Case, run: &Run, base_bytes: Option<u64>) -> Verdict {
    let mut wrong = Vec::new();
    match (run.code, &run.summary) {
        (None, _) => wrong.push("it does not end by itself".to_owned()),
        (Some(_), None) if row.expect.outcome == Outcome::NotReady => wrong.extend(not_ready(row, run)),
        (Some(code), None) => wrong.push(format!("it ended with {code}: {}", run.last_words())),
        (Some(_), Some(_)) if row.expect.outcome == Outcome::NotReady => {
            wrong.push("Go was granted".to_owned());
        }
        (Some(_), Some(_)) => wrong.extend(launched(row, case, run, base_bytes)),
    }
    Verdict(wrong)
}

fn not_ready<'a>(row: &'a Row, run: &'a Run) -> impl Iterator<Item = String> + 'a {
    let missing = row.expect.says(None).into_iter().filter(|text| !run.err.contains(text));
    missing.map(|text| format!("it does not say {text:?} but {:?}", run.last_words()))
}

fn launched(row: &Row, case: Case, run: &Run, base_bytes: Option<u64>) -> Vec<String> {
    let expect = &row.expect;
    let number = |field: &str| run.number(field).unwrap_or(u64::MAX);
    let mut wrong: Vec<String> =
        run.texts("broken_invariants").iter().map(|text| (*text).to_owned()).collect();
    let classes = ["accepted", "rejected", "expired", "suppressed", "not_sent", "unknown"];
    let sum: u64 = classes.iter().map(|class| run.number(class).unwrap_or(0)).sum();
    if sum != case.devices {
        wrong.push(format!("the classes add up to {sum}"));
    }
    if number("received_twice") > number("resent") {
        wrong.push(format!("{} received twice, {} resent", number("received_twice"), number("resent")));
    }
    let hits = run.hits(case.provider);
    if !expect.hits.allows(hits, case, hits) {
        wrong.push(format!("{hits} connections hit, expected {:?}", expect.hits));
    }
    for (class, many) in expect.classes() {
        if !many.allows(number(class), case, hits) {
            wrong.push(format!("{} {class}, expected {many:?} ({hits} connections hit)", number(class)));
        }
    }
    let seconds = number("over_ms") as f64 / 1e3;
    if seconds > expect.within_s as f64 {
        wrong.push(format!("over after {seconds:.1} s, expected {} s", expect.within_s));
    }
    let peak_bytes = number("process_peak_bytes");
    if base_bytes.is_some_and(|base| peak_bytes > base + MEMORY_MARGIN_BYTES) {
        wrong.push(format!("{} MiB of memory", peak_bytes >> 20));
    }
    let reasons = run.texts("reasons");
    let missing = expect.says(Some(case.provider)).into_iter();
    let missing = missing.filter(|text| !reasons.iter().any(|reason| reason.contains(text)));
    wrong.extend(missing.map(|text| format!("the report does not say {text:?}")));
    wrong
}

impl Expect {
    fn classes(&self) -> [(&'static str, Many); 6] {
        [
            ("accepted", self.accepted),
            ("rejected", self.rejected),
            ("expired", Many::Zero),
            ("not_sent", self.not_sent),
            ("unknown", self.unknown),
            ("resent", self.resent),
        ]
    }
}

impl Many {
    /// Whether so many are as many as expected, when so many connections were hit.
    fn allows(self, number: u64, case: Case, hits: u64) -> bool {
        let lost = hits * case.streams();
        match self {
            Many::Zero => number == 0,
            Many::One => number == 1,
            Many::Some => number > 0,
            Many::All => number == case.devices,
            Many::AllButLost => number + 2 * lost >= case.devices,
            Many::UpToLost => number <= lost,
            Many::AtLeast(share) => number as f64 >= share * case.devices as f64,
            Many::AtMost(share) => number as f64 <= share * case.devices as f64,
            Many::Any => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::super::case::Provider;
    use super::super::rows::{NONE, ROWS};
    use super::*;

    const CASE: Case = Case { provider: Provider::Apns, devices: 100 };

    fn run(change: impl FnOnce(&mut Value)) -> Run {
        let mut summary = json!({
            "accepted": 100, "rejected": 0, "expired": 0, "suppressed": 0, "not_sent": 0, "unknown": 0, "resent": 0,
            "received_twice": 0, "over_ms": 800.0, "process_peak_bytes": 1000, "reasons": [],
            "sim_connections": [{ "hit": 0 }, { "hit": 0 }], "broken_invariants": [],
        });
        change(&mut summary);
        Run { code: Some(0), summary: Some(summary), err: String::new(), took: Duration::ZERO }
    }

    #[test]
    fn a_run_as_expected_is_fine_and_every_deviation_is_named() {
        assert!(judge(&NONE, CASE, &run(|_| {}), Some(1_000)).is_ok());
        let deviations: [(&str, Value, &str); 8] = [
            ("accepted", json!(99), "add up to 99"),
            ("unknown", json!(1), "add up to 101"),
            ("received_twice", json!(1), "1 received twice, 0 resent"),
            ("resent", json!(1), "1 resent, expected Zero"),
            ("over_ms", json!(1e6), "over after 1000.0 s"),
            ("process_peak_bytes", json!(1u64 << 30), "1024 MiB"),
            ("broken_invariants", json!(["I2"]), "I2"),
            ("sim_connections", json!([{ "hit": 3 }, { "hit": 0 }]), "3 connections hit"),
        ];
        for (field, value, expected) in deviations {
            let Verdict(wrong) = judge(&NONE, CASE, &run(|summary| summary[field] = value), Some(1_000));
            assert!(wrong.iter().any(|wrong| wrong.contains(expected)), "{field}: {wrong:?}");
        }
    }

    #[test]
    fn what_the_report_must_say_is_looked_for() {
        let row = ROWS.iter().find(|row| row.name == "tls-alert-one").unwrap();
        let told = |reasons: Value| {
            let run = run(|summary| {
                summary["sim_connections"] = json!([{ "hit": 1 }, { "hit": 0 }]);
                summary["reasons"] = reasons;
            });
            judge(row, CASE, &run, None).0
        };
        assert_eq!(
            told(json!(["1 x apns: server ended TLS with an alert: InternalError"])),
            Vec::<String>::new()
        );
        assert_eq!(told(json!(["nothing"])).len(), 1);
    }

    #[test]
    fn a_run_that_never_ends_or_dies_fails() {
        let dead = |code| Run { code, summary: None, err: "it broke\n".into(), took: Duration::ZERO };
        assert_eq!(judge(&NONE, CASE, &dead(None), None).0, ["it does not end by itself"]);
        assert_eq!(judge(&NONE, CASE, &dead(Some(3)), None).0, ["it ended with 3: it broke"]);
    }
}
