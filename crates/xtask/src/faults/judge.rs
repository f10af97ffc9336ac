//! Whether a run went as its row expects. Every bound follows from the fault: how many connections it hit, how many
//! requests each could carry, how long it lasted.

use super::case::{Case, Run};
use super::rows::{Expect, Many, Outcome, Row};

/// How much more memory than a run without fault the service may take: what is queued and kept for connections that come
/// and go, and the difference between two runs.
const MEMORY_MARGIN_BYTES: u64 = 40 << 20;
/// How much later than without fault 95 % of the devices may have their answers when nobody else is harmed, as a share and
/// in milliseconds: runs differ.
const LATER: (f64, f64) = (1.5, 200.0);

/// What was found.
pub(crate) struct Verdict(pub(crate) Vec<String>);

impl Verdict {
    pub(crate) fn is_ok(&self) -> bool {
        self.0.is_empty()
    }
}

/// Judges a run beside the one without fault.
pub(crate) fn judge(row: &Row, case: Case, run: &Run, calm: Option<&Run>) -> Verdict {
    let mut wrong = Vec::new();
    match (run.code, &run.summary) {
        (None, _) => wrong.push("it does not end by itself".to_owned()),
        (Some(_), None) if row.expect.outcome == Outcome::NotReady => wrong.extend(not_ready(row, run)),
        (Some(code), None) => wrong.push(format!("it ended with {code}: {}", run.last_words())),
        (Some(_), Some(_)) if row.expect.outcome == Outcome::NotReady => {
            wrong.push("Go was granted".to_owned());
        }
        (Some(_), Some(_)) => wrong.extend(launched(row, case, run, calm)),
    }
    Verdict(wrong)
}

fn not_ready<'a>(row: &'a Row, run: &'a Run) -> impl Iterator<Item = String> + 'a {
    let wanted = row.expect.says(None).into_iter().chain(["Go is refused"]);
    let missing = wanted.filter(|text| !run.err.contains(text));
    missing.map(|text| format!("it does not say {text:?} but {:?}", run.last_words()))
}

fn launched(row: &Row, case: Case, run: &Run, calm: Option<&Run>) -> Vec<String> {
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
    let p95_ms = run.number("p95_ms");
    let usual_ms = calm.and_then(|calm| calm.number("p95_ms"));
    if let (true, Some(p95_ms), Some(usual_ms)) = (expect.is_unharmed, p95_ms, usual_ms)
        && p95_ms as f64 > usual_ms as f64 * LATER.0 + LATER.1
    {
        wrong.push(format!("95 % answered after {p95_ms} ms, {usual_ms} ms without fault"));
    }
    let peak_bytes = number("process_peak_bytes");
    let base_bytes = calm.and_then(Run::peak_bytes);
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
    fn classes(&self) -> [(&'static str, Many); 8] {
        [
            ("accepted", self.accepted),
            ("rejected", self.rejected),
            ("expired", Many::Zero),
            ("suppressed", Many::Zero),
            ("not_sent", self.not_sent),
            ("unknown", self.unknown),
            ("resent", self.resent),
            ("repeated", self.repeated),
        ]
    }
}

impl Many {
    /// Whether so many are as many as expected, when so many connections were hit.
    fn allows(self, number: u64, case: Case, hits: u64) -> bool {
        let (first, later) = (hits.min(case.connections()), hits.saturating_sub(case.connections()));
        let lost = first * case.streams() + later * case.streams() / 10;
        let share = number as f64 / case.devices as f64;
        match self {
            Many::Zero => number == 0,
            Many::One => number == 1,
            Many::Some => number > 0,
            Many::All => number == case.devices,
            Many::AllButLost => number + 2 * lost >= case.devices,
            Many::UpToLost => number <= lost,
            Many::AtLeast(least) => share >= least,
            Many::AtMost(most) => share <= most,
            Many::Between(least, most) => share > least && share < most,
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
            "repeated": 0, "p95_ms": 700.0, "received_twice": 0, "over_ms": 800.0, "process_peak_bytes": 1000, "reasons": [],
            "sim_connections": [{ "hit": 0 }, { "hit": 0 }], "broken_invariants": [],
        });
        change(&mut summary);
        Run { code: Some(0), summary: Some(summary), err: String::new(), took: Duration::ZERO }
    }

    #[test]
    fn a_run_as_expected_is_fine_and_every_deviation_is_named() {
        let calm = run(|_| {});
        assert!(judge(&NONE, CASE, &calm, Some(&calm)).is_ok());
        let deviations: [(&str, Value, &str); 9] = [
            ("suppressed", json!(1), "1 suppressed, expected Zero"),
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
            let Verdict(wrong) = judge(&NONE, CASE, &run(|summary| summary[field] = value), Some(&calm));
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
    fn one_bad_connection_may_not_make_the_others_late() {
        let row = ROWS.iter().find(|row| row.name == "reset-one").unwrap();
        let calm = run(|_| {});
        let told = |p95_ms: f64| {
            let run = run(|summary| {
                summary["sim_connections"] = json!([{ "hit": 1 }, { "hit": 0 }]);
                summary["reasons"] = json!(["1 x apns: server reset the connection"]);
                summary["p95_ms"] = json!(p95_ms);
            });
            judge(row, CASE, &run, Some(&calm)).0
        };
        assert_eq!(told(1_200.0), Vec::<String>::new());
        assert_eq!(told(1_300.0), ["95 % answered after 1300 ms, 700 ms without fault"]);
    }

    #[test]
    fn go_has_to_be_refused_and_to_say_why() {
        let row = ROWS.iter().find(|row| row.name == "certificate-expired-before").unwrap();
        let told = |err: &str| {
            let run = Run { code: Some(3), summary: None, err: err.into(), took: Duration::ZERO };
            judge(row, CASE, &run, None).0
        };
        assert_eq!(told("error: Go is refused: server's certificate has expired"), Vec::<String>::new());
        assert_eq!(told("error: server's certificate has expired").len(), 1);
        assert_eq!(told("error: Go is refused: nobody is there").len(), 1);
        assert_eq!(judge(row, CASE, &run(|_| {}), None).0, ["Go was granted"]);
    }

    #[test]
    fn bounds_of_what_is_lost_and_of_shares() {
        let case = Case { provider: Provider::Apns, devices: 100_000 };
        let allows = |many: Many, number, hits| many.allows(number, case, hits);
        assert!(allows(Many::UpToLost, 2_000, 2) && !allows(Many::UpToLost, 2_001, 2));
        assert!(!allows(Many::UpToLost, 8_201, 10), "those behind the first eight carry little");
        assert!(allows(Many::AllButLost, 96_000, 2) && !allows(Many::AllButLost, 95_999, 2));
        assert!(allows(Many::AtLeast(0.5), 50_000, 0) && !allows(Many::AtLeast(0.5), 49_999, 0));
        assert!(allows(Many::AtMost(0.5), 50_000, 0) && !allows(Many::AtMost(0.5), 50_001, 0));
        let between = Many::Between(0.0, 0.1);
        assert!(allows(between, 1, 0) && !allows(between, 0, 0) && !allows(between, 10_000, 0));
        assert!(!allows(Many::Some, 0, 0) && allows(Many::Any, 0, 0));
    }

    #[test]
    fn a_run_that_never_ends_or_dies_fails() {
        let dead = |code| Run { code, summary: None, err: "it broke\n".into(), took: Duration::ZERO };
        assert_eq!(judge(&NONE, CASE, &dead(None), None).0, ["it does not end by itself"]);
        assert_eq!(judge(&NONE, CASE, &dead(Some(3)), None).0, ["it ended with 3: it broke"]);
    }
}
