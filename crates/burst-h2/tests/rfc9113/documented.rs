//! `docs/conformance.md` names every test of the two suites, each in the row of its section.

use std::collections::BTreeMap;
use std::path::Path;

/// Test and section of a folder of tests, as the names say.
fn tests_in(folder: &str) -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut tests = BTreeMap::new();
    for file in std::fs::read_dir(path).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for pair in lines.windows(2).filter(|pair| pair[0] == "#[test]") {
            let name = pair[1].strip_prefix("fn ").and_then(|rest| rest.split('(').next()).unwrap();
            assert_eq!(tests.insert(name.to_owned(), section(name)), None, "{name} is there twice");
        }
    }
    tests
}

/// `s6_5_2_values` is of section 6.5.2, `c_3_requests` of C.3; others have none.
fn section(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    let numbers = rest.trim_start_matches('_').split('_').take_while(|part| part.parse::<u32>().is_ok());
    let numbers: Vec<&str> = numbers.collect();
    match first {
        "s" if !numbers.is_empty() => numbers.join("."),
        "c" if !numbers.is_empty() => format!("C.{}", numbers[0]),
        _ => "-".into(),
    }
}

/// Test and section of the rows behind a heading.
fn tests_under(heading: &str) -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/conformance.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, chapter) = text.split_once(&format!("\n## {heading}")).unwrap();
    let rows = chapter.lines().skip(1).take_while(|line| !line.starts_with("## "));
    let mut tests = BTreeMap::new();
    for row in rows.filter(|row| row.starts_with('|') && row.contains('`')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        for name in cells[3].split(", ").map(|name| name.trim_matches('`')) {
            tests.insert(name.to_owned(), cells[1].to_owned());
        }
    }
    tests
}

#[test]
fn the_document_names_every_test_and_no_other() {
    assert_eq!(tests_under("RFC 9113"), tests_in("rfc9113"));
    assert_eq!(tests_under("RFC 7541"), tests_in("rfc7541"));
}
