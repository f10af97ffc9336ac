//! A running simulator: its threads, its control channel, and the questions it answers.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use model::Platform;
use serde::{Deserialize, Serialize};

use crate::account::{self, Account};
use crate::clock::Clock;
use crate::config::{Config, Mode};
use crate::control;
use crate::desk::Desk;
use crate::driver::{Acceptor, Ask, Bell, Certificates, Driver, Mailbox, listen};
use crate::error::Error;
use crate::judge::Judge;
use crate::report::{KeyCount, Report, Stats};
use crate::tls::Authority;
use crate::validating::{Checker, Thread};

/// What a simulator tells whoever started it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Which provider it stands in for.
    pub provider: Platform,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where its control channel listens.
    pub control: SocketAddr,
    /// The certificate that clients must trust, as PEM.
    pub ca_pem: String,
}

/// A running simulator. Dropping it stops it.
#[derive(Debug)]
pub struct Simulator {
    office: Arc<Office>,
    threads: Vec<JoinHandle<Result<(), Error>>>,
    control: control::Listener,
}

/// What the control channel and the simulator's owner share.
#[derive(Debug)]
pub(crate) struct Office {
    ready: Ready,
    mailboxes: Vec<Mailbox>,
    clock: Clock,
    /// Whoever checks requests; in the fast mode nobody.
    checker: Option<Arc<Checker>>,
    miscount: i64,
    /// The process's CPU time at the last reset.
    cpu_base: Mutex<Duration>,
    /// Tells [`Simulator::wait`] to return.
    stop: Sender<()>,
}

/// Starts a simulator on threads of its own; returns once it listens.
pub fn start(config: Config) -> Result<Simulator, Error> {
    let (stop, _) = channel();
    start_with(config, stop)
}

pub(crate) fn start_with(config: Config, stop: Sender<()>) -> Result<Simulator, Error> {
    config.check()?;
    let in_storm = config.faults.storm.certificate;
    let authority = Authority::new(&config.names, config.provider.name(), in_storm)?;
    if let Some(path) = &config.ca_out {
        write_whole(path, authority.certificate_pem.as_bytes())?;
    }
    let config = Arc::new(config);
    let clock = Clock::start();
    let checker = match config.mode {
        Mode::Fast => None,
        Mode::Validating => Some(Arc::new(Checker::new(&config)?)),
    };
    let Serving { runs, mailboxes, address } = match &checker {
        None => drivers(&config, clock, &authority)?,
        Some(checker) => validating(&config, clock, &authority, checker)?,
    };
    let control = control::Listener::bind(config.control)?;
    let ready = Ready {
        provider: config.provider,
        address,
        control: control.address(),
        ca_pem: authority.certificate_pem,
    };
    let office = Arc::new(Office {
        ready,
        mailboxes,
        clock,
        checker,
        miscount: config.miscount,
        cpu_base: Mutex::new(clock.process_cpu()),
        stop,
    });
    let threads = runs.into_iter().enumerate().map(|(number, run)| spawn(number, run));
    let threads = threads.collect::<Result<_, _>>()?;
    let control = control.serve(Arc::clone(&office))?;
    Ok(Simulator { office, threads, control })
}

/// What a serving thread does until it is told to stop.
type Run = Box<dyn FnOnce() -> Result<(), Error> + Send>;

/// The threads of a simulator before they start.
struct Serving {
    runs: Vec<Run>,
    mailboxes: Vec<Mailbox>,
    address: SocketAddr,
}

fn drivers(config: &Arc<Config>, clock: Clock, authority: &Authority) -> Result<Serving, Error> {
    let judge = Judge::new(config);
    let open = Arc::new(AtomicUsize::new(0));
    let make = |thread| {
        let desk = Desk::new(Arc::clone(config), judge.clone(), clock.start_unix(), thread);
        Driver::new(desk, clock, Certificates::of(authority), Arc::clone(&open))
    };
    let (mut drivers, mailboxes): (Vec<_>, Vec<_>) =
        (0..config.threads).map(make).collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    let refuses = config.faults.storm.refuses;
    let acceptor = Acceptor::new(config.listen, refuses, mailboxes[1..].to_vec())?;
    let address = drivers[0].accept_from(acceptor)?;
    let runs = drivers.into_iter().map(|driver| -> Run { Box::new(|| driver.run()) }).collect();
    Ok(Serving { runs, mailboxes, address })
}

fn validating(
    config: &Arc<Config>,
    clock: Clock,
    authority: &Authority,
    checker: &Arc<Checker>,
) -> Result<Serving, Error> {
    let judge = Judge::new(config);
    let open = Arc::new(AtomicUsize::new(0));
    let listener = listen(config.listen)?;
    let address = listener.local_addr().map_err(Error::io("read the listening address"))?;
    let (mut runs, mut mailboxes) = (Vec::<Run>::new(), Vec::new());
    for number in 0..config.threads {
        let (sender, asks) = channel();
        let thread = Thread {
            desk: Desk::new(Arc::clone(config), judge.clone(), clock.start_unix(), number),
            clock,
            tls: Arc::clone(&authority.server),
            checker: Arc::clone(checker),
            listener: listener.try_clone().map_err(Error::io("share the listener"))?,
            open: Arc::clone(&open),
            asks,
            wake: Arc::default(),
        };
        mailboxes.push(Mailbox::new(sender, Bell::Task(Arc::clone(&thread.wake))));
        runs.push(Box::new(|| thread.run()));
    }
    Ok(Serving { runs, mailboxes, address })
}

fn spawn(number: usize, run: Run) -> Result<JoinHandle<Result<(), Error>>, Error> {
    let run = move || {
        let result = run();
        if let Err(error) = &result {
            tracing::error!(%error, "a thread of the simulator failed");
        }
        result
    };
    std::thread::Builder::new().name(format!("sim-{number}")).spawn(run).map_err(Error::io("start a thread"))
}

/// Writes a file under another name and renames it, so that nobody reads half of it.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temporary = path.with_extension("tmp");
    let doing = || Error::io(format!("write {}", path.display()));
    fs::write(&temporary, bytes).map_err(doing())?;
    fs::rename(&temporary, path).map_err(doing())
}

impl Simulator {
    /// Addresses and the certificate to trust.
    pub fn ready(&self) -> &Ready {
        &self.office.ready
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.office.ready.address
    }

    /// Where its control channel listens.
    pub fn control_address(&self) -> SocketAddr {
        self.office.ready.control
    }

    /// The certificate that clients must trust, as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.office.ready.ca_pem
    }

    /// Counters; cheap.
    pub fn stats(&self) -> Result<Stats, Error> {
        self.office.stats()
    }

    /// The whole account; sorts it, which takes about 0.1 s for each million requests.
    pub fn report(&self) -> Result<Report, Error> {
        self.office.report()
    }

    /// How often each device key arrived, ascending by fingerprint.
    pub fn keys(&self) -> Result<Vec<KeyCount>, Error> {
        Ok(self.office.account()?.0.keys().collect())
    }

    /// Forgets the account and the counters; connections stay.
    pub fn reset(&self) -> Result<(), Error> {
        self.office.reset()
    }

    /// Closes every connection and ends the threads.
    pub fn shutdown(mut self) -> Result<(), Error> {
        self.stop();
        self.join()
    }

    fn stop(&mut self) {
        self.control.stop();
        for mailbox in &self.office.mailboxes {
            // A thread that has ended needs no telling.
            drop(mailbox.ask(Ask::Stop));
        }
    }

    fn join(&mut self) -> Result<(), Error> {
        self.threads.drain(..).try_for_each(|thread| thread.join().map_err(|_| Error::Gone)?)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop();
        // What a thread failed with was logged when it happened.
        drop(self.join());
    }
}

impl Office {
    pub(crate) fn ready(&self) -> &Ready {
        &self.ready
    }

    fn ask_all<T>(&self, ask: impl Fn(Sender<T>) -> Ask) -> Result<Vec<T>, Error> {
        let ask_one = |mailbox: &Mailbox| {
            let (reply, answer) = channel();
            mailbox.ask(ask(reply)).map(|()| answer)
        };
        let answers = self.mailboxes.iter().map(ask_one).collect::<Result<Vec<_>, _>>()?;
        answers.into_iter().map(|answer| answer.recv().map_err(|_| Error::Gone)).collect()
    }

    fn cpu_us(&self) -> u64 {
        let base = *self.cpu_base.lock().unwrap_or_else(PoisonError::into_inner);
        self.clock.process_cpu().saturating_sub(base).as_micros() as u64
    }

    pub(crate) fn stats(&self) -> Result<Stats, Error> {
        let threads = self.ask_all(Ask::Counts)?;
        let stats = account::stats(threads.iter().map(|(counts, _)| counts));
        Ok(self.with_cpu(stats, self.cpu_us(), threads.iter().map(|(_, cpu)| *cpu)))
    }

    fn with_cpu(&self, stats: Stats, cpu_us: u64, threads: impl Iterator<Item = Duration>) -> Stats {
        Stats { cpu_us, serving_cpu_us: threads.sum::<Duration>().as_micros() as u64, ..stats }
    }

    pub(crate) fn report(&self) -> Result<Report, Error> {
        let cpu_us = self.cpu_us();
        let (account, ledgers, cpu) = self.account()?;
        let stats = account::stats(ledgers.iter().map(|ledger| &ledger.counts));
        let stats = self.with_cpu(stats, cpu_us, cpu.into_iter());
        let report = account::report(self.ready.provider, self.clock.start_unix(), &account, &ledgers, stats);
        let faults_found = self.checker.as_ref().map(|checker| checker.found()).unwrap_or_default();
        Ok(Report { faults_found, ..report })
    }

    fn account(&self) -> Result<(Account, Vec<crate::ledger::Ledger>, Vec<Duration>), Error> {
        let (ledgers, cpu): (Vec<_>, Vec<_>) = self.ask_all(Ask::Extract)?.into_iter().unzip();
        Ok((Account::of(&ledgers, self.miscount), ledgers, cpu))
    }

    /// Keys that were received more than once.
    pub(crate) fn twice(&self) -> Result<Vec<KeyCount>, Error> {
        Ok(self.account()?.0.keys().filter(|key| key.received > 1).collect())
    }

    /// Writes all keys to a file; returns how many.
    pub(crate) fn dump(&self, path: &Path) -> Result<u64, Error> {
        let (account, ..) = self.account()?;
        let doing = || Error::io(format!("write {}", path.display()));
        let temporary = path.with_extension("tmp");
        let mut file = io::BufWriter::with_capacity(1 << 20, fs::File::create(&temporary).map_err(doing())?);
        let keys = account.write(&mut file).map_err(doing())?;
        file.flush().map_err(doing())?;
        fs::rename(&temporary, path).map_err(doing())?;
        Ok(keys)
    }

    pub(crate) fn reset(&self) -> Result<(), Error> {
        self.ask_all(Ask::Reset)?;
        if let Some(checker) = &self.checker {
            checker.forget();
        }
        *self.cpu_base.lock().unwrap_or_else(PoisonError::into_inner) = self.clock.process_cpu();
        Ok(())
    }

    /// Makes [`crate::run`] return.
    pub(crate) fn stop(&self) {
        // Without a runner nobody waits for it.
        let _ = self.stop.send(());
    }
}
