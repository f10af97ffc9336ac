//! `cargo xtask faults`: every fault that a provider's simulator knows, one after another, against the whole program.
//! Each row must keep every invariant, end by itself, stay within its memory, and say in the report what went wrong.

mod case;
mod judge;
mod rows;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use case::{Case, Provider, Run};
use judge::{Verdict, judge};
use rows::{NONE, ROWS, Row};

/// The fault matrix.
#[derive(Args)]
pub(crate) struct Faults {
    /// Devices of each row.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(50_000..=5_000_000))]
    devices: u64,
    /// Only faults whose name contains this; a name that none has lists them all.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Only this provider.
    #[arg(long, value_enum)]
    provider: Option<Provider>,
    /// Also write every row's figures here, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// This program instead of a release build of the source.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// A row that was run.
struct Done {
    row: &'static Row,
    case: Case,
    run: Run,
    verdict: Verdict,
}

impl Faults {
    /// Runs the matrix; an error when a row fails.
    pub(crate) fn run(self) -> Result<()> {
        self.check()?;
        let program = match &self.program {
            Some(program) => program.clone(),
            None => crate::bench::build()?,
        };
        let mut all = Vec::new();
        println!("{}", table::HEAD);
        for provider in Provider::ALL {
            if self.provider.is_some_and(|only| only != provider) {
                continue;
            }
            let case = Case { provider, devices: self.devices };
            // What the others' memory and answers are compared with.
            let calm = self.one(&program, &NONE, case, None)?;
            for row in ROWS.iter().filter(|row| self.wants(row) && row.providers.contains(&provider)) {
                all.push(self.one(&program, row, case, Some(&calm.run))?);
            }
            all.push(calm);
        }
        if let Some(path) = &self.json {
            let rows: Vec<_> = all.iter().map(table::json).collect();
            let text = serde_json::to_string_pretty(&rows)?;
            std::fs::write(path, text).with_context(|| path.display().to_string())?;
        }
        let failed = all.iter().filter(|done| !done.verdict.is_ok()).count();
        let seconds: f64 = all.iter().map(|done| done.run.took.as_secs_f64()).sum();
        println!("\n{} rows in {seconds:.0} s, {failed} failed", all.len());
        if failed > 0 {
            bail!("{failed} rows of the fault matrix failed");
        }
        Ok(())
    }

    /// What would come to light only after the rows.
    fn check(&self) -> Result<()> {
        if let Some(name) = self.only.as_ref().filter(|_| !ROWS.iter().any(|row| self.wants(row))) {
            let of = self.provider.map_or_else(String::new, |provider| format!(" of {}", provider.name()));
            bail!("no fault{of} has {name:?} in its name; there are: {}", names());
        }
        if let Some(path) = &self.json {
            std::fs::write(path, "").with_context(|| format!("--json {}", path.display()))?;
        }
        if let Some(program) = self.program.as_ref().filter(|program| !program.is_file()) {
            bail!("--program {}: there is no such file", program.display());
        }
        Ok(())
    }

    /// Whether a row was asked for, of any provider that was.
    fn wants(&self, row: &Row) -> bool {
        let is_named = self.only.as_ref().is_none_or(|name| row.name.contains(name.as_str()));
        is_named && self.provider.is_none_or(|provider| row.providers.contains(&provider))
    }

    fn one(&self, program: &Path, row: &'static Row, case: Case, calm: Option<&Run>) -> Result<Done> {
        let run = case.run(program, row)?;
        let verdict = judge(row, case, &run, calm);
        let done = Done { row, case, run, verdict };
        println!("{}", table::line(&done));
        Ok(done)
    }
}

fn names() -> String {
    ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ")
}
