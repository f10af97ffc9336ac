//! A few counters of this process, in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What became of a press of Go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Press {
    New,
    Again,
    Refused,
}

/// Counters since the process started.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    presses: [AtomicU64; 3],
    upload_bytes: AtomicU64,
    /// By route and status class; both are few.
    requests: Mutex<BTreeMap<(String, u16), u64>>,
}

impl Metrics {
    pub(crate) fn pressed(&self, press: Press) {
        self.presses[press as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn uploaded(&self, bytes: u64) {
        self.upload_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn answered(&self, route: &str, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((route.to_owned(), status / 100)).or_default() += 1;
    }

    /// As text; `open` is how many launches are not over.
    pub(crate) fn render(&self, open: usize) -> String {
        let mut text = String::new();
        let mut put = |line: std::fmt::Arguments<'_>| {
            text.write_fmt(line).expect("a string takes every text");
            text.push('\n');
        };
        put(format_args!(
            "# HELP fanfare_launches_open Launches that are not over.\n# TYPE fanfare_launches_open gauge"
        ));
        put(format_args!("fanfare_launches_open {open}"));
        put(format_args!(
            "# HELP fanfare_presses_total Presses of Go, by what became of them.\n# TYPE fanfare_presses_total counter"
        ));
        for (name, count) in ["new", "again", "refused"].iter().zip(&self.presses) {
            put(format_args!("fanfare_presses_total{{result=\"{name}\"}} {}", count.load(Ordering::Relaxed)));
        }
        put(format_args!(
            "# HELP fanfare_upload_bytes_total Bytes of uploads stored.\n# TYPE fanfare_upload_bytes_total counter"
        ));
        put(format_args!("fanfare_upload_bytes_total {}", self.upload_bytes.load(Ordering::Relaxed)));
        put(format_args!(
            "# HELP fanfare_http_requests_total Requests, by route and status class.\n# TYPE fanfare_http_requests_total counter"
        ));
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        for ((route, class), count) in requests.iter() {
            put(format_args!(
                "fanfare_http_requests_total{{route=\"{route}\",status=\"{class}xx\"}} {count}"
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_rendered() {
        let metrics = Metrics::default();
        metrics.pressed(Press::Again);
        metrics.answered("/v1/launches", 404);
        let text = metrics.render(3);
        assert!(text.contains("fanfare_launches_open 3\n"));
        assert!(text.contains("fanfare_presses_total{result=\"again\"} 1\n"));
        assert!(text.contains("{route=\"/v1/launches\",status=\"4xx\"} 1\n"));
    }
}
