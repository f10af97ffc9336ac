//! One row of the comparison: a client at a setting against a server, what was measured, and the median of it.

use std::fmt;
use std::str::FromStr;

use super::client::Peer;
use super::server::Kind;
use crate::bench::median;

/// Connections, and requests at once on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) connections: u64,
    pub(crate) streams: u64,
}

impl Setting {
    pub(super) const fn new(connections: u64, streams: u64) -> Self {
        Self { connections, streams }
    }

    /// Requests at once.
    pub(super) const fn at_once(self) -> u64 {
        self.connections * self.streams
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.connections, self.streams)
    }
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('x').and_then(|(connections, streams)| {
            Some(Self { connections: connections.parse().ok()?, streams: streams.parse().ok()? })
        });
        match numbers {
            // More streams than this no server of the comparison allows.
            Some(setting @ Self { connections: 1..=1_000, streams: 1..=1_000 }) => Ok(setting),
            _ => Err("CONNECTIONSxSTREAMS, each from 1 to 1000, for example 8x1000".to_owned()),
        }
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) requests: u64,
    /// The client's user and system time per request.
    pub(super) cpu_us: f64,
    pub(super) per_second: f64,
    /// The server's, over the client's whole run.
    pub(super) server_cpu_us: f64,
}

/// Why a client stands at a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// All clients do.
    Common,
    /// It was its best among those that were tried.
    Best,
    /// Both.
    CommonAndBest,
}

impl Reason {
    pub(super) const fn is_common(self) -> bool {
        matches!(self, Self::Common | Self::CommonAndBest)
    }

    pub(super) const fn is_best(self) -> bool {
        matches!(self, Self::Best | Self::CommonAndBest)
    }
}

/// A client at a setting against a server.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) server: Kind,
    pub(super) peer: Peer,
    pub(super) setting: Setting,
    pub(super) reason: Reason,
    pub(super) requests: u64,
    pub(super) samples: Vec<Sample>,
    pub(super) failure: Option<String>,
}

impl Cell {
    /// The median of each figure by itself; nothing when a run failed.
    pub(super) fn median(&self) -> Option<Sample> {
        if self.failure.is_some() || self.samples.is_empty() {
            return None;
        }
        let of = |figure: fn(&Sample) -> f64| median(self.samples.iter().map(figure).collect());
        Some(Sample {
            requests: self.requests,
            cpu_us: of(|sample| sample.cpu_us),
            per_second: of(|sample| sample.per_second),
            server_cpu_us: of(|sample| sample.server_cpu_us),
        })
    }

    pub(super) fn failure_text(&self) -> Option<String> {
        let failure = self.failure.as_ref()?;
        Some(format!("{} to {} at {}: {failure}", self.peer.name(), self.server.name(), self.setting))
    }
}

/// The cell of `peer` that another cell at the same server is to be compared with: at the same setting for a common one,
/// at its best for a best one.
pub(super) fn counterpart<'a>(cells: &'a [Cell], cell: &Cell, peer: Peer) -> Option<&'a Cell> {
    let mut candidates = cells.iter().filter(|other| other.server == cell.server && other.peer == peer);
    if cell.reason.is_common() {
        candidates.find(|other| other.reason.is_common() && other.setting == cell.setting)
    } else {
        candidates.find(|other| other.reason.is_best())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn cell(peer: Peer, setting: Setting, reason: Reason, cpu_us: &[f64]) -> Cell {
        let sample =
            |cpu_us: &f64| Sample { requests: 9, cpu_us: *cpu_us, per_second: 1e6, server_cpu_us: 0.5 };
        let samples = cpu_us.iter().map(sample).collect();
        Cell { server: Kind::FastSim, peer, setting, reason, requests: 9, samples, failure: None }
    }

    #[test]
    fn a_setting_is_connections_by_streams() {
        assert_eq!("8x1000".parse(), Ok(Setting::new(8, 1000)));
        assert_eq!(Setting::new(8, 1000).to_string(), "8x1000");
        for wrong in ["8", "x", "0x5", "5x0", "8x1001", "8x-1"] {
            assert!(wrong.parse::<Setting>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_run_that_failed_has_no_median_however_fast_the_others_were() {
        let mut failed = cell(Peer::H2, Setting::new(8, 1000), Reason::Common, &[0.1, 0.2]);
        assert!(failed.median().is_some());
        failed.failure = Some("3 of 9 requests failed".to_owned());
        assert_eq!(failed.median(), None);
        let text = "h2 crate to fast simulator at 8x1000: 3 of 9 requests failed";
        assert_eq!(failed.failure_text().as_deref(), Some(text));
    }

    #[test]
    fn the_best_is_compared_with_the_best_and_a_common_setting_with_itself() {
        let common = Setting::new(8, 1000);
        let ours = cell(Peer::Fanfare, common, Reason::Common, &[1.0]);
        let our_best = cell(Peer::Fanfare, Setting::new(4, 500), Reason::Best, &[0.5]);
        let theirs = cell(Peer::H2load, common, Reason::Common, &[4.0]);
        let their_best = cell(Peer::H2load, Setting::new(1, 100), Reason::Best, &[3.0]);
        let cells = [ours, our_best, theirs, their_best];
        let setting = |cell: &Cell| counterpart(&cells, cell, Peer::Fanfare).map(|cell| cell.setting);
        assert_eq!(setting(&cells[2]), Some(common));
        assert_eq!(setting(&cells[3]), Some(Setting::new(4, 500)));
    }
}
