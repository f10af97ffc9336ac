//! The servers: our stand-in in its fast mode, nginx, h2o and nghttpd, with TLS 1.3 and AES-128-GCM, one thread, an empty
//! answer with status 200 to every POST, and no limit on how long a connection lives.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde_json::Value;

use super::command::{self, Running};
use super::lab::Lab;

/// Where Debian puts them: not on everybody's path.
pub(super) const NGINX: &str = "/usr/sbin/nginx";
pub(super) const NGHTTPD: &str = "/usr/sbin/nghttpd";

/// Streams per connection that every server allows, but for h2o: version 2.2 announces 100 whatever it is told.
const STREAMS: u32 = 1_000;
/// Somebody else may take a port between finding it free and listening on it.
const TRIES: usize = 3;
/// How long a server may take to listen: so many looks, 20 ms apart.
const LOOKS: usize = 250;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    FastSim,
    Nginx,
    H2o,
    Nghttpd,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::FastSim, Self::Nginx, Self::H2o, Self::Nghttpd];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::FastSim => "fast simulator",
            Self::Nginx => "nginx",
            Self::H2o => "h2o",
            Self::Nghttpd => "nghttpd",
        }
    }

    /// Whether it answers as APNs does, with the request's `apns-id` and without a DATA frame: nghttpd cannot repeat a
    /// field, and h2o's handler ends an answer with an empty DATA.
    pub(super) const fn answers_as_apns(self) -> bool {
        matches!(self, Self::FastSim | Self::Nginx)
    }

    /// h2o 2.2 puts fields into a client's header table even when SETTINGS_HEADER_TABLE_SIZE says 0.
    pub(super) const fn insists_on_a_header_table(self) -> bool {
        matches!(self, Self::H2o)
    }

    /// Starts it and waits until it listens.
    pub(super) fn start(self, lab: &Lab) -> Result<Server> {
        let log = lab.folder.join(format!("{}.log", self.name()));
        let start = || match self {
            Self::FastSim => simulator(lab, File::create(&log)?),
            Self::Nginx => listening(self, lab, &log, |port| nginx(lab, port)),
            Self::H2o => listening(self, lab, &log, |port| h2o(lab, port)),
            Self::Nghttpd => listening(self, lab, &log, |port| Ok(nghttpd(lab, port))),
        };
        start().with_context(|| {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            format!("cannot start {}, which said {:?}", self.name(), said.trim())
        })
    }
}

/// A running server.
pub(super) struct Server {
    pub(super) kind: Kind,
    pub(super) port: u16,
    /// Who vouches for its certificate.
    pub(super) ca: PathBuf,
    pub(super) running: Running,
}

fn simulator(lab: &Lab, log: File) -> Result<Server> {
    let ca = lab.folder.join("sim.pem");
    let streams = STREAMS.to_string();
    let mut command = command::server(lab.cores.server, &lab.fanfare);
    command.args(["sim", "apns", "--streams", &streams, "--one-stream-until-valid", "false", "--ca-out"]);
    let mut running = Running::start(command.arg(&ca).stdout(Stdio::piped()).stderr(log))?;
    let out = running.child().stdout.take().context("its standard output is a pipe")?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    let ready: Value = serde_json::from_str(&line).with_context(|| format!("it said {line:?}"))?;
    let port = ready["address"].as_str().and_then(|address| address.rsplit(':').next());
    let port = port.with_context(|| format!("it said no address: {line}"))?.parse()?;
    Ok(Server { kind: Kind::FastSim, port, ca, running })
}

/// Starts a server that has to be told its port.
fn listening(kind: Kind, lab: &Lab, log: &Path, command: impl Fn(u16) -> Result<Command>) -> Result<Server> {
    for _ in 0..TRIES {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut running = Running::start(command(port)?.stderr(File::create(log)?))?;
        for _ in 0..LOOKS {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() && !running.has_ended() {
                return Ok(Server { kind, port, ca: lab.certificate.clone(), running });
            }
            if running.has_ended() {
                break;
            }
            look_again();
        }
    }
    bail!("it does not listen")
}

#[allow(clippy::disallowed_methods, reason = "a server says nowhere that it listens")]
fn look_again() {
    std::thread::sleep(Duration::from_millis(20));
}

fn nginx(lab: &Lab, port: u16) -> Result<Command> {
    let folder = lab.folder.join("nginx");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("nginx.conf");
    std::fs::write(&file, nginx_config(&folder, &lab.certificate, &lab.server_key, port))?;
    let mut command = command::server(lab.cores.server, NGINX);
    command.arg("-p").arg(&folder).arg("-c").arg(&file).arg("-e").arg(folder.join("error.log"));
    Ok(command)
}

/// One process in the foreground. `apns-id` is repeated as APNs does; clients rely on it.
fn nginx_config(folder: &Path, certificate: &Path, key: &Path, port: u16) -> String {
    let (folder, certificate, key) = (folder.display(), certificate.display(), key.display());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\nworker_processes 1;\npid {folder}/nginx.pid;\n\
         events {{ worker_connections 2048; }}\n\
         http {{\naccess_log off;\n{temporary}\
         keepalive_requests 1000000000;\nkeepalive_timeout 1h;\nhttp2_max_concurrent_streams {STREAMS};\n\
         server {{\nlisten 127.0.0.1:{port} ssl http2;\nssl_certificate {certificate};\n\
         ssl_certificate_key {key};\nssl_protocols TLSv1.3;\n\
         ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;\n\
         add_header apns-id $http_apns_id;\nlocation / {{ return 200; }}\n}}\n}}\n"
    )
}

fn h2o(lab: &Lab, port: u16) -> Result<Command> {
    let file = lab.folder.join("h2o.conf");
    std::fs::write(&file, h2o_config(&lab.folder, &lab.certificate, &lab.server_key, &lab.user, port))?;
    let mut command = command::server(lab.cores.server, "h2o");
    command.env("OPENSSL_CONF", &lab.openssl_config).arg("-c").arg(file);
    Ok(command)
}

/// Its handler for files takes no POST; the smallest handler that does is a line of mruby.
fn h2o_config(folder: &Path, certificate: &Path, key: &Path, user: &str, port: u16) -> String {
    let (folder, certificate, key) = (folder.display(), certificate.display(), key.display());
    format!(
        "user: {user}\nnum-threads: 1\nhttp2-idle-timeout: 3600\n\
         http2-max-concurrent-requests-per-connection: {STREAMS}\n\
         error-log: {folder}/h2o.log\npid-file: {folder}/h2o.pid\n\
         listen:\n  host: 127.0.0.1\n  port: {port}\n  ssl:\n    certificate-file: {certificate}\n    \
         key-file: {key}\n    minimum-version: TLSv1.3\n    \
         ocsp-update-interval: 0\n\
         hosts:\n  default:\n    paths:\n      /:\n        mruby.handler: |\n          \
         Proc.new do |env|\n            [200, {{\"apns-id\" => env[\"HTTP_APNS_ID\"]}}, []]\n          end\n"
    )
}

/// It answers with files only: there is an empty one for each device.
fn nghttpd(lab: &Lab, port: u16) -> Command {
    let mut command = command::server(lab.cores.server, NGHTTPD);
    command.env("OPENSSL_CONF", &lab.openssl_config);
    command.args(["--address=127.0.0.1", "--workers=1", "--window-bits=30", "--connection-window-bits=30"]);
    command.arg(format!("--max-concurrent-streams={STREAMS}")).arg("--htdocs").arg(&lab.documents);
    command.arg(port.to_string()).arg(&lab.server_key).arg(&lab.certificate);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_server_limits_connections_more_than_another() {
        let [folder, certificate, key] = ["/f", "/f/c.pem", "/f/k.pem"].map(Path::new);
        let nginx = nginx_config(folder, certificate, key, 7);
        assert!(nginx.contains("http2_max_concurrent_streams 1000;"), "{nginx}");
        assert!(nginx.contains("listen 127.0.0.1:7 ssl http2;"), "{nginx}");
        let h2o = h2o_config(folder, certificate, key, "me", 7);
        assert!(h2o.contains("http2-max-concurrent-requests-per-connection: 1000\n"), "{h2o}");
        assert!(h2o.contains("\n    key-file: /f/k.pem\n"), "{h2o}");
    }
}
