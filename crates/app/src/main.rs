//! The one binary: parse, check, build, spawn, drain. Roles are its commands.

mod audience_validate;
mod bench;
mod children;
mod cli;
mod client;
mod config;
mod demo;
mod installation;
mod machine;
mod providers;
mod roles;
mod runtime;
mod sim;
mod simulators;
mod telemetry;
mod up;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use cli::{
    AudienceCommand, Bench, Cli, Command, ConfigCommand, DevicesCommand, Role, SuppressionCommand,
    UsersCommand,
};
use config::{Config, Mistakes};
use roles::RoleName;

/// The command ran and found something wrong.
const FOUND_WRONG: u8 = 1;
/// The command line or the configuration is wrong; clap uses the same.
const USAGE: u8 = 2;
/// Something failed on the way.
const FAILED: u8 = 3;

fn main() -> ExitCode {
    match run(Cli::parse_from(arguments())) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            let is_usage =
                error.downcast_ref::<Mistakes>().is_some() || error.downcast_ref::<Usage>().is_some();
            ExitCode::from(if is_usage { USAGE } else { FAILED })
        }
    }
}

/// A flag whose value cannot be used, found after the command line was read.
#[derive(Debug)]
pub(crate) struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

impl Usage {
    pub(crate) fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// The arguments without a `--` right behind the first word: `cargo demo -- --devices 9` hands it on.
fn arguments() -> Vec<std::ffi::OsString> {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|word| word == "demo")
        && arguments.get(2).is_some_and(|word| word == "--")
    {
        arguments.remove(2);
    }
    arguments
}

fn run(cli: Cli) -> Result<ExitCode> {
    let config = || Config::load(cli.config.as_deref(), std::env::vars());
    match cli.command {
        Command::Sim(sim) => sim.run()?,
        Command::Bench(Bench::Push(bench)) => return Ok(verdict(bench.run()?)),
        Command::Bench(Bench::Audience(bench)) => bench.run()?,
        Command::Bench(Bench::Request(request)) => request.run()?,
        Command::Bench(Bench::Snapshot(bench)) => bench.run()?,
        Command::Audience(AudienceCommand::Validate(validate)) => {
            return Ok(verdict(validate.run(&config()?)?));
        }
        Command::Audience(AudienceCommand::Upload(upload)) => return Ok(verdict(upload.run(&config()?)?)),
        Command::Audience(AudienceCommand::LeftOut(fetch)) => return Ok(verdict(fetch.run(&config()?)?)),
        Command::Audience(AudienceCommand::Diff(diff)) => return Ok(verdict(diff.run(&config()?)?)),
        Command::Devices(DevicesCommand::Import(import)) => return Ok(verdict(import.run(&config()?)?)),
        Command::Suppression(SuppressionCommand::Add(add)) => return Ok(verdict(add.run(&config()?)?)),
        Command::Users(UsersCommand::Show(show)) => return Ok(verdict(show.run(&config()?)?)),
        Command::Users(UsersCommand::Export(export)) => return Ok(verdict(export.run(&config()?)?)),
        Command::Users(UsersCommand::Erase(erase)) => return Ok(verdict(erase.run(&config()?)?)),
        Command::Config(ConfigCommand::Check) => {
            config()?;
            println!("the configuration is good");
        }
        Command::Config(ConfigCommand::Print { default: true }) => print!("{}", config::DEFAULT),
        Command::Config(ConfigCommand::Print { default: false }) => print!("{}", config()?.print()),
        Command::Demo(demo) => return Ok(verdict(demo.run()?)),
        Command::Up(up) => up::run(up, config()?)?,
        Command::Api(role) => {
            roles::run(&config()?, &[RoleName::Api], role.exit_when_stdin_closes, |service| {
                say(&serde_json::json!({ "address": service.address() }))
            })?
        }
        Command::Resolver(role) => run_role(&config()?, RoleName::Resolver, &role)?,
        Command::Dispatcher(role) => run_role(&config()?, RoleName::Dispatcher, &role)?,
        Command::Worker(role) => run_role(&config()?, RoleName::Worker, &role)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn run_role(config: &Config, name: RoleName, role: &Role) -> Result<()> {
    roles::run(config, &[name], role.exit_when_stdin_closes, |_| {
        say(&serde_json::json!({ "role": name.name() }))
    })
}

/// A line to whoever started this process and waits for it.
fn say(line: &serde_json::Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("standard output")
}

fn verdict(is_good: bool) -> ExitCode {
    if is_good { ExitCode::SUCCESS } else { ExitCode::from(FOUND_WRONG) }
}
