//! Installs what the tests need and the machine lacks.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::steps::run;

/// Everything: the test runner, and the servers that tests talk to.
pub(crate) fn all() -> Result<()> {
    if !answers("cargo", &["nextest", "--version"]) {
        run(Command::new("cargo").args(["install", "--locked", "cargo-nextest"]))?;
    }
    if !Path::new("/usr/sbin/nginx").exists() && !answers("nginx", &["-v"]) {
        debian(&["nginx-light"])?;
    }
    // What requests are sent to in `crates/burst-h2/tests/servers`.
    for (program, package) in
        [("/usr/bin/h2o", "h2o"), ("/usr/sbin/nghttpd", "nghttp2-server"), ("/usr/bin/node", "nodejs")]
    {
        if !Path::new(program).exists() {
            debian(&[package])?;
        }
    }
    Ok(())
}

/// Whether a program is there and ends well.
pub(crate) fn answers(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Installs Debian packages.
pub(crate) fn debian(packages: &[&str]) -> Result<()> {
    let apt = |arguments: &[&str]| {
        let mut command = if is_root() {
            Command::new("apt-get")
        } else {
            let mut command = Command::new("sudo");
            command.arg("apt-get");
            command
        };
        run(command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    apt(&["update", "-qq"])?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(packages);
    apt(&arguments).with_context(|| format!("please install {} by hand", packages.join(" ")))
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}
