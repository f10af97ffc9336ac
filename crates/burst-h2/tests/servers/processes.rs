//! Servers that are programs: started on a free port with the certificate of a test, stopped when they are dropped.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::certificate::Certificate;

/// Somebody else may take a port between finding it free and listening on it.
const TRIES: usize = 5;

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Which stream of a program says that it listens.
#[derive(Clone, Copy)]
enum Says {
    Out,
    Err,
}

/// Starts a program until it says that it listens; `arguments` are made for a port.
fn start(program: &str, says: Says, word: &str, arguments: impl Fn(u16) -> Vec<String>) -> Server {
    assert!(Path::new(program).exists(), "there is no {program}: `cargo xtask test` installs it");
    let mut said = String::new();
    for _ in 0..TRIES {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new(program);
        command.args(arguments(address.port())).stdin(Stdio::piped());
        match says {
            Says::Out => command.stdout(Stdio::piped()).stderr(Stdio::null()),
            Says::Err => command.stderr(Stdio::piped()).stdout(Stdio::null()),
        };
        let mut child = command.spawn().unwrap();
        let output: Box<dyn Read + Send> = match says {
            Says::Out => Box::new(child.stdout.take().unwrap()),
            Says::Err => Box::new(child.stderr.take().unwrap()),
        };
        let server = Server { address, child };
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        said.clear();
        let is_listening = lines.by_ref().any(|line| {
            said += &line;
            line.contains(word)
        });
        if is_listening {
            // What else it says must not block it.
            std::thread::Builder::new().spawn(move || lines.for_each(drop)).unwrap();
            return server;
        }
    }
    panic!("{program} does not start: {said}");
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Answers "ok".
pub(crate) fn nginx(certificate: &Certificate) -> Server {
    let folder = text(certificate.folder.path());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
        .concat();
    start("/usr/sbin/nginx", Says::Err, "getrlimit", |port| {
        let config = format!(
            "daemon off;\nmaster_process off;\nerror_log stderr notice;\npid {folder}/nginx.pid;\n\
             events {{ worker_connections 256; }}\n\
             http {{\naccess_log off;\n{temporary}server {{ listen 127.0.0.1:{port} ssl http2;\n\
             ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;\n\
             keepalive_requests 1000000; location / {{ return 200 ok; }} }}\n}}\n"
        );
        let path = certificate.path("nginx.conf");
        std::fs::write(&path, config).unwrap();
        ["-p", &folder, "-c", &text(&path), "-e", "stderr"].map(str::to_owned).to_vec()
    })
}

/// Answers with the number of bytes that it received.
pub(crate) fn h2o(certificate: &Certificate) -> Server {
    let folder = text(certificate.folder.path());
    start("/usr/bin/h2o", Says::Err, "is ready to serve", |port| {
        let config = format!(
            "listen:\n  host: 127.0.0.1\n  port: {port}\n  ssl:\n    certificate-file: {folder}/cert.pem\n    \
             key-file: {folder}/key.pem\nnum-threads: 1\nhosts:\n  default:\n    paths:\n      \"/\":\n        \
             mruby.handler: |\n          Proc.new do |env|\n            \
             [200, {{}}, [env[\"rack.input\"] ? env[\"rack.input\"].read.size.to_s : \"0\"]]\n          end\n"
        );
        let path = certificate.path("h2o.conf");
        std::fs::write(&path, config).unwrap();
        ["-c".to_owned(), text(&path)].to_vec()
    })
}

/// Answers with what it received.
pub(crate) fn nghttpd(certificate: &Certificate) -> Server {
    start("/usr/sbin/nghttpd", Says::Out, "listen", |port| {
        let mut arguments =
            ["--verbose", "--address=127.0.0.1", "--echo-upload", "--htdocs"].map(str::to_owned).to_vec();
        arguments.extend([text(certificate.folder.path()), port.to_string()]);
        arguments.extend(["key.pem", "cert.pem"].map(|name| text(&certificate.path(name))));
        arguments
    })
}

/// Answers with the number of bytes that it received; ends with its standard input.
pub(crate) fn node(certificate: &Certificate) -> Server {
    const SCRIPT: &str = r#"
        const [folder, port] = process.argv.slice(1);
        const read = (name) => require("fs").readFileSync(`${folder}/${name}`);
        const options = { cert: read("cert.pem"), key: read("key.pem") };
        const server = require("http2").createSecureServer(options);
        server.on("stream", (stream) => {
            let bytes = 0;
            stream.on("data", (piece) => { bytes += piece.length; });
            stream.on("end", () => { stream.respond({ ":status": 200 }); stream.end(String(bytes)); });
            stream.on("error", () => {});
        });
        server.on("sessionError", () => {});
        server.listen(Number(port), "127.0.0.1", () => console.log("listens"));
        process.stdin.on("end", () => process.exit());
        process.stdin.resume();
    "#;
    let folder = text(certificate.folder.path());
    start("/usr/bin/node", Says::Out, "listens", |port| {
        ["-e", SCRIPT, "--", &folder, &port.to_string()].map(str::to_owned).to_vec()
    })
}
