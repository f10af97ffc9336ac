//! Uploads as people make them: over connections that break, to a service that is killed, from files and from a pipe.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{Scope, scope};

use serde_json::Value;

use crate::support::{Ran, Running, command, config, run};

/// Rows of the list whose upload is cut; what is promised is 20,000,000.
const ROWS: &str = "FANFARE_UPLOAD_ROWS";
const ROWS_DEFAULT: u64 = 5_000_000;
const CUTS: u64 = 10;
/// What of the bytes that a cut connection passed the service had not stored, on average.
const LOST_BYTES_MAX: u64 = 2 << 20;
/// The cut at which the service is killed as well.
const KILLED_AT: u64 = 5;
/// What the service may take, however large the upload is.
const RESIDENT_BYTES_MAX: u64 = 96 << 20;

/// An API that listens.
struct Api {
    running: Running,
    address: SocketAddr,
}

impl Api {
    fn start(config: &str) -> Self {
        let mut running = Running::start(command(&["api", "--config", config, "--exit-when-stdin-closes"]));
        let said: Value = serde_json::from_str(&running.line()).unwrap();
        Self { address: said["address"].as_str().unwrap().parse().unwrap(), running }
    }

    /// The most memory that it had.
    fn peak_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.running.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kilobytes << 10
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn resolver(config: &str) -> Running {
    let mut resolver = Running::start(command(&["resolver", "--config", config, "--exit-when-stdin-closes"]));
    resolver.line();
    resolver
}

/// A directory of two users.
fn devices(folder: &Path) -> PathBuf {
    let path = folder.join("devices.csv");
    let apns = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0";
    let fcm = "cXyzAbCdEfGhIjKlMnOpQr:APA91bHun4MxP5egoKMwt2KZFBaFUH";
    let rows = format!("u00000001,apns,{apns},org.example,en-US,us\nu00000002,fcm,{fcm},example,pt-BR,br\n");
    std::fs::write(&path, format!("user,platform,key,app,locale,market\n{rows}")).unwrap();
    path
}

fn list(folder: &Path, rows: u64) -> PathBuf {
    let path = folder.join("users.csv");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    writeln!(file, "user").unwrap();
    (0..rows).for_each(|row| writeln!(file, "u{row:08}").unwrap());
    file.flush().unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn is_same(one: &Path, two: &Path) -> bool {
    let open = |path: &Path| BufReader::with_capacity(1 << 20, File::open(path).unwrap());
    let (mut one, mut two) = (open(one), open(two));
    let (mut first, mut second) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let read = one.read(&mut first).unwrap();
        if read == 0 {
            return two.read(&mut second).unwrap() == 0;
        }
        if two.read_exact(&mut second[..read]).is_err() || first[..read] != second[..read] {
            return false;
        }
    }
}

/// Hands connections on to the service, and cuts one whenever so many bytes more have gone to it.
struct Cutter {
    listener: TcpListener,
    cut_every: u64,
    passed: AtomicU64,
    cuts: AtomicU64,
    is_over: AtomicBool,
}

impl Cutter {
    fn new(cut_every: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (passed, cuts, is_over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        Self { listener, cut_every, passed, cuts, is_over }
    }

    fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    /// Runs until it is told to end; `service` is where it is now, and what is done to it at a cut.
    fn run<'scope, S: Service>(&'scope self, scope: &'scope Scope<'scope, '_>, service: &'scope S) {
        for client in self.listener.incoming() {
            let client = client.unwrap();
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            let Ok(server) = TcpStream::connect(service.address()) else { continue };
            let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            scope.spawn(move || {
                // Either side may be cut at any moment: that ends both.
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
            scope.spawn(move || {
                self.pass(&client, &server, service);
                let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
            });
        }
    }

    /// Passes what the client sends, until it is cut.
    fn pass(&self, mut client: &TcpStream, mut server: &TcpStream, service: &impl Service) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = client.read(&mut buffer) {
            if server.write_all(&buffer[..read]).is_err() {
                return;
            }
            let passed = self.passed.fetch_add(read as u64, Ordering::SeqCst) + read as u64;
            let cuts = self.cuts.load(Ordering::SeqCst);
            if cuts < CUTS && passed >= (cuts + 1) * self.cut_every {
                self.cuts.fetch_add(1, Ordering::SeqCst);
                service.at_cut(cuts + 1);
                return;
            }
        }
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        // What it waits for is a connection.
        drop(TcpStream::connect(self.listener.local_addr().unwrap()));
    }
}

trait Service: Sync {
    fn address(&self) -> SocketAddr;
    fn at_cut(&self, cut: u64);
}

/// An API that is killed at one of the cuts and started again.
struct Killed {
    api: Mutex<Api>,
    config: String,
    peak_bytes: AtomicU64,
}

impl Service for Killed {
    fn address(&self) -> SocketAddr {
        self.api.lock().unwrap_or_else(PoisonError::into_inner).address
    }

    fn at_cut(&self, cut: u64) {
        let mut api = self.api.lock().unwrap_or_else(PoisonError::into_inner);
        self.peak_bytes.fetch_max(api.peak_bytes(), Ordering::SeqCst);
        if cut == KILLED_AT {
            api.running.child.kill().unwrap();
            api.running.child.wait().unwrap();
            *api = Api::start(&self.config);
        }
    }
}

fn upload(file: &Path, name: &str, server: &str) -> Value {
    let ran = run(&["audience", "upload", text(file), "--name", name, "--server", server, "--json"]);
    ran.must_end_with(0).json()
}

#[test]
fn an_upload_cut_ten_times_over_a_killed_service_ends_as_one_uninterrupted_in_constant_memory() {
    let rows = std::env::var(ROWS).map_or(ROWS_DEFAULT, |rows| rows.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "");
    let _resolver = resolver(&config);
    let api = Api::start(&config);
    run(&["devices", "import", text(&devices(folder.path())), "--server", &api.url()]).must_end_with(0);
    let list = list(folder.path(), rows);
    let bytes = std::fs::metadata(&list).unwrap().len();
    let whole = upload(&list, "whole", &api.url());

    let service = Killed { peak_bytes: api.peak_bytes().into(), api: Mutex::new(api), config };
    let cutter = Cutter::new(bytes / (CUTS + 1));
    let cut = scope(|scope| {
        scope.spawn(|| cutter.run(scope, &service));
        let cut = upload(&list, "cut", &cutter.url());
        cutter.end();
        cut
    });

    let api = service.api.into_inner().unwrap();
    let peak = api.peak_bytes().max(service.peak_bytes.into_inner());
    println!(
        "{rows} rows, {bytes} bytes: whole in {:.1} s, cut {} times in {:.1} s, {:.1} MB passed for them, the service took at most {:.1} MB",
        whole["upload"]["seconds"].as_f64().unwrap(),
        cut["upload"]["broken"],
        cut["upload"]["seconds"].as_f64().unwrap(),
        cutter.passed.load(Ordering::SeqCst) as f64 / 1e6,
        peak as f64 / 1e6,
    );
    assert_eq!(cutter.cuts.load(Ordering::SeqCst), CUTS);
    assert!(cut["upload"]["broken"].as_u64().unwrap() >= CUTS);
    // Each list of those left out has a name of its own.
    let told = |upload: &Value| {
        let mut result = upload["result"].clone();
        assert!(result["report"]["left_out_list"]["blob"].take().is_string(), "{upload}");
        result
    };
    let (whole_told, cut_told) = (told(&whole), told(&cut));
    for same in ["/upload/bytes", "/upload/digest", "/snapshot", "/report"] {
        let (whole, cut) = (whole_told.pointer(same), cut_told.pointer(same));
        assert!(whole.is_some() && whole == cut, "{same}: {whole:?} and {cut:?}");
    }
    let blob = cut["result"]["upload"]["blob"].as_str().unwrap().replace('/', "+");
    assert!(is_same(&list, &folder.path().join("data/blobs").join(blob)));
    assert_eq!(std::fs::read_dir(folder.path().join("data/growing")).unwrap().count(), 0);
    let passed = cutter.passed.load(Ordering::SeqCst);
    assert!(passed <= bytes + CUTS * LOST_BYTES_MAX, "{passed} of {bytes} bytes passed: it began anew");
    assert!(peak <= RESIDENT_BYTES_MAX, "{peak} bytes resident");
}

#[test]
fn an_import_that_is_refused_says_why_and_where() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "");
    let (_resolver, api) = (resolver(&config), Api::start(&config));
    let file = devices(folder.path());
    let more = format!("{}ann,apns,no key,org.example,en-US,us\n", std::fs::read_to_string(&file).unwrap());
    std::fs::write(&file, more).unwrap();
    let import = ["devices", "import", text(&file), "--server", &api.url()];
    let ran = run(&import).must_end_with(1);
    for part in ["failed", "3 rows, 1 bad", "bad: 1 apns_key", "line 4, byte "] {
        assert!(ran.out.contains(part), "{part:?} not in {}", ran.out);
    }
    let accepted = [&import[..], &["--bad-rows", "accept_valid", "--bad-share-max", "0.5"]].concat();
    assert!(run(&accepted).must_end_with(0).out.contains("2 added"));
    let unread = [&import[..], &["--no-wait", "--json"]].concat();
    assert_eq!(run(&unread).must_end_with(0).json()["result"]["state"], "uploaded");
}

#[test]
fn a_list_from_a_pipe_is_uploaded_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "");
    let (_resolver, api) = (resolver(&config), Api::start(&config));
    run(&["devices", "import", text(&devices(folder.path())), "--server", &api.url()]).must_end_with(0);
    // A part and a bit.
    let list = list(folder.path(), 900_000);
    let arguments =
        ["audience", "upload", "-", "--format", "csv", "--name", "piped", "--server", &api.url(), "--json"];
    let mut upload = command(&arguments);
    upload.stdin(Stdio::from(File::open(&list).unwrap()));
    let ran = Ran::from(upload.output().unwrap()).must_end_with(0);
    let result = ran.json()["result"].clone();
    assert_eq!((&result["state"], &result["report"]["rows"]), (&"frozen".into(), &900_000.into()));
    assert_eq!(result["upload"]["bytes"], std::fs::metadata(&list).unwrap().len());
    // The same file as a file is the same upload, and is not resolved again.
    let id = result["id"].as_str().unwrap();
    let again = ["audience", "upload", text(&list), "--audience", id, "--server", &api.url(), "--json"];
    assert_eq!(run(&again).must_end_with(0).json()["result"]["upload"], result["upload"]);
}

#[test]
fn what_cannot_be_uploaded_is_told_by_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "");
    let api = Api::start(&config);
    let url = api.url();
    let file = devices(folder.path());
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("http://{nobody}");
    let missing = folder.path().join("missing.csv");
    let unnamed = folder.path().join("devices");
    std::fs::copy(&file, &unnamed).unwrap();
    let unknown = "aud_00000000000000000000000000000001";
    for (arguments, code, said) in [
        (&["devices", "import", text(&missing), "--server", &url][..], 3, "missing.csv"),
        (&["devices", "import", text(&unnamed), "--server", &url], 3, "say --format"),
        (&["devices", "import"], 2, "FILE"),
        (&["audience", "upload", text(&file), "--server", &url], 2, "--name"),
        (
            &["audience", "upload", text(&file), "--audience", unknown, "--server", &url],
            1,
            "there is no audience",
        ),
        (
            &["devices", "import", text(&file), "--server", &nobody, "--give-up-after", "1ms"],
            3,
            "nothing got through",
        ),
    ] {
        let ran = run(arguments).must_end_with(code);
        assert!(ran.err.contains(said), "{said:?} not in {}", ran.err);
    }
}

#[test]
fn what_changed_between_two_audiences_is_told_and_fetched_and_so_are_those_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "");
    let (_resolver, api) = (resolver(&config), Api::start(&config));
    let url = api.url();
    run(&["devices", "import", text(&devices(folder.path())), "--server", &url]).must_end_with(0);
    let frozen = |name: &str, list: &str| -> String {
        let file = folder.path().join(name);
        std::fs::write(&file, list).unwrap();
        let upload = ["audience", "upload", text(&file), "--name", name, "--server", &url, "--json"];
        run(&upload).must_end_with(0).json()["result"]["id"].as_str().unwrap().to_owned()
    };
    let (one, other) =
        (frozen("one.csv", "user\nu00000001\nnobody\n"), frozen("other.csv", "user\nu00000002\n"));
    let file = folder.path().join("changed.csv");
    let diff = ["audience", "diff", &one, &other, "--server", &url, "--format", "csv", "--out", text(&file)];
    let told = run(&[&diff[..], &["--json"]].concat()).must_end_with(0).json();
    let all = &told["difference"]["all"]["users"];
    assert_eq!((&all["came"], &all["went"], &all["stayed"]), (&1.into(), &1.into(), &0.into()));
    let rows = std::fs::read_to_string(&file).unwrap();
    assert!(rows.contains("\ncame,u00000001,") && rows.contains("\nwent,u00000002,"), "{rows}");
    let table = run(&diff[..6]).must_end_with(0).out;
    assert!(table.contains("devices came") && table.contains("/file"), "{table}");
    let left_out = run(&["audience", "left-out", &one, "--server", &url]).must_end_with(0).out;
    assert_eq!(left_out, "{\"user\":\"nobody\",\"reason\":\"unknown\"}\n");
    let unknown = "aud_00000000000000000000000000000001";
    run(&["audience", "diff", &one, unknown, "--server", &url]).must_end_with(1);
}
