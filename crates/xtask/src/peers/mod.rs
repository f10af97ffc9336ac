//! `cargo xtask bench peers`: the sending path beside other HTTP/2 clients, in one go and interleaved, with the same
//! requests, servers, cores, connections and streams for all. What is compared and how: docs/capacity.md, loadtest/README.md.

mod cell;
mod client;
mod command;
mod h2load;
mod install;
mod lab;
mod machine;
mod plan;
mod server;
mod table;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

pub(crate) use cell::Setting;
use client::Peer;
use lab::Lab;
use server::Kind;

/// Compare the sending path with other HTTP/2 clients.
#[derive(Args)]
pub(crate) struct Peers {
    /// How often everything is measured; the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Requests of one measurement, at most: a client gets what it does in about --seconds, and no fewer than fit into its
    /// connections at once.
    #[arg(long, default_value_t = 4_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    requests: u64,
    /// About how long one measurement takes.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// The servers.
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = Kind::ALL)]
    servers: Vec<Kind>,
    /// The clients; ours is what the others are compared with.
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = Peer::ALL)]
    peers: Vec<Peer>,
    /// Connections x streams that are the same for all. Each client's own best setting is searched for besides.
    #[arg(long, value_delimiter = ',', default_value = "8x1000")]
    settings: Vec<Setting>,
    /// Do not search for each client's own best setting.
    #[arg(long)]
    no_best: bool,
    /// Every measurement, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The tables as Markdown, with the machine, for docs/capacity.md.
    #[arg(long)]
    markdown: bool,
}

impl Peers {
    /// Runs it; an error when a server or a client failed. A ratio that was missed is none.
    pub(crate) fn run(&self) -> Result<()> {
        if self.servers.is_empty() || self.peers.is_empty() || self.settings.is_empty() {
            bail!("at least one server, one peer and one setting are needed");
        }
        let lab = Lab::prepare(&self.servers, &self.peers)?;
        let cells = plan::measure(self, &lab)?;
        let machine = machine::describe(&lab.loadtest)?;
        let text =
            if self.markdown { table::markdown(&cells, &machine) } else { table::terminal(&cells, &machine) };
        print!("\n{text}");
        if let Some(path) = &self.json {
            std::fs::write(path, table::json(&cells, &machine)?)?;
        }
        let failures: Vec<_> = cells.iter().filter_map(|cell| cell.failure_text()).collect();
        if !failures.is_empty() {
            bail!("not measured:\n{}", failures.join("\n"));
        }
        Ok(())
    }
}
