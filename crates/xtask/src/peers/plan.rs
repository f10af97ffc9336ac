//! What is measured and in which order: every client's best setting is searched for with short trials, which also say how
//! many requests a second of its time is; then come the rounds, so that noise hits all alike.

use anyhow::Result;

use super::Peers;
use super::cell::{Cell, Reason, Sample, Setting};
use super::client::Peer;
use super::lab::Lab;
use super::server::{Kind, Server};

/// What is tried for a client's own best setting, besides the common ones: few and many connections and streams.
const CANDIDATES: [Setting; 7] = [
    Setting::new(1, 10),
    Setting::new(1, 32),
    Setting::new(1, 100),
    Setting::new(1, 500),
    Setting::new(4, 250),
    Setting::new(16, 100),
    Setting::new(32, 250),
];
/// How long a trial takes.
const TRIAL_S: f64 = 0.25;

/// A trial that went well.
#[derive(Clone, Copy)]
struct Trial {
    setting: Setting,
    sample: Sample,
}

/// Measures everything that was asked for.
pub(super) fn measure(options: &Peers, lab: &Lab) -> Result<Vec<Cell>> {
    let mut servers = Vec::new();
    for kind in &options.servers {
        servers.push((*kind, kind.start(lab)?));
    }
    let mut cells = Vec::new();
    for (kind, server) in &servers {
        for peer in options.peers.iter().filter(|peer| peer.can_talk_to(*kind)) {
            eprintln!("trying {} to {}", peer.name(), kind.name());
            cells.extend(cells_of(options, lab, *kind, server, *peer));
        }
    }
    let last = cells.len().saturating_sub(1);
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        for place in 0..cells.len() {
            // There and back again: whoever came first comes last.
            let cell = &mut cells[if round % 2 == 0 { place } else { last - place }];
            let server = servers.iter().find(|(kind, _)| *kind == cell.server);
            if let (None, Some((_, server))) = (&cell.failure, server) {
                match cell.peer.run(lab, server, cell.setting, cell.requests) {
                    Ok(sample) => cell.samples.push(sample),
                    Err(error) => cell.failure = Some(format!("{error:#}")),
                }
            }
        }
    }
    Ok(settled(cells))
}

/// A short trial may err: the best of a client is what did best in the rounds.
fn settled(mut cells: Vec<Cell>) -> Vec<Cell> {
    let is_beaten = |cell: &Cell, cells: &[Cell]| {
        let cpu_us = |cell: &Cell| cell.median().map_or(f64::INFINITY, |median| median.cpu_us);
        let alike = |other: &&Cell| (other.server, other.peer) == (cell.server, cell.peer);
        cells.iter().filter(alike).any(|other| cpu_us(other) < cpu_us(cell))
    };
    let before = cells.clone();
    cells.retain(|cell| cell.reason.is_common() || !is_beaten(cell, &before));
    for cell in cells.iter_mut().filter(|cell| cell.reason.is_common()) {
        let is_best = cell.median().is_some() && !is_beaten(cell, &before);
        cell.reason = if is_best { Reason::CommonAndBest } else { Reason::Common };
    }
    cells
}

/// A client's cells: one for each common setting, and one for its best if that is none of these.
fn cells_of(options: &Peers, lab: &Lab, kind: Kind, server: &Server, peer: Peer) -> Vec<Cell> {
    let mut trials = Vec::new();
    let mut cells = Vec::new();
    let mut try_out = |setting| {
        let wanted = peer.rough_per_second() * TRIAL_S;
        let requests = requests(wanted, setting, options.requests);
        let sample = peer.run(lab, server, setting, requests)?;
        trials.push(Trial { setting, sample });
        anyhow::Ok(sample)
    };
    let new = |setting, reason| Cell {
        server: kind,
        peer,
        setting,
        reason,
        requests: 0,
        samples: Vec::new(),
        failure: None,
    };
    for setting in &options.settings {
        let mut cell = new(*setting, Reason::Common);
        match try_out(*setting) {
            Ok(sample) => {
                cell.requests = requests(sample.per_second * options.seconds, *setting, options.requests);
            }
            Err(error) => cell.failure = Some(format!("{error:#}")),
        }
        cells.push(cell);
    }
    if options.no_best {
        return cells;
    }
    for setting in CANDIDATES.into_iter().filter(|setting| !options.settings.contains(setting)) {
        if let Err(error) = try_out(setting) {
            eprintln!("{} to {} at {setting}: {error:#}", peer.name(), kind.name());
        }
    }
    let Some(best) = best(&trials) else { return cells };
    match cells.iter_mut().find(|cell| cell.setting == best.setting) {
        Some(cell) => cell.reason = Reason::CommonAndBest,
        None => {
            let mut cell = new(best.setting, Reason::Best);
            cell.requests =
                requests(best.sample.per_second * options.seconds, best.setting, options.requests);
            cells.push(cell);
        }
    }
    cells
}

/// The trial with the least CPU per request.
fn best(trials: &[Trial]) -> Option<Trial> {
    trials.iter().min_by(|one, other| one.sample.cpu_us.total_cmp(&other.sample.cpu_us)).copied()
}

/// About `wanted`, but enough to fill the connections, and no more than `most`.
fn requests(wanted: f64, setting: Setting, most: u64) -> u64 {
    (wanted as u64).max(setting.at_once()).min(most).max(setting.connections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_client_gets_what_it_can_do_but_fills_its_connections() {
        let setting = Setting::new(8, 1000);
        assert_eq!(requests(2.4e6, setting, 4_000_000), 2_400_000);
        assert_eq!(requests(2.4e6, setting, 2_000), 2_000);
        assert_eq!(requests(900.0, setting, 4_000_000), 8_000);
        assert_eq!(requests(900.0, setting, 1), 8);
    }

    #[test]
    fn the_best_setting_is_the_one_with_the_least_cpu() {
        let trial = |connections, cpu_us, per_second| Trial {
            setting: Setting::new(connections, 1),
            sample: Sample { requests: 1, cpu_us, per_second, server_cpu_us: 1.0 },
        };
        let trials = [trial(1, 2.0, 9.0), trial(2, 1.0, 5.0), trial(3, 3.0, 99.0)];
        assert_eq!(best(&trials).unwrap().setting.connections, 2);
        assert!(best(&[]).is_none());
    }

    #[test]
    fn a_setting_that_did_better_in_the_trial_only_is_not_the_best() {
        let cell = |peer, reason, cpu_us| Cell {
            server: Kind::Nginx,
            peer,
            setting: Setting::new(1, 1),
            reason,
            requests: 1,
            samples: vec![Sample { requests: 1, cpu_us, per_second: 1.0, server_cpu_us: 1.0 }],
            failure: None,
        };
        let cells = vec![
            cell(Peer::Fanfare, Reason::CommonAndBest, 3.0),
            cell(Peer::Hyper, Reason::Common, 5.0),
            cell(Peer::Hyper, Reason::Best, 6.0),
            cell(Peer::A2, Reason::CommonAndBest, 9.0),
            cell(Peer::A2, Reason::Best, 8.0),
        ];
        let reasons: Vec<_> = settled(cells).iter().map(|cell| (cell.peer, cell.reason)).collect();
        let wanted = [
            (Peer::Fanfare, Reason::CommonAndBest),
            (Peer::Hyper, Reason::CommonAndBest),
            (Peer::A2, Reason::Common),
            (Peer::A2, Reason::Best),
        ];
        assert_eq!(reasons, wanted);
    }
}
