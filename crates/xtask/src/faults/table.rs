//! The matrix for reading, and for machines.

use serde_json::{Value, json};

use super::Done;

/// Characters of what the report says.
const SAYS_CHARS_MAX: usize = 100;

/// The table's head.
pub(crate) const HEAD: &str = "\
provider fault                     accepted  rejected expired not sent  unknown  resent  twice    MiB seconds  verdict; what the report says";

/// A row.
pub(crate) fn line(done: &Done) -> String {
    let Done { row, case, run, verdict } = done;
    let number = |field: &str| run.number(field).map_or_else(|| "-".to_owned(), |number| number.to_string());
    let mib = run.peak_bytes().map_or_else(|| "-".to_owned(), |bytes| (bytes >> 20).to_string());
    let seconds = run.number("over_ms").map_or(run.took.as_secs_f64(), |ms| ms as f64 / 1e3);
    let is_ok = verdict.is_ok();
    let says = match &run.summary {
        // The reason stands at the end of an error.
        None => tail(run.last_words()),
        Some(_) => run.texts("reasons").join("; ").chars().take(SAYS_CHARS_MAX).collect(),
    };
    let verdict = if is_ok { "ok".to_owned() } else { format!("FAIL({})", verdict.0.join("; ")) };
    format!(
        "{:<8} {:<24} {:>9} {:>9} {:>7} {:>8} {:>8} {:>7} {:>6} {:>6} {seconds:>7.1}  {verdict}; {says}",
        case.provider.name(),
        row.name,
        number("accepted"),
        number("rejected"),
        number("expired"),
        number("not_sent"),
        number("unknown"),
        number("resent"),
        number("received_twice"),
        mib,
    )
}

/// The last characters of a text.
fn tail(text: &str) -> String {
    let skipped = text.chars().count().saturating_sub(SAYS_CHARS_MAX);
    let dots = if skipped > 0 { "..." } else { "" };
    format!("{dots}{}", text.chars().skip(skipped).collect::<String>())
}

/// A row for machines.
pub(crate) fn json(done: &Done) -> Value {
    let Done { row, case, run, verdict } = done;
    json!({
        "provider": case.provider.name(),
        "fault": row.name,
        "flags": row.flags(*case),
        "is_ok": verdict.is_ok(),
        "wrong": verdict.0,
        "connections_hit": run.hits(case.provider),
        "took_s": run.took.as_secs_f64(),
        "last_words": run.last_words(),
        "summary": run.summary,
    })
}
