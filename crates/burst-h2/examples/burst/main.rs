//! Measures the CPU of one driver thread per answered request, against a bare frame sink in another thread over TLS:
//! `cargo run --release -p burst-h2 --example burst -- connections=8 streams=1000 requests=8000000 latency_ms=0`
//! With `endpoint=127.0.0.1:8443 keys=FOLDER` another server is measured against, which presents the certificate that a
//! run without `endpoint` left in that folder.

mod sink;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use burst_h2::driver::{
    ConnectionEvent, ConnectionRef, Control, Driver, DriverConfig, OpenSpec, Starter, Tls, Traffic, Wake,
};
use burst_h2::{ConnectionConfig, End, EndResult, Field, Nanos, Part, Request, Template};
use rustix::thread::CpuSet;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sink::SinkConfig;

/// Suspended time included, as a driver wants it.
pub(crate) fn clock() -> u64 {
    nanos(rustix::time::clock_gettime(rustix::time::ClockId::Boottime))
}

fn cpu() -> u64 {
    nanos(rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime))
}

fn nanos(time: rustix::time::Timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

struct Settings {
    connections: usize,
    streams: u32,
    requests: u64,
    latency: Duration,
    is_fcm: bool,
    round: Duration,
    write_bytes: usize,
    /// Header block of each answer.
    block: Vec<u8>,
    endpoint: Option<SocketAddr>,
    keys: Option<PathBuf>,
}

fn argument(name: &str) -> Option<String> {
    let prefix = format!("{name}=");
    std::env::args().find_map(|argument| argument.strip_prefix(&prefix).map(str::to_owned))
}

fn hex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits");
    (0..text.len()).step_by(2).map(byte).collect()
}

impl Settings {
    fn from_arguments() -> Settings {
        let value = |name: &str, default: u64| {
            argument(name).map_or(default, |value| value.parse().expect("a number"))
        };
        Settings {
            connections: value("connections", 8) as usize,
            streams: value("streams", 1000) as u32,
            requests: value("requests", 8_000_000),
            latency: Duration::from_millis(value("latency_ms", 0)),
            is_fcm: value("fcm", 0) == 1,
            round: Duration::from_micros(value("round_us", 0)),
            write_bytes: value("write_bytes", 64512) as usize,
            block: argument("block").map_or(vec![0x88], |text| hex(&text)),
            endpoint: argument("endpoint").map(|text| text.parse().expect("an address with port")),
            keys: argument("keys").map(PathBuf::from),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = Settings::from_arguments();
    let (server, client) = tls_configs(settings.keys.as_deref(), settings.endpoint.is_some())?;
    let address = match settings.endpoint {
        Some(endpoint) => endpoint,
        None => spawn_sink(&settings, server)?,
    };
    pin(0);

    let config = DriverConfig {
        round_at_least: settings.round,
        write_bytes: settings.write_bytes,
        ..DriverConfig::default()
    };
    let driver = Driver::new(config)?;
    let mut burst = Burst::new(settings, address, client);
    driver.run(&clock, &mut burst)?;
    burst.report();
    Ok(())
}

fn spawn_sink(settings: &Settings, server: Arc<rustls::ServerConfig>) -> std::io::Result<SocketAddr> {
    let sink = SinkConfig {
        tls: Some(server),
        streams_max: settings.streams,
        latency: settings.latency,
        body: if settings.is_fcm { vec![b'x'; 80] } else { Vec::new() },
        block: settings.block.clone(),
    };
    let (tell, address) = std::sync::mpsc::channel();
    std::thread::Builder::new().name("sink".into()).spawn(move || {
        pin(1);
        sink::serve(&sink, |address| tell.send(address).expect("main waits for it")).expect("sink serves");
    })?;
    Ok(address.recv().expect("the sink tells it"))
}

/// Puts this thread on one core, so that client and sink do not disturb each other.
fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    // On a machine with one core there is nothing to choose.
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

type Configs = (Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>);

/// A certificate and its key, those of an earlier run when a server that has them is to be measured against.
fn certificate(
    keys: Option<&Path>,
    is_kept: bool,
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), Box<dyn std::error::Error>> {
    let files = keys.map(|folder| (folder.join("cert.pem"), folder.join("key.pem")));
    if let Some((cert, key)) = files.as_ref().filter(|_| is_kept) {
        return Ok((CertificateDer::from_pem_file(cert)?, PrivateKeyDer::from_pem_file(key)?));
    }
    let key = rcgen::generate_simple_self_signed(vec!["localhost".into()])?;
    if let Some((cert_file, key_file)) = files {
        std::fs::write(cert_file, key.cert.pem())?;
        std::fs::write(key_file, key.signing_key.serialize_pem())?;
    }
    Ok((key.cert.der().clone(), PrivateKeyDer::try_from(key.signing_key.serialize_der())?))
}

fn tls_configs(keys: Option<&Path>, is_kept: bool) -> Result<Configs, Box<dyn std::error::Error>> {
    let (cert, secret) = certificate(keys, is_kept)?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.clone())?;
    let provider = Arc::new(CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        ..aws_lc_rs::default_provider()
    });
    let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![cert], secret)?;
    server.alpn_protocols = vec![b"h2".to_vec()];
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec()];
    Ok((Arc::new(server), Arc::new(client)))
}

struct Burst {
    settings: Settings,
    address: SocketAddr,
    client: Arc<rustls::ClientConfig>,
    template: Template,
    ready: usize,
    opened: usize,
    is_sending: bool,
    started: u64,
    answered: u64,
    lost: u64,
    closed: u64,
    latency_sum: u64,
    /// CPU and answers at the end of each slice.
    slices: Vec<(Nanos, u64)>,
    begin: (Nanos, Nanos),
    end: (Nanos, Nanos),
}

impl Burst {
    fn new(settings: Settings, address: SocketAddr, client: Arc<rustls::ClientConfig>) -> Burst {
        let mut fields = vec![
            Field::constant(":method", "POST"),
            Field::constant(":scheme", "https"),
            Field::constant(":authority", "localhost"),
        ];
        if settings.is_fcm {
            fields.push(Field::constant(":path", "/v1/projects/fanfare/messages:send"));
        } else {
            fields.push(Field::varying(":path"));
            fields.push(Field::constant("apns-topic", "com.example.fanfare"));
            fields.push(Field::constant("apns-push-type", "alert"));
        }
        fields.push(Field::constant("authorization", format!("bearer {}", "x".repeat(200))));
        let body = vec![Part::constant(vec![b'b'; if settings.is_fcm { 354 } else { 191 }])];
        Burst {
            template: Template::with_body(fields, body).expect("fields are legal"),
            settings,
            address,
            client,
            ready: 0,
            opened: 0,
            is_sending: false,
            started: 0,
            answered: 0,
            lost: 0,
            closed: 0,
            latency_sum: 0,
            slices: Vec::new(),
            begin: (0, 0),
            end: (0, 0),
        }
    }

    fn report(&self) {
        let wall = (self.end.0 - self.begin.0) as f64 / 1e9;
        let cpu = (self.end.1 - self.begin.1) as f64 / 1e3;
        let mut slices: Vec<f64> = self.slices.windows(2).map(slice_cost).collect();
        slices.sort_by(f64::total_cmp);
        slices.push(f64::NAN);
        println!(
            "answered {} lost {} in {wall:.3} s: {:.0}/s, {:.3} us CPU per request (median of slices {:.3}, best {:.3}), \
             mean latency {:.1} ms, rss {} MB",
            self.answered,
            self.lost,
            self.answered as f64 / wall,
            cpu / self.answered as f64,
            slices[slices.len() / 2],
            slices[0],
            self.latency_sum as f64 / 1e6 / self.answered as f64,
            rss_megabytes(),
        );
    }
}

/// CPU per request between two points, in microseconds.
fn slice_cost(pair: &[(Nanos, u64)]) -> f64 {
    (pair[1].0 - pair[0].0) as f64 / 1e3 / (pair[1].1 - pair[0].1) as f64
}

fn rss_megabytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096 / (1 << 20)
}

impl Traffic for Burst {
    type Transport = Tls;

    fn supply(&mut self, _: ConnectionRef, starter: &mut Starter<'_>, now: Nanos) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut path = *b"/3/device/0000000000000000000000000000000000000000000000000000000000000000";
        while self.is_sending && self.started < self.settings.requests && starter.capacity() > 0 {
            let mut n = self.started;
            for digit in path[10..].iter_mut().take(16) {
                *digit = HEX[(n & 15) as usize];
                n >>= 4;
            }
            let values: &[&[u8]] = if self.settings.is_fcm { &[] } else { &[&path] };
            let request = Request {
                template: &self.template,
                values,
                tag: self.started,
                deadline: now + 10_000_000_000,
            };
            if starter.start(&request).is_err() {
                return;
            }
            self.started += 1;
        }
    }

    fn end(&mut self, _: ConnectionRef, end: End<'_>, now: Nanos) {
        match end.result {
            EndResult::Answered { status: 200, .. } => {
                self.answered += 1;
                self.latency_sum += now - end.started;
            }
            _ => self.lost += 1,
        }
    }

    fn event(&mut self, _: ConnectionRef, event: ConnectionEvent<'_>) {
        match event {
            ConnectionEvent::Ready { .. } => self.ready += 1,
            ConnectionEvent::Closed { error } if self.answered < self.settings.requests => {
                self.closed += 1;
                if self.closed <= 3 {
                    eprintln!("closed: {error}");
                }
            }
            _ => {}
        }
    }

    fn tick(&mut self, control: &mut Control<'_, Tls>, now: Nanos) -> Wake {
        while self.opened < self.settings.connections && self.opened - self.ready < 64 {
            let name = ServerName::try_from("localhost").expect("a host name");
            let transport = Tls::connect(self.address, name, self.client.clone()).expect("a socket");
            let config =
                ConnectionConfig { streams_max: self.settings.streams, ..ConnectionConfig::default() };
            control.open(OpenSpec { transport, config, user: self.opened as u64 });
            self.opened += 1;
        }
        if !self.is_sending && self.ready == self.settings.connections {
            self.is_sending = true;
            self.begin = (now, cpu());
            control.ask_all();
        }
        // Other load on the machine disturbs single slices; their median tells more than the whole.
        let slice = self.settings.requests / 40 + 1;
        if self.is_sending && self.answered >= self.slices.last().map_or(0, |last| last.1 + slice) {
            self.slices.push((cpu(), self.answered));
        }
        if self.answered + self.lost == self.settings.requests {
            self.end = (now, cpu());
            return Wake::Stop;
        }
        Wake::Whenever
    }
}
