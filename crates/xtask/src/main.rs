//! What a person would otherwise have to remember: `cargo xtask <verb>`.

mod arrows;
mod install;
mod rules;
mod steps;

use anyhow::Result;
use clap::{Parser, Subcommand};
use steps::Steps;

/// What developers and CI run.
///
/// Example: cargo xtask test
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Everything that must be green: installs what the tests need, then `check`, then all tests.
    ///
    /// Example: cargo xtask test
    Test,
    /// Format, lints, documentation and dependency rules, without running a test.
    ///
    /// Example: cargo xtask check
    Check,
    /// Who may use whom, as a table.
    ///
    /// Example: cargo xtask arrows
    Arrows,
}

fn main() -> Result<()> {
    match Arguments::parse().verb {
        Verb::Test => {
            let mut steps = Steps::default();
            let result = test(&mut steps);
            steps.print();
            result
        }
        Verb::Check => {
            let mut steps = Steps::default();
            let result = check(&mut steps);
            steps.print();
            result
        }
        Verb::Arrows => {
            print!("{}", arrows::table());
            Ok(())
        }
    }
}

fn check(steps: &mut Steps) -> Result<()> {
    steps.call("dependency rules", || {
        let metadata = rules::metadata()?;
        arrows::check(&metadata)?;
        rules::check(&metadata)
    })?;
    steps.cargo("format", &["fmt", "--all", "--check"])?;
    // The tests' profile, so that what C code there is gets built once.
    let clippy =
        ["clippy", "--workspace", "--all-targets", "--all-features", "--release", "--", "-D", "warnings"];
    steps.cargo("lints", &clippy)?;
    steps.cargo_with(
        "documentation",
        &["doc", "--workspace", "--no-deps", "--release"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )
}

fn test(steps: &mut Steps) -> Result<()> {
    steps.call("install", install::all)?;
    check(steps)?;
    steps.cargo("build", &["build", "--workspace", "--release"])?;
    steps.cargo(
        "build tests",
        &["nextest", "run", "--workspace", "--all-features", "--cargo-profile", "release", "--no-run"],
    )?;
    steps.cargo("documentation tests", &["test", "--workspace", "--release", "--doc"])?;
    steps.cargo("tests", &["nextest", "run", "--workspace", "--all-features", "--cargo-profile", "release"])
}
