//! `cargo xtask bench audience`: how fast lists come in and go out, beside what is demanded.

use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::bench::{self, median};

/// Import, upload, resolve and export.
#[derive(Args)]
pub(crate) struct Audience {
    /// How often everything is measured; the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Devices; two thirds as many users.
    #[arg(long, default_value_t = 6_000_000, value_parser = clap::value_parser!(u64).range(100..=100_000_000))]
    devices: u64,
}

/// What is demanded of a figure.
enum Floor {
    AtLeast(f64),
    AtMost(f64),
    None,
}

/// A figure of `fanfare bench audience`, its name for people, and what is demanded at the full size.
const FIGURES: [(&str, &str, Floor); 9] = [
    ("/import_fresh_per_second", "devices imported a second, fresh", Floor::AtLeast(400_000.0)),
    (
        "/import_upsert_per_second",
        "devices imported a second, all known and changed",
        Floor::AtLeast(150_000.0),
    ),
    ("/singles/per_second", "devices put or removed a second one by one, beside that", Floor::AtLeast(990.0)),
    ("/singles/p99_ms", "of these the 99th percentile, ms", Floor::None),
    ("/upload_and_resolve_s", "seconds for users uploaded, resolved and frozen", Floor::AtMost(15.0)),
    ("/export_per_second", "outcomes exported a second", Floor::None),
    ("/peak_bytes", "most memory resident, bytes", Floor::None),
    (
        "/difference_per_second",
        "devices compared a second, of all and of a sample of nine tenths",
        Floor::None,
    ),
    ("/difference_peak_bytes", "most memory resident meanwhile, bytes", Floor::None),
];
/// The size for which the floors are.
const FULL: u64 = 6_000_000;

impl Audience {
    /// Runs it; an error when a floor is missed at the full size.
    pub(crate) fn run(&self) -> Result<()> {
        let program = bench::build()?;
        let mut rounds = Vec::new();
        for round in 1..=self.rounds {
            eprintln!("round {round} of {}", self.rounds);
            let devices = self.devices.to_string();
            let output = Command::new(&program)
                .args(["bench", "audience", "--json", "--devices", &devices])
                .stderr(std::process::Stdio::inherit())
                .output()
                .with_context(|| program.display().to_string())?;
            if !output.status.success() {
                bail!("fanfare bench audience: {}", output.status);
            }
            rounds.push(serde_json::from_slice::<Value>(&output.stdout).context("not JSON")?);
        }
        println!("| what | median | all | floor | |\n|---|---:|---|---:|---|");
        let mut missed = 0;
        for (name, what, floor) in &FIGURES {
            let figures: Vec<f64> = rounds.iter().filter_map(|round| round.pointer(name)?.as_f64()).collect();
            if figures.is_empty() {
                bail!("fanfare bench audience tells no {name}");
            }
            let middle = median(figures.clone());
            let (demanded, holds) = floor.judge(middle);
            missed += u32::from(!holds && self.devices >= FULL);
            let all: Vec<String> = figures.iter().map(|figure| short(*figure)).collect();
            let verdict = match (demanded.is_empty() || self.devices < FULL, holds) {
                (true, _) => "",
                (false, true) => "ok",
                (false, false) => "MISSED",
            };
            println!("| {what} | {} | {} | {demanded} | {verdict} |", short(middle), all.join(", "));
        }
        if missed > 0 {
            bail!("{missed} floors are missed");
        }
        Ok(())
    }
}

impl Floor {
    /// What is demanded as a text, and whether `figure` reaches it.
    fn judge(&self, figure: f64) -> (String, bool) {
        match self {
            Floor::AtLeast(least) => (format!(">= {}", short(*least)), figure >= *least),
            Floor::AtMost(most) => (format!("<= {}", short(*most)), figure <= *most),
            Floor::None => (String::new(), true),
        }
    }
}

/// A number as people read it.
fn short(figure: f64) -> String {
    if figure >= 1_000.0 { format!("{:.0}", figure) } else { format!("{figure:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_are_reached_from_the_right_side() {
        assert!(Floor::AtLeast(2.0).judge(2.0).1 && !Floor::AtLeast(2.0).judge(1.9).1);
        assert!(Floor::AtMost(2.0).judge(2.0).1 && !Floor::AtMost(2.0).judge(2.1).1);
        assert_eq!(Floor::None.judge(0.0), (String::new(), true));
        assert_eq!((short(14.96), short(412_345.6)), ("15.0".into(), "412346".into()));
    }
}
