//! Everything that a comparison needs, made or found before anything is measured: programs, cores, a certificate, and the
//! request that all clients send.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::json;

use super::cell::Setting;
use super::client::Peer;
use super::install;
use super::server::{Kind, Server};
use crate::steps::run;

/// Of the body that all send: what the usual push of a news app has.
const BODY_BYTES: &str = "191";
/// Different devices. nghttpd keeps 2,048 files at hand, and each device is a file of it.
const TOKENS: &str = "1000";
/// Header and claims of a provider token as APNs gets it, and a signature's length of text: 86 characters.
const AUTHORIZATION: &str = "bearer eyJhbGciOiJFUzI1NiIsImtpZCI6IlBFRVJQRUVSMDAifQ.\
    eyJpc3MiOiJDT01QQVJJU09OIiwiaWF0IjoxNzY3MjI1NjAwfQ.\
    wFf3hT0nM9sYkqVx2cPzB7dLrJ5uEiAoG1aXv8RtHnZm4WbSlCy6KjQpUeOgDfI3TxN0MsVhYkqLz2cPrB7dLw";
/// For those who cannot vary it.
const APNS_ID: &str = "0fa0fa0f-0000-8000-8000-000000000000";

/// TLS of the servers and clients that use OpenSSL.
const OPENSSL_CONFIG: &str = "\
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = tls
[tls]
MinProtocol = TLSv1.3
Ciphersuites = TLS_AES_128_GCM_SHA256
";
const CERTIFICATE_CONFIG: &str = "\
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = localhost
[extensions]
basicConstraints = critical, CA:FALSE
subjectAltName = DNS:localhost, IP:127.0.0.1
";

/// The processors in use.
pub(super) struct Cores {
    pub(super) server: usize,
    pub(super) client: usize,
}

/// What is needed, and where it is.
pub(super) struct Lab {
    /// For files of this run.
    pub(super) folder: PathBuf,
    pub(super) cores: Cores,
    /// Who runs this.
    pub(super) user: String,
    pub(super) fanfare: PathBuf,
    /// The folder of the Rust clients' programs.
    pub(super) rust: PathBuf,
    pub(super) python: PathBuf,
    pub(super) loadtest: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) server_key: PathBuf,
    pub(super) openssl_config: PathBuf,
    /// A folder with an empty file for each device's path.
    pub(super) documents: PathBuf,
    pub(super) body: String,
    pub(super) body_file: PathBuf,
    /// How many different devices there are.
    pub(super) tokens: usize,
    token_file: PathBuf,
    headers: Vec<(String, String)>,
    signing_key: PathBuf,
}

/// What `fanfare bench request` says.
#[derive(Deserialize)]
struct Request {
    headers: Vec<(String, String)>,
    body: String,
    tokens: Vec<String>,
}

impl Lab {
    /// Installs, builds and writes what is needed.
    pub(super) fn prepare(servers: &[Kind], peers: &[Peer]) -> Result<Self> {
        let cores = cores()?;
        let installed = install::all(servers, peers)?;
        let folder = installed.folder.join("run");
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        let request = request(&installed.fanfare)?;
        let lab = Self {
            cores,
            user: said(Command::new("id").arg("-un"))?.trim().to_owned(),
            fanfare: installed.fanfare,
            rust: installed.rust,
            python: installed.python,
            loadtest: installed.loadtest,
            certificate: folder.join("server.pem"),
            server_key: folder.join("server.key"),
            openssl_config: folder.join("openssl.cnf"),
            documents: folder.join("documents"),
            body: request.body,
            body_file: folder.join("body.json"),
            tokens: request.tokens.len(),
            token_file: folder.join("tokens.txt"),
            headers: request.headers,
            signing_key: folder.join("signing.p8"),
            folder,
        };
        lab.write(&request.tokens)?;
        Ok(lab)
    }

    fn write(&self, tokens: &[String]) -> Result<()> {
        std::fs::write(&self.openssl_config, OPENSSL_CONFIG)?;
        std::fs::write(&self.body_file, &self.body)?;
        std::fs::write(&self.token_file, tokens.join("\n"))?;
        let devices = self.documents.join("3/device");
        std::fs::create_dir_all(&devices)?;
        for token in tokens {
            std::fs::write(devices.join(token), "")?;
        }
        let config = self.folder.join("certificate.cnf");
        std::fs::write(&config, CERTIFICATE_CONFIG)?;
        let mut certificate = Command::new("openssl");
        certificate.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]);
        certificate.args(["-days", "2", "-config"]).arg(&config);
        certificate.arg("-keyout").arg(&self.server_key).arg("-out").arg(&self.certificate);
        said(&mut certificate)?;
        let mut key = Command::new("openssl");
        key.args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"]);
        run(key.arg(&self.signing_key))
    }

    /// Every header, for a client that sends the same ones each time.
    pub(super) fn all_headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let constant = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        constant.chain([("authorization", AUTHORIZATION), ("apns-id", APNS_ID)])
    }

    /// A file with every device's address at the server on `port`.
    pub(super) fn uris(&self, port: u16) -> Result<PathBuf> {
        let path = self.folder.join(format!("uris-{port}.txt"));
        if !path.exists() {
            let tokens = std::fs::read_to_string(&self.token_file)?;
            let uris: Vec<_> =
                tokens.lines().map(|token| format!("https://localhost:{port}/3/device/{token}")).collect();
            std::fs::write(&path, uris.join("\n") + "\n")?;
        }
        Ok(path)
    }

    /// A file that tells a client in loadtest/ what to do.
    pub(super) fn job(&self, server: &Server, setting: Setting, requests: u64) -> Result<PathBuf> {
        let path = self.folder.join("job.json");
        let job = json!({
            "port": server.port,
            "ca": server.ca,
            "key": self.signing_key,
            "authorization": AUTHORIZATION,
            "headers": self.headers,
            "body": self.body,
            "tokens": self.token_file,
            "connections": setting.connections.min(requests),
            "streams": setting.streams,
            "requests": requests,
        });
        std::fs::write(&path, job.to_string())?;
        Ok(path)
    }
}

/// What our own client sends: everybody sends that.
fn request(fanfare: &Path) -> Result<Request> {
    let arguments = ["bench", "request", "--body-bytes", BODY_BYTES, "--tokens", TOKENS];
    let text = said(Command::new(fanfare).args(arguments))?;
    serde_json::from_str(&text).context("fanfare bench request")
}

/// What a command says that ends well.
fn said(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}:\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first and the last processor that this process may use.
fn cores() -> Result<Cores> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let numbers = list.map(allowed).unwrap_or_default();
    match numbers[..] {
        [first, .., last] => Ok(Cores { server: first, client: last }),
        _ => bail!("a client and its server need a core each, and this process may use {}", numbers.len()),
    }
}

/// The ends of all ranges in a list like `0-3,8`.
fn allowed(list: &str) -> Vec<usize> {
    let mut numbers: Vec<usize> = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        numbers.extend(first.parse::<usize>().ok());
        numbers.extend(last.parse::<usize>().ok());
    }
    numbers.dedup();
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_read_from_a_list_of_ranges() {
        assert_eq!(allowed("\t0-1"), [0, 1]);
        assert_eq!(allowed("0-3,8"), [0, 3, 8]);
        assert_eq!(allowed("5"), [5]);
        assert_eq!(allowed("0,2"), [0, 2]);
        assert!(allowed("").is_empty());
    }

    #[test]
    fn the_provider_token_is_as_long_as_a_signed_one() {
        let token = AUTHORIZATION.strip_prefix("bearer ").unwrap();
        let lengths: Vec<_> = token.split('.').map(str::len).collect();
        // Base64 of {"alg":"ES256","kid":"..........."}, {"iss":"..........","iat":..........} and 64 bytes.
        assert_eq!(lengths, [46, 50, 86]);
    }
}
