//! Builds the program of `crates/fuzz` with libFuzzer's instrumentation, on the stable compiler, and runs its targets.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::rules;
use crate::steps::{Steps, run};

/// What libFuzzer wants of the compiler: counters at every edge, their places in the code, and the operands of comparisons.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares";
/// Inputs longer than this say nothing new.
const INPUT_BYTES_MAX: usize = 4_096;
/// One input may take this long.
const INPUT_SECONDS_MAX: u32 = 10;
const MEMORY_MIB_MAX: u32 = 2_048;

/// The targets of `crates/fuzz`, by whose names it is asked.
const TARGETS: [&str; 9] = [
    "connection",
    "hpack-decoder",
    "hpack-encoder",
    "apns-replies",
    "fcm-replies",
    "uploads",
    "parquet",
    "snapshots",
    "messages",
];

/// Runs one target or all, each for so many minutes. What is found is kept under `target/fuzz`.
pub(crate) fn fuzz(steps: &mut Steps, minutes: f64, target: Option<&str>) -> Result<()> {
    if let Some(name) = target.filter(|name| !TARGETS.contains(name)) {
        bail!("there is no target {name}, only {}", TARGETS.join(", "));
    }
    let folder = rules::metadata()?.target_directory.into_std_path_buf().join("fuzz");
    let host = host()?;
    steps.call("build", || build(&folder, &host))?;
    let program = folder.join(&host).join("fuzz").join("fuzz");
    let mut found = Vec::new();
    for name in TARGETS.into_iter().filter(|name| target.is_none_or(|wanted| wanted == *name)) {
        let result = steps.call(name, || run_target(&folder, &program, name, minutes));
        found.extend(result.err().map(|error| format!("{error:#}")));
    }
    if !found.is_empty() {
        bail!("{}", found.join("\n"));
    }
    Ok(())
}

/// The target's triple must be named: only then are build scripts and macros built without the flags.
fn build(folder: &Path, host: &str) -> Result<()> {
    let mut command = crate::steps::cargo();
    let build = ["build", "--package", "fuzz", "--all-features", "--profile", "fuzz"];
    command.args(build).args(["--target", host, "--target-dir"]);
    run(command.arg(folder).env("RUSTFLAGS", FLAGS).env_remove("CARGO_ENCODED_RUSTFLAGS"))
}

fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("rustc -vV")?;
    let text = String::from_utf8(output.stdout).context("rustc -vV")?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc names no host")
}

fn run_target(folder: &Path, program: &Path, name: &str, minutes: f64) -> Result<()> {
    let within = |kind: &str| -> Result<PathBuf> {
        let path = folder.join(kind).join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    };
    let (corpus, seeds, findings) = (within("corpus")?, within("seeds")?, within("findings")?);
    let before = files(&findings)?;
    let seconds = (minutes * 60.0).ceil().max(1.0) as u64;
    let mut command = Command::new(program);
    command
        .env("FUZZ_TARGET", name)
        .env("FUZZ_SEEDS", &seeds)
        .arg(&corpus)
        .arg(&seeds)
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .arg("-print_final_stats=1");
    let result = run(&mut command);
    // What was slow and within its time is no finding: a machine that others use pauses now and then.
    let is_slow =
        |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("slow-unit"));
    let mut news = files(&findings)?;
    news.retain(|path| !before.contains(path) && !is_slow(path));
    for path in &news {
        println!("found: {}", path.display());
        println!("replay: FUZZ_TARGET={name} {} {}", program.display(), path.display());
    }
    result.with_context(|| format!("target {name} found {} inputs", news.len()))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This program builds without what it fuzzes, so the names stand here a second time.
    #[test]
    fn the_targets_are_those_of_the_crate() {
        let source = include_str!("../../fuzz/src/lib.rs");
        let list = source.split_once("TARGETS: &[Target] = &[").unwrap().1.split_once("];").unwrap().0;
        let names: Vec<&str> =
            list.split("name: \"").skip(1).map(|rest| rest.split_once('"').unwrap().0).collect();
        assert_eq!(names, TARGETS);
    }
}
