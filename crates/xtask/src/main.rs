//! What a person would otherwise have to remember: `cargo xtask <verb>`.

mod arrows;
mod audience;
mod bench;
mod faults;
mod fuzz;
mod install;
mod peers;
mod rules;
mod scale;
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
    /// Builds every fuzz target and runs each for a while; exit 1 and the command that replays when something is found.
    ///
    /// Example: cargo xtask fuzz --minutes 10 connection
    Fuzz {
        /// Minutes per target.
        #[arg(long, default_value_t = 1.0)]
        minutes: f64,
        /// One target only.
        target: Option<String>,
    },
    /// Every fault that a provider's simulator knows, against the whole program, as a table. Fails when a row fails.
    ///
    /// Example: cargo xtask faults --only certificate --provider apns
    Faults(faults::Faults),
    /// Who may use whom, as a table.
    ///
    /// Example: cargo xtask arrows
    Arrows,
    /// Measure.
    #[command(subcommand)]
    Bench(Bench),
}

#[derive(Subcommand)]
enum Bench {
    /// The sending path beside other HTTP/2 clients, in one go: installs and builds them, then takes some six minutes.
    ///
    /// Example: cargo xtask bench peers --markdown
    Peers(peers::Peers),
    /// How the cost of the sending path goes with connections, devices, bytes and threads: some ten minutes.
    ///
    /// Example: cargo xtask bench scale --series body,threads
    Scale(scale::Scale),
    /// How fast devices and audiences come in and outcomes go out, beside the floors: some three minutes.
    ///
    /// Example: cargo xtask bench audience --rounds 1
    Audience(audience::Audience),
}

/// What is checked is built with this.
const PROFILE: &str = "tested";

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
        Verb::Fuzz { minutes, target } => {
            let mut steps = Steps::default();
            let result = fuzz::fuzz(&mut steps, minutes, target.as_deref());
            steps.print();
            result
        }
        Verb::Faults(faults) => faults.run(),
        Verb::Arrows => {
            print!("{}", arrows::table());
            Ok(())
        }
        Verb::Bench(Bench::Peers(peers)) => peers.run(),
        Verb::Bench(Bench::Scale(scale)) => scale.run(),
        Verb::Bench(Bench::Audience(audience)) => audience.run(),
    }
}

fn check(steps: &mut Steps) -> Result<()> {
    steps.call("dependency rules", || {
        let metadata = rules::metadata()?;
        arrows::check(&metadata)?;
        rules::check(&metadata)
    })?;
    steps.cargo("format", &["fmt", "--all", "--check"])?;
    // Everything is built with one profile, so that what C code there is gets built once.
    let workspace = ["--workspace", "--all-features", "--profile", PROFILE];
    let lints = [&["clippy"], &workspace[..], &["--all-targets", "--", "-D", "warnings"]].concat();
    steps.cargo("lints", &lints)?;
    let documentation = [&["doc"], &workspace[..], &["--no-deps"]].concat();
    steps.cargo_with("documentation", &documentation, &[("RUSTDOCFLAGS", "-D warnings")])
}

fn test(steps: &mut Steps) -> Result<()> {
    steps.call("install", install::all)?;
    check(steps)?;
    let all = ["--workspace", "--all-features", "--cargo-profile", PROFILE];
    steps.cargo("build tests", &[&["nextest", "run"], &all[..], &["--no-run"]].concat())?;
    let documented = ["test", "--workspace", "--all-features", "--profile", PROFILE, "--doc"];
    steps.cargo("documentation tests", &documented)?;
    steps.cargo("tests", &[&["nextest", "run"], &all[..]].concat())?;
    // The features that are off by default are on everywhere above.
    steps.cargo("default features", &["check", "--workspace", "--profile", PROFILE])
}
