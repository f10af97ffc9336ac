//! Logs, to standard error: standard output belongs to what a command answers.

use std::sync::Once;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Logs as `log` says, from now on; once a process.
pub(crate) fn start(log: &Log) {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        // The configuration's check has read the filter before.
        let filter = EnvFilter::try_new(&log.filter).unwrap_or_default();
        let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        match log.format {
            LogFormat::Text => logs.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
            LogFormat::Json => logs.json().init(),
        }
    });
}
