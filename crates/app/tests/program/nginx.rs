//! An nginx with HTTP/2 on the loopback, with a certificate that an authority signed and with one that signed itself.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// Where Debian puts it.
const PROGRAM: &str = "/usr/sbin/nginx";
/// Somebody else may take a port between finding it free and listening on it.
const TRIES: usize = 5;

/// One of its servers.
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) certificate: PathBuf,
}

/// A running nginx; stopped when it is dropped.
pub(crate) struct Nginx {
    folder: tempfile::TempDir,
    pub(crate) authority: PathBuf,
    pub(crate) signed: Server,
    /// Its certificate is its own authority and names no host; it closes connections after 1,000 requests, as nginx does
    /// unless it is told otherwise.
    pub(crate) self_signed: Server,
}

impl Nginx {
    /// Starts it.
    pub(crate) fn start() -> Self {
        assert!(Path::new(PROGRAM).exists(), "there is no {PROGRAM}: `cargo xtask test` installs it");
        let folder = tempfile::tempdir().unwrap();
        let authority = write_certificates(folder.path());
        for _ in 0..TRIES {
            let [signed, self_signed] = ["signed", "self"].map(|name| {
                let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
                let certificate = folder.path().join(format!("{name}.pem"));
                Server { address: format!("127.0.0.1:{port}"), certificate }
            });
            let text = config(folder.path(), &signed.address, &self_signed.address);
            std::fs::write(folder.path().join("nginx.conf"), text).unwrap();
            // The command returns once the daemon listens, or fails when it cannot.
            if nginx(folder.path(), &[]) {
                return Self { folder, authority, signed, self_signed };
            }
        }
        panic!("nginx does not start: {:?}", std::fs::read_to_string(folder.path().join("error.log")));
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        nginx(self.folder.path(), &["-s", "stop"]);
    }
}

fn nginx(folder: &Path, arguments: &[&str]) -> bool {
    let mut command = Command::new(PROGRAM);
    command
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(folder.join("nginx.conf"))
        .arg("-e")
        .arg(folder.join("error.log"));
    command.args(arguments).status().unwrap().success()
}

fn config(folder: &Path, signed: &str, self_signed: &str) -> String {
    let folder = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
        .concat();
    let server = |address: &str, name: &str, more: &str| {
        format!(
            "server {{ listen {address} ssl http2; ssl_certificate {folder}/{name}.pem; \
             ssl_certificate_key {folder}/{name}.key; {more} location / {{ return 200; }} }}\n"
        )
    };
    format!(
        "worker_processes 1;\npid {folder}/nginx.pid;\nevents {{ worker_connections 256; }}\n\
         http {{\naccess_log off;\n{temporary}{}{}}}\n",
        server(signed, "signed", "keepalive_requests 1000000; http2_max_concurrent_streams 500;"),
        server(self_signed, "self", ""),
    )
}

/// Both servers' certificates and keys; the path of the authority's.
fn write_certificates(folder: &Path) -> PathBuf {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let authority = |names: Vec<String>| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        (params, key, certificate)
    };
    let (_, key, certificate) = authority(Vec::new());
    write("self.pem", &certificate.pem());
    write("self.key", &key.serialize_pem());
    let (params, key, certificate) = authority(Vec::new());
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    write("signed.pem", &server.signed_by(&key, &issuer).unwrap().pem());
    write("signed.key", &key.serialize_pem());
    write("authority.pem", &certificate.pem())
}
