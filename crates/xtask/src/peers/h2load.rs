//! Reads what h2load prints.

use anyhow::{Context, Result, bail};

/// What a run did.
#[derive(Debug, PartialEq)]
pub(super) struct Run {
    pub(super) good: u64,
    pub(super) per_second: f64,
}

/// Reads the report; an error when `requests` were not all answered with a 2xx.
pub(super) fn read(report: &str, requests: u64) -> Result<Run> {
    let line = |start: &str| {
        let found = report.lines().find_map(|line| line.strip_prefix(start));
        found.with_context(|| format!("h2load printed no line {start:?}:\n{report}"))
    };
    // finished in 1.92s, 52083.33 req/s, 10.23MB/s
    let per_second = line("finished in ")?.split(", ").find_map(|part| part.strip_suffix(" req/s"));
    // requests: 100 total, 100 started, 100 done, 100 succeeded, 0 failed, 0 errored, 0 timeout
    let succeeded = number_before(line("requests: ")?, " succeeded")?;
    // status codes: 100 2xx, 0 3xx, 0 4xx, 0 5xx
    let good = number_before(line("status codes: ")?, " 2xx")?;
    if (succeeded, good) != (requests, requests) {
        bail!("of {requests} requests {succeeded} were answered, {good} of them with a 2xx");
    }
    let per_second = per_second.context("h2load printed no requests per second")?.parse()?;
    Ok(Run { good, per_second })
}

fn number_before(line: &str, word: &str) -> Result<u64> {
    let number = line.split(", ").find_map(|part| part.strip_suffix(word)?.parse().ok());
    number.with_context(|| format!("h2load printed no number before {word:?}: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "\
starting benchmark...
progress: 100% done

finished in 305.41ms, 327428.11 req/s, 9.37MB/s
requests: 100000 total, 100000 started, 100000 done, 100000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 100000 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 2.86MB (3001000) total, 97.66KB (100000) headers (space savings 96.00%), 0B (0) data
";

    #[test]
    fn a_report_is_read() {
        assert_eq!(read(REPORT, 100_000).unwrap(), Run { good: 100_000, per_second: 327_428.11 });
    }

    #[test]
    fn answers_that_are_no_success_are_a_failure() {
        let bad = REPORT.replace("100000 2xx, 0 3xx, 0 4xx", "99999 2xx, 0 3xx, 1 4xx");
        let error = read(&bad, 100_000).unwrap_err().to_string();
        assert!(error.contains("99999 of them with a 2xx"), "{error}");
        assert!(read(&REPORT.replace("100000 succeeded", "7 succeeded"), 100_000).is_err());
        assert!(read(REPORT, 100_001).is_err());
        assert!(read("", 1).is_err());
    }
}
