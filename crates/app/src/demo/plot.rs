//! The live curve on standard error: redrawn in place on a terminal, a line every half second elsewhere.

use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Columns of the chart; one slot of the curve (100 ms) each.
const COLUMNS: usize = 60;
/// Lines of the chart.
const ROWS: usize = 6;
/// Eighths of a line, from nothing to full.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// How often a line is written where nothing can be redrawn.
const LINE_EVERY: Duration = Duration::from_millis(500);

/// What is known at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Frame {
    pub(crate) state: String,
    pub(crate) since_press: Duration,
    pub(crate) devices: u64,
    pub(crate) answered: u64,
    pub(crate) accepted: u64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p95_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    /// Answers per 100 ms since the press.
    pub(crate) curve: Vec<u64>,
}

/// Draws frames as they come.
#[derive(Debug)]
pub(crate) struct Plot {
    is_terminal: bool,
    lines_drawn: usize,
    last_line: Option<Duration>,
}

impl Plot {
    pub(crate) fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), lines_drawn: 0, last_line: None }
    }

    /// Draws `frame`; failing to draw is nobody's failure.
    pub(crate) fn draw(&mut self, frame: &Frame) {
        let mut out = std::io::stderr().lock();
        if self.is_terminal {
            let text = chart(frame);
            if self.lines_drawn > 0 {
                let _ = write!(out, "\x1b[{}A\x1b[J", self.lines_drawn);
            }
            let _ = out.write_all(text.as_bytes());
            self.lines_drawn = text.lines().count();
            return;
        }
        let is_due = self.last_line.is_none_or(|last| frame.since_press >= last + LINE_EVERY);
        if is_due {
            self.last_line = Some(frame.since_press);
            let _ = writeln!(out, "{}", status(frame));
        }
    }
}

/// One line: how far, how fast.
fn status(frame: &Frame) -> String {
    let share = 100.0 * frame.answered as f64 / frame.devices.max(1) as f64;
    let ms = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0} ms"));
    format!(
        "{:>6.1} s  {share:>5.1} %  {} of {} answered, {} accepted   p50 {}  p95 {}  p99 {}   {}",
        frame.since_press.as_secs_f64(),
        report::text::thousands(frame.answered),
        report::text::thousands(frame.devices),
        report::text::thousands(frame.accepted),
        ms(frame.p50_ms),
        ms(frame.p95_ms),
        ms(frame.p99_ms),
        frame.state,
    )
}

/// The curve above the line, the newest six seconds of it.
fn chart(frame: &Frame) -> String {
    let start = frame.curve.len().saturating_sub(COLUMNS);
    let shown = &frame.curve[start..];
    let peak = shown.iter().copied().max().unwrap_or(0).max(1);
    let mut text = format!("  answers per second, peak {}\n", report::text::thousands(peak * 10));
    for row in (0..ROWS).rev() {
        text.push_str("  ");
        for count in shown {
            let eighths = (*count * (ROWS as u64 * 8)).div_ceil(peak) as usize;
            text.push(BLOCKS[eighths.saturating_sub(row * 8).min(8)]);
        }
        text.push('\n');
    }
    let from = start as f64 / 10.0;
    text.push_str(&format!("  {}\n", "─".repeat(COLUMNS)));
    text.push_str(&format!("  {from:<5.1}{:>55.1} s\n", from + COLUMNS as f64 / 10.0));
    text.push_str(&status(frame));
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(curve: Vec<u64>) -> Frame {
        Frame { state: "sending".into(), devices: 100, answered: 50, accepted: 49, curve, ..Frame::default() }
    }

    #[test]
    fn the_highest_slot_fills_its_column() {
        let text = chart(&frame(vec![1, 8, 4]));
        let rows: Vec<&str> = text.lines().skip(1).take(ROWS).collect();
        assert!(rows.iter().all(|row| row.chars().nth(3) == Some('█')), "{text}");
        assert_eq!(rows[0].chars().nth(2), Some(' '));
        assert_eq!(rows[ROWS - 1].chars().nth(2), Some('▆'));
    }

    #[test]
    fn an_empty_curve_is_drawn_too() {
        assert!(chart(&frame(Vec::new())).contains("50 of 100 answered"));
    }
}
