//! How far a long step is, on standard error: one line rewritten on a terminal, a line every few seconds elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use model::Monotonic;
use model::runtime::Clock;

/// How often a line is written where nothing can be rewritten.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// A step that takes a while.
pub(crate) struct Progress {
    clock: Arc<dyn Clock>,
    label: String,
    start: Monotonic,
    last_line: Monotonic,
    is_terminal: bool,
    width: usize,
}

impl Progress {
    /// Begins a step.
    pub(crate) fn new(clock: &Arc<dyn Clock>, label: &str) -> Self {
        let start = clock.monotonic();
        let is_terminal = std::io::stderr().is_terminal();
        let mut progress = Self {
            clock: Arc::clone(clock),
            label: label.to_owned(),
            start,
            last_line: start,
            is_terminal,
            width: 0,
        };
        if is_terminal {
            progress.rewrite("...");
        }
        progress
    }

    /// Says how far it is.
    pub(crate) fn note(&mut self, text: &str) {
        let now = self.clock.monotonic();
        if self.is_terminal {
            self.rewrite(text);
        } else if now.since(self.last_line) >= LINE_EVERY {
            self.last_line = now;
            eprintln!("  {:<22}{text}", self.label);
        }
    }

    /// The step is done; how long it took.
    pub(crate) fn done(mut self, text: &str) -> Duration {
        let took = self.clock.monotonic().since(self.start);
        let text = format!("{text}, {:.1} s", took.as_secs_f64());
        if self.is_terminal {
            self.rewrite(&text);
            eprintln!();
        } else {
            eprintln!("  {:<22}{text}", self.label);
        }
        took
    }

    /// Writes over what the line said before.
    fn rewrite(&mut self, text: &str) {
        let line = format!("  {:<22}{text}", self.label);
        let width = line.chars().count();
        let mut out = std::io::stderr().lock();
        // Failing to show progress is nobody's failure.
        let _ = write!(out, "\r{line}{}", " ".repeat(self.width.saturating_sub(width)));
        let _ = out.flush();
        self.width = width;
    }
}
