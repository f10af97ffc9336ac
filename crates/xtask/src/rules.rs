//! Rules about other people's crates: where they come from, under which licence, one version of what must not
//! be there twice, and who may bring the heavy ones in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};
use spdx::{Expression, LicenseReq};

/// Licences under which a dependency may come.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    // Of libFuzzer, which is in no program of ours.
    "NCSA",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates of which one version may be in the program, apart from what the named crates bring for themselves.
const ONCE: &[(&str, &[&str])] = &[
    ("hyper", &["a2", "fcm"]),
    ("h2", &["a2", "fcm"]),
    ("rustls", &["a2", "fcm"]),
    ("ring", &[]),
    ("aws-lc-rs", &[]),
    ("tokio", &[]),
    ("rusqlite", &[]),
];

/// Crates that only these crates of ours may use directly. What only tests use is free.
const QUARANTINE: &[(&str, &[&str])] = &[
    ("a2", &["message"]),
    ("fcm", &["message"]),
    ("h2", &["provider-sim"]),
    ("p256", &["provider-sim"]),
    ("rusqlite", &["backend-embedded"]),
    ("axum", &["api"]),
    ("anyhow", &["app", "xtask"]),
    ("ring", &["burst-h2", "provider-sim"]),
    ("openssl", &[]),
    ("native-tls", &[]),
];

/// The workspace with all features and everything it depends on.
pub(crate) fn metadata() -> Result<Metadata> {
    let mut command = MetadataCommand::new();
    command.features(cargo_metadata::CargoOpt::AllFeatures);
    command.exec().context("cargo metadata")
}

/// Checks all rules and names every fault.
pub(crate) fn check(metadata: &Metadata) -> Result<()> {
    let mut faults = String::new();
    check_sources_and_licences(metadata, &mut faults)?;
    check_versions(metadata, &mut faults)?;
    check_quarantine(metadata, &mut faults)?;
    if !faults.is_empty() {
        bail!("dependency rules:\n{faults}");
    }
    Ok(())
}

fn check_sources_and_licences(metadata: &Metadata, faults: &mut String) -> Result<()> {
    let is_allowed =
        |requirement: &LicenseReq| requirement.license.id().is_some_and(|id| LICENCES.contains(&id.name));
    for package in &metadata.packages {
        let Some(source) = &package.source else { continue };
        if !source.is_crates_io() {
            writeln!(faults, "{} {} comes from {source}", package.name, package.version)?;
        }
        let licence = package.license.as_deref().unwrap_or_default();
        let is_fine = Expression::parse_mode(licence, spdx::ParseMode::LAX)
            .is_ok_and(|expression| expression.evaluate(is_allowed));
        if !is_fine {
            writeln!(faults, "{} {} has the licence {licence:?}", package.name, package.version)?;
        }
    }
    Ok(())
}

fn check_versions(metadata: &Metadata, faults: &mut String) -> Result<()> {
    for (name, apart) in ONCE {
        let reached = reached_without(metadata, apart);
        let versions: BTreeSet<String> = metadata
            .packages
            .iter()
            .filter(|package| package.name.as_str() == *name && reached.contains(&package.id))
            .map(|package| package.version.to_string())
            .collect();
        if versions.len() > 1 {
            writeln!(faults, "{name} is there more than once: {versions:?}")?;
        }
    }
    Ok(())
}

/// Every package that can be reached from the workspace without passing through one of `apart`.
fn reached_without(metadata: &Metadata, apart: &[&str]) -> BTreeSet<PackageId> {
    let names: BTreeMap<&PackageId, &str> =
        metadata.packages.iter().map(|package| (&package.id, package.name.as_str())).collect();
    let nodes: BTreeMap<&PackageId, Vec<&PackageId>> = metadata
        .resolve
        .iter()
        .flat_map(|resolve| &resolve.nodes)
        .map(|node| (&node.id, node.deps.iter().map(|dependency| &dependency.pkg).collect()))
        .collect();
    let mut reached = BTreeSet::new();
    let mut open: Vec<&PackageId> = metadata.workspace_members.iter().collect();
    while let Some(id) = open.pop() {
        if apart.contains(&names[id]) || !reached.insert(id.clone()) {
            continue;
        }
        open.extend(nodes.get(id).into_iter().flatten());
    }
    reached
}

fn check_quarantine(metadata: &Metadata, faults: &mut String) -> Result<()> {
    for package in metadata.workspace_packages() {
        for dependency in package.dependencies.iter().filter(|one| one.kind != DependencyKind::Development) {
            let rule = QUARANTINE.iter().find(|(name, _)| *name == dependency.name);
            if rule.is_some_and(|(_, owners)| !owners.contains(&package.name.as_str())) {
                writeln!(faults, "{} may not use {} directly", package.name, dependency.name)?;
            }
        }
    }
    Ok(())
}
