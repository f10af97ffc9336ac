//! `--trace-stages`: where the time of the launch went.

use report::text::{seconds, thousands};
use serde::{Deserialize, Serialize};

/// When a stage was reached, in microseconds since the press, over all who reached it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct StageTimes {
    stage: String,
    count: u64,
    min_us: u64,
    p50_us: u64,
    p95_us: u64,
    p99_us: u64,
    max_us: u64,
}

/// What a stage's row says in words, by its name.
const MEANINGS: [(&str, &str); 9] = [
    ("write", "the launch is stored"),
    ("FIFO", "a slice's trigger reached a dispatcher"),
    ("plan", "the slice is cut into shards"),
    ("enqueue", "its shards are in the queue"),
    ("receive", "a shard reached a worker"),
    ("claim", "the shard is claimed"),
    ("first byte", "its first request is written"),
    ("last answer", "its last answer is in"),
    ("record", "its record is stored"),
];

/// The table. Times count from the press.
pub(crate) fn table(stages: &[StageTimes]) -> String {
    let mut text = format!(
        "Where the time went, from the press\n  {:<14}{:>9}{:>10}{:>10}{:>10}{:>10}{:>10}\n",
        "stage", "count", "first", "50 %", "95 %", "99 %", "last"
    );
    text.push_str(&format!("  {:<14}{:>9}{:>10}\n", "press", 1, "0.0 ms"));
    for stage in stages.iter().filter(|stage| stage.count > 0) {
        let meaning =
            MEANINGS.iter().find(|(name, _)| *name == stage.stage).map_or("", |(_, meaning)| meaning);
        text.push_str(&format!(
            "  {:<14}{:>9}{:>10}{:>10}{:>10}{:>10}{:>10}  {meaning}\n",
            stage.stage,
            thousands(stage.count),
            seconds(stage.min_us),
            seconds(stage.p50_us),
            seconds(stage.p95_us),
            seconds(stage.p99_us),
            seconds(stage.max_us),
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_that_was_reached_has_a_row_with_its_meaning() {
        let stages: Vec<StageTimes> = report::Stage::ALL
            .iter()
            .map(|stage| StageTimes {
                stage: stage.name().into(),
                count: u64::from(*stage != report::Stage::Plan),
                min_us: 1_000,
                p50_us: 2_000,
                p95_us: 3_000,
                p99_us: 3_500,
                max_us: 1_500_000,
            })
            .collect();
        let text = table(&stages);
        assert!(text.contains("FIFO") && text.contains("a slice's trigger reached a dispatcher"), "{text}");
        assert!(text.contains("1.50 s"), "{text}");
        assert!(!text.contains("cut into shards"), "{text}");
    }
}
