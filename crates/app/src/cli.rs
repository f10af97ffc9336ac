//! The command line: what each command takes. What it does is in the module of its name.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::audience_validate::Validate;
use crate::bench::audience::AudienceBench;
use crate::bench::{
    push::{PushBench, Request},
    snapshot::SnapshotBench,
};
use crate::client::{self, users};
use crate::demo::Demo;
use crate::sim::Sim;

/// Sends one push notification to millions of phones within seconds of somebody pressing Go: once, and with proof.
#[derive(Parser)]
#[command(name = "fanfare", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Configuration file; without it the built-in default and the environment decide.
    #[arg(long, global = true, env = "FANFARE_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the command ran and found something wrong (a broken invariant, a failed check)
  2  the command line or the configuration is wrong
  3  something failed on the way (a port in use, a full disk, a lost connection)";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show the whole flow on this machine: people, simulators, two presses of Go, live curve, report, proof.
    #[command(after_help = "Example:\n  fanfare demo --devices 300000 --kill worker@0.5s --json")]
    Demo(Box<Demo>),
    /// Run all roles in one process, with the embedded backend.
    #[command(after_help = "Example:\n  fanfare up --listen 127.0.0.1:8080 --folder ./fanfare-data")]
    Up(Up),
    /// Run the HTTP API.
    #[command(after_help = "Example:\n  fanfare api --config fanfare.toml")]
    Api(Role),
    /// Run a resolver: turns uploaded audiences into snapshots.
    #[command(after_help = "Example:\n  fanfare resolver --config fanfare.toml")]
    Resolver(Role),
    /// Run a dispatcher: plans launches and declares them over.
    #[command(after_help = "Example:\n  fanfare dispatcher --config fanfare.toml")]
    Dispatcher(Role),
    /// Run a worker: holds snapshots, sends shards.
    #[command(after_help = "Example:\n  fanfare worker --config fanfare.toml")]
    Worker(Role),
    /// Run a stand-in for a provider.
    #[command(
        after_help = "Examples:\n  fanfare sim apns --listen 127.0.0.1:2197 --ca-out ca.pem --latency 60ms\n  fanfare sim apns --mode validating --ca-out ca.pem --topics org.example.app"
    )]
    Sim(Box<Sim>),
    /// Measure a part on this machine.
    #[command(subcommand)]
    Bench(Bench),
    /// Lists of users or devices.
    #[command(subcommand)]
    Audience(AudienceCommand),
    /// The directory of devices.
    #[command(subcommand)]
    Devices(DevicesCommand),
    /// The late list: people who must not be sent to any more.
    #[command(subcommand)]
    Suppression(SuppressionCommand),
    /// One person: what is held, and forgetting it.
    #[command(subcommand)]
    Users(UsersCommand),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// Run all roles in one process.
#[derive(Args)]
pub(crate) struct Up {
    /// Address of the HTTP API; overrides `api.listen`.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where everything is kept; overrides `backend.folder`.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
    /// Start simulators too and send only to them: nothing can reach a phone.
    #[arg(long)]
    pub(crate) sim: bool,
}

/// Run one role.
#[derive(Args)]
pub(crate) struct Role {
    /// Stop when standard input closes: a child never outlives the parent that holds the pipe.
    #[arg(long, hide = true)]
    pub(crate) exit_when_stdin_closes: bool,
}

#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Send to any HTTP/2 server through the worker's real sending path.
    #[command(
        after_help = "Example:\n  fanfare bench push --provider apns --endpoint 127.0.0.1:2197 --ca ca.pem \\\n      --devices 1000000 --connections 8 --json"
    )]
    Push(PushBench),
    /// Print a request to APNs as `push` sends it, for other clients to send the same.
    #[command(after_help = "Example:\n  fanfare bench request --body-bytes 191 --tokens 1000")]
    Request(Request),
    /// Import, upload, resolve and export through the real API and resolver.
    #[command(after_help = "Example:\n  fanfare bench audience --devices 600000 --json")]
    Audience(AudienceBench),
    /// Build, verify, load and read a snapshot.
    #[command(after_help = "Example:\n  fanfare bench snapshot --devices 6000000 --json")]
    Snapshot(SnapshotBench),
}

#[derive(Subcommand)]
pub(crate) enum AudienceCommand {
    /// Read a list as the service would and say what it would say, without a server; exit code 1 when it would be refused.
    #[command(
        after_help = "Examples:\n  fanfare audience validate fans.csv.gz --rows users\n  fanfare audience validate export.gz --format pinpoint --apns-app org.example.app \\\n      --locale en --market us --bad-rows accept_valid --bad-share-max 0.05 --list bad.ndjson"
    )]
    Validate(Box<Validate>),
    /// Upload the list of an audience, however often the connection breaks, and say what became of it.
    #[command(
        after_help = "Examples:\n  fanfare audience upload fans.csv.gz --name \"Everybody\"\n  zcat fans.csv.gz | fanfare audience upload - --format csv --audience aud_... --json\n\nFrom standard input a broken connection is gone on with, an ended program is not.\n\nExit codes:\n  0  frozen (with --no-wait: stored)\n  1  refused, by the service or because of its rows\n  2  the command line or the configuration is wrong\n  3  nothing got through"
    )]
    Upload(Box<client::Upload>),
    /// Fetch the list of those whom an audience's snapshot does not have, each with the reason.
    #[command(
        after_help = "Examples:\n  fanfare audience left-out aud_... --format csv --out left-out.csv\n  fanfare audience left-out aud_... | grep duplicate_key"
    )]
    LeftOut(Box<client::lists::LeftOut>),
    /// Say what changed from one frozen audience to another: who came, went and stayed, by market and platform.
    #[command(
        after_help = "Examples:\n  fanfare audience diff aud_TODAY aud_YESTERDAY\n  fanfare audience diff aud_... aud_... --json --format csv --out changed.csv"
    )]
    Diff(Box<client::lists::Diff>),
}

#[derive(Subcommand)]
pub(crate) enum DevicesCommand {
    /// Import files of devices into the directory, however often the connection breaks, and say what became of the rows.
    #[command(
        after_help = "Examples:\n  fanfare devices import devices.csv more.ndjson.zst\n  fanfare devices import export.gz --format pinpoint --apns-app org.example.app --locale en --market us\n\nFrom standard input (-) a broken connection is gone on with, an ended program is not.\n\nExit codes:\n  0  every file was taken (with --no-wait: stored)\n  1  one was refused, by the service or because of its rows; those behind it are left alone\n  2  the command line or the configuration is wrong\n  3  nothing got through"
    )]
    Import(Box<client::Import>),
}

#[derive(Subcommand)]
pub(crate) enum SuppressionCommand {
    /// Put people on the late list: they get nothing any more, whatever was frozen with them in it.
    #[command(
        after_help = "Examples:\n  fanfare suppression add ann bob\n  fanfare suppression add --file gone.csv.gz --cause opted_out\n  zcat gone.txt.gz | fanfare suppression add --file - --format users\n\nWorkers leave them out within ten seconds.\n\nExit codes:\n  0  everybody is on the list (with --no-wait: the file is stored)\n  1  refused, by the service or because of its rows\n  2  the command line or the configuration is wrong\n  3  nothing got through"
    )]
    Add(Box<client::suppression::Add>),
}

#[derive(Subcommand)]
pub(crate) enum UsersCommand {
    /// Look somebody up: which devices, which audiences, which outcomes, and why.
    #[command(
        after_help = "Example:\n  fanfare users show ann --json\n\nKeys are shown as hashes, as in exports."
    )]
    Show(users::Show),
    /// Write everything that is held about somebody into a file to hand to the person, keys in full.
    #[command(after_help = "Example:\n  fanfare users export ann --out ann.json")]
    Export(users::Export),
    /// Forget somebody everywhere, and print the receipt.
    #[command(
        after_help = "Example:\n  fanfare users erase ann --yes\n\nThe person gets nothing more from the answer on. It waits until everything but snapshots is cleared; the receipt says\nwhen those go. What was under way, an upload in parts for example, is waited for."
    )]
    Erase(users::Erase),
}

#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// Name every mistake at once; exit code 2 when there is one.
    #[command(after_help = "Example:\n  fanfare config check --config fanfare.toml")]
    Check,
    /// Print the configuration as it is after file and environment; `--default` prints the commented default.
    #[command(after_help = "Example:\n  fanfare config print --default > fanfare.toml")]
    Print {
        /// The built-in default with its comments.
        #[arg(long)]
        default: bool,
    },
}
