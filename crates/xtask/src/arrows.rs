//! The arrows between the crates: who may use whom. A new arrow is a decision, made here.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use cargo_metadata::{DependencyKind, Metadata};

/// Crate, and the crates of this workspace that it may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("report", &["model"]),
    ("message", &["model"]),
    ("device-map", &["model"]),
    ("burst-h2", &[]),
    ("push", &["model", "message", "burst-h2"]),
    ("provider-sim", &["model"]),
    ("backend", &["model", "report"]),
    ("backend-embedded", &["backend", "model", "report"]),
    ("audience", &["model", "backend", "device-map"]),
    ("api", &["backend", "message", "report", "model"]),
    ("dispatcher", &["backend", "report", "model"]),
    ("worker", &["backend", "device-map", "push", "report", "model"]),
    (
        "app",
        &[
            "model",
            "report",
            "message",
            "device-map",
            "burst-h2",
            "push",
            "provider-sim",
            "backend",
            "backend-embedded",
            "audience",
            "api",
            "dispatcher",
            "worker",
        ],
    ),
    ("fuzz", &["model", "audience", "burst-h2", "device-map", "push"]),
    ("xtask", &[]),
];

/// Refuses an arrow that is not in the table, and a crate that is not. What only tests use is free.
pub(crate) fn check(metadata: &Metadata) -> Result<()> {
    let members = metadata.workspace_packages();
    let mut faults = String::new();
    for package in &members {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name.as_str()) else {
            writeln!(faults, "crate {} is not in the table of arrows", package.name)?;
            continue;
        };
        let ours = |name: &str| members.iter().any(|member| member.name.as_str() == name);
        for dependency in package.dependencies.iter().filter(|one| one.kind != DependencyKind::Development) {
            if ours(&dependency.name) && !allowed.contains(&dependency.name.as_str()) {
                writeln!(faults, "{} may not use {}", package.name, dependency.name)?;
            }
        }
    }
    if !faults.is_empty() {
        bail!("arrows between crates:\n{faults}");
    }
    Ok(())
}

/// The table, for people.
pub(crate) fn table() -> String {
    let row = |(name, uses): &(&str, &[&str])| {
        let uses = if uses.is_empty() { "-".to_owned() } else { uses.join(", ") };
        format!("{name:<18} {uses}\n")
    };
    ARROWS.iter().map(row).collect()
}
