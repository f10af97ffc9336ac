//! Runs steps one after another and says how long each took.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The steps so far.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<(String, Duration, bool)>,
}

impl Steps {
    /// Runs `step`.
    #[allow(clippy::disallowed_methods, reason = "the time of a step is what this prints")]
    pub(crate) fn call(&mut self, name: &str, step: impl FnOnce() -> Result<()>) -> Result<()> {
        println!("==> {name}");
        let start = Instant::now();
        let result = step().with_context(|| format!("step {name:?} failed"));
        self.done.push((name.to_owned(), start.elapsed(), result.is_ok()));
        result
    }

    /// Runs cargo.
    pub(crate) fn cargo(&mut self, name: &str, arguments: &[&str]) -> Result<()> {
        self.cargo_with(name, arguments, &[])
    }

    /// Runs cargo with something more in its environment.
    pub(crate) fn cargo_with(
        &mut self,
        name: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<()> {
        self.call(name, || {
            let mut command = cargo();
            command.args(arguments).envs(environment.iter().copied());
            run(&mut command)
        })
    }

    /// The table of times.
    pub(crate) fn print(&self) {
        println!("\n{:<24} {:>9}", "step", "seconds");
        for (name, took, is_good) in &self.done {
            let verdict = if *is_good { "" } else { "  FAILED" };
            println!("{name:<24} {:>9.1}{verdict}", took.as_secs_f64());
        }
        let total: Duration = self.done.iter().map(|(_, took, _)| *took).sum();
        println!("{:<24} {:>9.1}", "total", total.as_secs_f64());
    }
}

/// Cargo, as if nobody's cargo had started us: build scripts look at what `cargo run` says of this package, and would build
/// their crates anew, and once more when somebody calls cargo without us.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let ours = std::env::vars_os().map(|(name, _)| name);
    let of_package = ours.filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
    });
    of_package.for_each(|name| {
        command.env_remove(name);
    });
    command
}

/// Runs a command to its end; anything but success is an error that shows the command.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}
