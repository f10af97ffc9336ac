//! A launch's report as plain text, for whoever pressed Go: no codes without an explanation, no figure without its unit.

use std::fmt::Write;

use model::launch::LaunchState;
use model::{Class, Purpose, Reason};

use crate::latencies::Quantiles;
use crate::launch::{LateFigures, LaunchReport};
use crate::tally::Counts;

/// Width of the curve's longest bar, in characters.
const BAR_CHARS_MAX: u64 = 50;
/// Lines of the curve at most; longer launches get more time per line.
const CURVE_LINES_MAX: usize = 40;
/// Reasons shown; the others are counted together.
const REASONS_MAX: usize = 12;
/// Troubles shown, the most frequent first.
const TROUBLES_MAX: usize = 12;
/// Characters of a trouble shown.
const TROUBLE_CHARS_MAX: usize = 80;

/// Renders `report`. Lines are under 110 characters and plain ASCII, except for names that people gave.
pub fn render(report: &LaunchReport) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_report(&mut text, report);
    text
}

fn write_report(out: &mut String, report: &LaunchReport) -> std::fmt::Result {
    write_head(out, report)?;
    write_speed(out, report)?;
    write_classes(out, report)?;
    write_parts(out, report)?;
    write_reasons(out, report)?;
    write_troubles(out, report)?;
    if let Some(late) = &report.late {
        write_late(out, late)?;
    }
    write_curve(out, report)?;
    write_checks(out, report)
}

fn write_head(out: &mut String, report: &LaunchReport) -> std::fmt::Result {
    let purpose = match report.purpose {
        Purpose::Live => "",
        Purpose::Test => " (a test send)",
        Purpose::Rehearsal => " (a rehearsal: no phone was reached)",
    };
    writeln!(out, "{}, wave {}{purpose}", report.campaign_name, report.wave)?;
    writeln!(out, "{} pressed Go at {}.", report.pressed_by, report.pressed_at)?;
    if let Some(stop) = &report.aborted {
        let after = seconds(stop.at.since(report.pressed_at).as_micros() as u64);
        let why = if stop.why.is_empty() { String::new() } else { format!(": {}", stop.why) };
        writeln!(out, "{} aborted it {after} after the press{why}.", stop.by)?;
    }
    if let Some(state) = report.state {
        writeln!(out, "{}", state_text(state))?;
    }
    writeln!(out, "launch {}", report.launch)
}

const fn state_text(state: LaunchState) -> &'static str {
    match state {
        LaunchState::Sending => "It is still being sent: these figures will change.",
        LaunchState::Paused => "It is paused: the rest goes when somebody resumes it.",
        LaunchState::Aborting => "It is being aborted: these figures will change.",
        LaunchState::Aborted => "It was aborted and is over.",
        LaunchState::LateRetry => "The burst is over; a few devices are still being tried again.",
        LaunchState::Finished => "It is over.",
    }
}

fn write_speed(out: &mut String, report: &LaunchReport) -> std::fmt::Result {
    let answers = &report.answers;
    writeln!(out)?;
    if answers.count == 0 {
        return writeln!(out, "No message was accepted.");
    }
    writeln!(
        out,
        "Of the messages accepted, 95 % were out {} after Go, 99 % after {}, the last after {}.",
        seconds(answers.p95_us),
        seconds(answers.p99_us),
        seconds(answers.max_us)
    )?;
    let clocks = match report.clock_error_us {
        0 => String::new(),
        us => format!("; the machines' clocks agree to {}", seconds(us)),
    };
    writeln!(out, "(From the press to the provider's yes{clocks}.)")
}

const CLASSES: [(Class, &str); 6] = [
    (Class::Accepted, "Apple or Google took it; nobody can promise the screen"),
    (Class::Rejected, "Apple or Google refused it, see below"),
    (Class::Expired, "too late to be worth sending"),
    (Class::Suppressed, "taken off the list before it was sent"),
    (Class::NotSent, "nothing was sent, see below"),
    (Class::Unknown, "sent, but no answer came"),
];

fn write_classes(out: &mut String, report: &LaunchReport) -> std::fmt::Result {
    writeln!(out)?;
    for (class, meaning) in CLASSES {
        let devices = report.counts.of(class);
        writeln!(
            out,
            "{:<12}{:>13}  {}  {meaning}",
            class.name().replace('_', " "),
            thousands(devices),
            share(devices, report.devices)
        )?;
    }
    let verdict =
        if report.is_conserved() { "every device is in exactly one line" } else { "THE LINES DO NOT ADD UP" };
    writeln!(
        out,
        "{:<12}{:>13}  {}  {verdict}",
        "devices",
        thousands(report.devices),
        share(report.devices, report.devices)
    )?;
    if report.counts.resent > 0 {
        writeln!(
            out,
            "{} of them may have got the message twice; the second copy replaces the first on the screen.",
            thousands(report.counts.resent)
        )?;
    }
    Ok(())
}

fn write_parts(out: &mut String, report: &LaunchReport) -> std::fmt::Result {
    writeln!(out)?;
    writeln!(
        out,
        "{:<24}{:>13}{:>13}{:>11}{:>11}{:>10}{:>10}{:>10}",
        "", "devices", "accepted", "rejected", "others", "95 %", "99 %", "last"
    )?;
    for part in &report.by_platform {
        write_part(out, part.platform.name(), &part.counts, &part.answers)?;
    }
    for part in &report.by_market {
        let name: String = part.market.chars().take(17).collect();
        write_part(out, &format!("{name} {}", part.platform), &part.counts, &part.answers)?;
    }
    Ok(())
}

fn write_part(out: &mut String, name: &str, counts: &Counts, answers: &Quantiles) -> std::fmt::Result {
    let others = counts.devices.saturating_sub(counts.accepted).saturating_sub(counts.rejected);
    writeln!(
        out,
        "{name:<24}{:>13}{:>13}{:>11}{:>11}{:>10}{:>10}{:>10}",
        thousands(counts.devices),
        thousands(counts.accepted),
        thousands(counts.rejected),
        thousands(others),
        seconds(answers.p95_us),
        seconds(answers.p99_us),
        seconds(answers.max_us)
    )
}

fn write_reasons(out: &mut String, report: &LaunchReport) -> std::fmt::Result {
    let classes = [Class::Rejected, Class::NotSent, Class::Unknown];
    let all = classes.map(|class| report.outcomes.reasons(class).into_iter().map(move |row| (class, row)));
    let mut rows: Vec<_> = all.into_iter().flatten().collect();
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_by_key(|(_, (_, devices))| std::cmp::Reverse(*devices));
    writeln!(out, "\nWhy not accepted")?;
    for (class, (reason, devices)) in rows.iter().take(REASONS_MAX) {
        let class = class.name().replace('_', " ");
        writeln!(out, "{:>13}  {class}: {reason}{}", thousands(*devices), meaning(*reason))?;
    }
    let more: u64 = rows.iter().skip(REASONS_MAX).map(|(_, (_, devices))| devices).sum();
    if more > 0 {
        writeln!(out, "{:>13}  for {} other reasons", thousands(more), rows.len() - REASONS_MAX)?;
    }
    Ok(())
}

fn write_troubles(out: &mut String, report: &LaunchReport) -> std::fmt::Result {
    if report.troubles.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nWhat went wrong on the way, and how often")?;
    for trouble in report.troubles.iter().take(TROUBLES_MAX) {
        let what: String = trouble.what.chars().take(TROUBLE_CHARS_MAX).collect();
        writeln!(out, "{:>13}  {}: {what}", thousands(trouble.count), trouble.platform)?;
    }
    let more = report.troubles.len().saturating_sub(TROUBLES_MAX);
    if more > 0 {
        writeln!(out, "{:>13}  other things", thousands(more as u64))?;
    }
    Ok(())
}

/// What a reason means to somebody who does not know the provider.
const fn meaning(reason: Reason) -> &'static str {
    match reason {
        Reason::Unregistered | Reason::FcmUnregistered => " (the app was removed from the phone)",
        Reason::ExpiredToken | Reason::BadDeviceToken => " (the phone's address is no longer good)",
        Reason::DeviceTokenNotForTopic | Reason::SenderIdMismatch => " (the address belongs to another app)",
        Reason::TooManyRequests => " (the phone got too many messages)",
        Reason::QuotaExceeded => " (more per minute than Google granted)",
        Reason::InternalServerError
        | Reason::ServiceUnavailable
        | Reason::Internal
        | Reason::Unavailable
        | Reason::Shutdown => " (the provider was busy)",
        Reason::TimedOut | Reason::ConnectionLost | Reason::StreamReset => " (it may have arrived)",
        Reason::WorkerLost => " (a machine was lost; it may have arrived)",
        Reason::NoConnection => " (no connection to the provider, see below)",
        Reason::StreamRefused => " (the provider refused it unread, again and again)",
        Reason::LaunchStopped => " (the same fault would have met every device)",
        Reason::ExpiredProviderToken
        | Reason::InvalidProviderToken
        | Reason::Unauthenticated
        | Reason::PermissionDenied => " (the provider does not take our credentials)",
        Reason::AnswerNotUnderstood => " (it may have arrived)",
        _ => "",
    }
}

fn write_late(out: &mut String, late: &LateFigures) -> std::fmt::Result {
    writeln!(
        out,
        "\nAfterwards {} further attempts brought {} more messages through, the last {} after Go.",
        thousands(late.attempts),
        thousands(late.accepted),
        seconds(late.answers.max_us)
    )
}

fn write_curve(out: &mut String, report: &LaunchReport) -> std::fmt::Result {
    let slots = report.curve.slots();
    if slots.is_empty() {
        return Ok(());
    }
    let per_line = slots.len().div_ceil(CURVE_LINES_MAX);
    let lines: Vec<u64> =
        slots.chunks(per_line).map(|slots| slots.iter().map(|n| u64::from(*n)).sum()).collect();
    let most = lines.iter().copied().max().unwrap_or(0).max(1);
    writeln!(out, "\nAccepted per {:.1} s since Go", per_line as f64 / 10.0)?;
    for (index, n) in lines.iter().enumerate() {
        let bar = "#".repeat((n * BAR_CHARS_MAX).div_ceil(most) as usize);
        let line = format!("{:>7.1} s {:>11} {bar}", (index * per_line) as f64 / 10.0, thousands(*n));
        writeln!(out, "{}", line.trim_end())?;
    }
    if report.curve.later() > 0 {
        writeln!(out, "    later {:>11}", thousands(report.curve.later()))?;
    }
    Ok(())
}

fn write_checks(out: &mut String, report: &LaunchReport) -> std::fmt::Result {
    let broken = report.check();
    if broken.is_empty() {
        return writeln!(out, "\nChecked: every device counted once, nobody sent to twice unless marked.");
    }
    writeln!(out, "\nSOMETHING DOES NOT ADD UP")?;
    broken.iter().try_for_each(|broken| writeln!(out, "  {broken}"))
}

/// `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Microseconds in the unit that reads best: `0.3 ms`, `87 ms`, `2.41 s`, `5 min 03 s`.
pub fn seconds(us: u64) -> String {
    match us {
        0..10_000 => format!("{:.1} ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{} ms", us / 1_000),
        1_000_000..120_000_000 => format!("{:.2} s", us as f64 / 1e6),
        _ => format!("{} min {:02} s", us / 60_000_000, us / 1_000_000 % 60),
    }
}

/// A share of devices in percent; neither 0 nor 100 unless it is exactly that.
pub fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "       -".to_string();
    }
    let exact = part as f64 / whole as f64 * 100.0;
    let shown = match part {
        0 => 0.0,
        _ if part >= whole => exact,
        _ => exact.clamp(0.01, 99.99),
    };
    format!("{shown:>6.2} %")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::tests::{records, report};

    #[test]
    fn a_report_tells_a_marketer_what_happened() {
        let text = render(&report(records()));
        for line in [
            "Super Bowl, wave all",
            "ann pressed Go at 2026-02-08T23:59:59.000Z.",
            "95 % were out 90 ms after Go",
            "accepted                9   75.00 %  Apple or Google took it",
            "devices                12  100.00 %  every device is in exactly one line",
            "rejected: Unregistered (the app was removed from the phone)",
            "Checked: every device counted once",
        ] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
        assert!(text.lines().all(|line| line.len() < 110), "{text}");
    }

    #[test]
    fn what_does_not_add_up_is_shouted() {
        let text = render(&report(records().into_iter().skip(1).collect()));
        assert!(text.contains("THE LINES DO NOT ADD UP"), "{text}");
        assert!(
            text.contains("I2 (every device in exactly one class): 3 of 4 shards have a record"),
            "{text}"
        );
    }

    #[test]
    fn nobody_to_reach_is_no_division_by_zero() {
        let text = render(&report(vec![]));
        assert!(text.contains("No message was accepted."), "{text}");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_000), "1,000");
        assert_eq!(thousands(6_000_000), "6,000,000");
        assert_eq!([seconds(300), seconds(87_400), seconds(2_410_000)], ["0.3 ms", "87 ms", "2.41 s"]);
        assert_eq!(seconds(303_000_000), "5 min 03 s");
        assert_eq!(share(5_999_999, 6_000_000), " 99.99 %");
        assert_eq!(share(1, 6_000_000), "  0.01 %");
        assert_eq!(share(0, 6), "  0.00 %");
        assert_eq!(share(6, 6), "100.00 %");
    }
}
