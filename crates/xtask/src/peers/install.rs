//! Installs and builds the servers and clients of the comparison, into target/peers where they are not the system's.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand};

use super::client::Peer;
use super::server::{self, Kind};
use crate::install::{answers, debian};
use crate::steps::run;

/// What `a2` gets in place of Apple's hosts and the web's authorities. Appended to its client.
const A2_APPENDIX: &str = r#"
mod peer {
    use std::sync::{Arc, OnceLock};

    pub(super) fn host() -> Option<&'static str> {
        static HOST: OnceLock<Option<String>> = OnceLock::new();
        HOST.get_or_init(|| std::env::var("PEER_HOST").ok()).as_deref()
    }

    pub(super) fn tls() -> rustls::ClientConfig {
        let path = std::env::var("PEER_CA").expect("PEER_CA names a file");
        let pem = std::fs::read(path).expect("PEER_CA can be read");
        let mut roots = rustls::RootCertStore::empty();
        for certificate in rustls_pemfile::certs(&mut &pem[..]) {
            roots.add(certificate.expect("PEER_CA is PEM")).expect("PEER_CA is a certificate");
        }
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites = vec![rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
        rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3 is known")
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}
"#;
const A2_CLIENT: &str = "src/client.rs";
/// What in its client is replaced, once each: where a request goes, and whom it trusts.
const A2_PATCHES: [(&str, &str); 2] = [
    (r#"write!(f, "{}", host)"#, r#"write!(f, "{}", peer::host().unwrap_or(host))"#),
    (".with_webpki_roots()\n        .https_only()", ".with_tls_config(peer::tls())\n        .https_only()"),
];

/// Where things are.
pub(super) struct Installed {
    /// All that is made for the comparison.
    pub(super) folder: PathBuf,
    pub(super) loadtest: PathBuf,
    pub(super) fanfare: PathBuf,
    pub(super) rust: PathBuf,
    pub(super) python: PathBuf,
}

/// Everything that these servers and clients need.
pub(super) fn all(servers: &[Kind], peers: &[Peer]) -> Result<Installed> {
    packages(servers, peers)?;
    let metadata = MetadataCommand::new().exec().context("cargo metadata")?;
    let root = metadata.workspace_root.as_std_path();
    let target = metadata.target_directory.as_std_path();
    let folder = target.join("peers");
    let loadtest = root.join("loadtest");
    std::fs::create_dir_all(&folder)?;
    run(crate::steps::cargo().current_dir(root).args(["build", "--release", "--package", "app"]))?;
    if peers.iter().any(|peer| peer.is_rust()) {
        build_rust(&metadata, &folder, &loadtest)?;
    }
    let python = folder.join("python");
    if peers.contains(&Peer::Aioapns) {
        make_python(&python, &loadtest.join("peers/python/requirements.txt"))?;
    }
    Ok(Installed {
        fanfare: target.join("release/fanfare"),
        rust: folder.join("rust/release"),
        python: python.join("bin/python"),
        folder,
        loadtest,
    })
}

/// Debian's packages, where a program is missing.
fn packages(servers: &[Kind], peers: &[Peer]) -> Result<()> {
    let has = |server| servers.contains(&server);
    let wanted = [
        (true, answers("openssl", &["version"]), "openssl"),
        (has(Kind::Nginx), Path::new(server::NGINX).exists(), "nginx-light"),
        (has(Kind::H2o), answers("h2o", &["--version"]), "h2o"),
        (has(Kind::Nghttpd), Path::new(server::NGHTTPD).exists(), "nghttp2-server"),
        (peers.contains(&Peer::H2load), answers("h2load", &["--version"]), "nghttp2-client"),
        (peers.contains(&Peer::Node), answers("node", &["--version"]), "nodejs"),
        (
            peers.contains(&Peer::Aioapns),
            answers("python3", &["-c", "import venv, ensurepip"]),
            "python3-venv",
        ),
    ];
    let missing: Vec<&str> =
        wanted.iter().filter(|(is_wanted, is_there, _)| *is_wanted && !is_there).map(|one| one.2).collect();
    if missing.is_empty() { Ok(()) } else { debian(&missing) }
}

/// Builds the workspace of the Rust clients with a patched copy of `a2`.
fn build_rust(metadata: &Metadata, folder: &Path, loadtest: &Path) -> Result<()> {
    let a2 = metadata.packages.iter().find(|package| package.name.as_str() == "a2");
    let manifest = a2.context("nothing depends on a2")?.manifest_path.as_std_path();
    let copy = folder.join("a2");
    copy_a2(manifest.parent().context("a manifest lies in a folder")?, &copy)?;
    let mut command = crate::steps::cargo();
    command.args(["build", "--release", "--locked", "--manifest-path"]);
    command.arg(loadtest.join("peers/rust/Cargo.toml"));
    command.arg("--target-dir").arg(folder.join("rust"));
    run(command.arg("--config").arg(format!("patch.crates-io.a2.path={:?}", copy.to_string_lossy())))
}

/// `a2`'s client with the patches; an error when it does not look as expected.
fn patch(client: &str) -> Result<String> {
    let mut client = client.to_owned();
    for (before, after) in A2_PATCHES {
        if client.matches(before).count() != 1 {
            bail!(
                "a2's client has not exactly one {before:?}: it is another version than the comparison knows"
            );
        }
        client = client.replace(before, after);
    }
    Ok(client + A2_APPENDIX)
}

/// Copies and patches its source. What is there already is left alone, or cargo would build it again each time.
fn copy_a2(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_a2(&entry.path(), &place)?;
            continue;
        }
        let mut content = std::fs::read(entry.path())?;
        if place.ends_with(A2_CLIENT) {
            content = patch(&String::from_utf8(content)?)?.into_bytes();
        }
        if std::fs::read(&place).ok().as_ref() != Some(&content) {
            std::fs::write(&place, content)?;
        }
    }
    Ok(())
}

/// A virtual environment with what `requirements` fixes; made again when that has changed.
fn make_python(folder: &Path, requirements: &Path) -> Result<()> {
    let (wanted, done) = (std::fs::read_to_string(requirements)?, folder.join("installed.txt"));
    if std::fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(requirements);
    run(&mut pip)?;
    std::fs::write(done, wanted)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_looks_otherwise_is_not_patched() {
        let known: String = A2_PATCHES.iter().map(|(before, _)| format!("{before}\n")).collect();
        let patched = patch(&known).unwrap();
        assert!(
            A2_PATCHES.iter().all(|(before, after)| !patched.contains(before) && patched.contains(after))
        );
        assert!(patched.ends_with(A2_APPENDIX));
        assert!(patch("").is_err());
        assert!(patch(&format!("{known}{known}")).is_err());
    }
}
