//! What the Rust peers share: the job that they are given, the requests that it asks for, CPU time and the answer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Uri};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

/// What `cargo xtask bench peers` asks for: the first argument names a file with it.
#[derive(Deserialize)]
pub struct Job {
    /// The server is `localhost` on this port.
    pub port: u16,
    /// The authority that vouches for it.
    pub ca: PathBuf,
    /// A P-256 key in PKCS#8, for clients that sign their own provider tokens.
    pub key: PathBuf,
    /// The provider token for the others.
    pub authorization: String,
    /// Names and values that are the same for every device; `authorization` is not among them.
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// Device tokens in hex, one per line, taken in turn.
    pub tokens: PathBuf,
    pub connections: u64,
    /// Requests at once on a connection.
    pub streams: u64,
    pub requests: u64,
}

impl Job {
    pub fn read() -> Result<Self> {
        let path = std::env::args_os().nth(1).context("the first argument is a job's file")?;
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }

    pub fn tokens(&self) -> Result<Vec<String>> {
        Ok(std::fs::read_to_string(&self.tokens)?.lines().map(str::to_owned).collect())
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Result<&str> {
        let header = self.headers.iter().find(|(known, _)| known == name);
        header.map(|(_, value)| value.as_str()).with_context(|| format!("the job has no {name}"))
    }

    /// How many requests go over connection `number`.
    pub fn share(&self, number: u64) -> u64 {
        self.requests / self.connections + u64::from(number < self.requests % self.connections)
    }

    /// TLS 1.3 with AES-128-GCM, as all servers of the comparison speak it; ALPN is left to who connects.
    pub fn tls(&self) -> Result<rustls::ClientConfig> {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.cipher_suites = vec![rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(&self.ca)? {
            roots.add(certificate?)?;
        }
        Ok(rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth())
    }
}

/// Makes the requests. What is constant is parsed once; a request is a copy with its own path and `apns-id`.
pub struct Requests {
    origin: String,
    headers: HeaderMap,
    tokens: Vec<String>,
    pub body: Bytes,
}

impl Requests {
    pub fn of(job: &Job) -> Result<Self> {
        let mut headers = HeaderMap::with_capacity(job.headers.len() + 3);
        for (name, value) in &job.headers {
            headers.insert(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::try_from(value)?);
        }
        headers.insert("authorization", HeaderValue::try_from(&job.authorization)?);
        let body = Bytes::from(job.body.clone());
        let origin = format!("https://localhost:{}/3/device/", job.port);
        Ok(Self { origin, headers, tokens: job.tokens()?, body })
    }

    /// The request of device `number`.
    pub fn request<B>(&self, number: u64, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        let token = &self.tokens[number as usize % self.tokens.len()];
        let mut uri = String::with_capacity(self.origin.len() + token.len());
        uri.push_str(&self.origin);
        uri.push_str(token);
        *request.uri_mut() = Uri::from_maybe_shared(Bytes::from(uri)).expect("a token is hex");
        *request.headers_mut() = self.headers.clone();
        let id =
            HeaderValue::from_maybe_shared(Bytes::from(apns_id(number))).expect("a UUID is visible text");
        request.headers_mut().insert("apns-id", id);
        request
    }
}

/// A UUID that no other request has.
pub fn apns_id(number: u64) -> String {
    format!("0fa0fa0f-0000-8000-8000-{number:012x}")
}

/// Counts and times what a peer does, from just before its first request to just after its last answer.
pub struct Watch {
    start: Instant,
    cpu_us: u64,
}

/// What a peer prints.
#[derive(Serialize)]
struct Answer {
    /// Requests answered with a 2xx.
    answered: u64,
    /// Requests answered otherwise, or not at all.
    failed: u64,
    elapsed_s: f64,
    cpu_us: u64,
}

impl Watch {
    pub fn start() -> Self {
        Self { start: Instant::now(), cpu_us: cpu_us() }
    }

    /// Prints what was done.
    pub fn stop(self, job: &Job, answered: u64) -> Result<()> {
        let (cpu_us, elapsed_s) = (cpu_us() - self.cpu_us, self.start.elapsed().as_secs_f64());
        let answer = Answer { answered, failed: job.requests - answered, elapsed_s, cpu_us };
        println!("{}", serde_json::to_string(&answer)?);
        Ok(())
    }
}

/// User and system time of this process.
fn cpu_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}
