//! The directory `tuning/`: its pages, scripts and systemd unit agree with each other and with the
//! program, and scripts that only check change nothing.

use crate::server::{purser, run};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Pages about settings that no script can check; `check --help` names them.
const NOT_CHECKED: [&str; 1] = ["service.md"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(path(name)).expect("it is there")
}

fn script(name: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    run(Command::new(path(name)).args(arguments))
}

/// All pages except the index.
fn pages() -> BTreeSet<String> {
    let names = fs::read_dir(path("")).expect("it is there");
    let names = names
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name in UTF-8"));
    names.filter(|name| name.ends_with(".md") && name != "README.md").collect()
}

#[test]
fn each_line_of_check_names_a_page() {
    let (code, out, err) = script("check", &[]);
    assert_eq!(err, "");
    let (pages, mut is_off) = (pages(), false);
    assert!(!out.is_empty(), "check prints a line on every machine");
    for line in out.lines() {
        let (status, _) = line.split_once(' ').expect("words");
        assert!(["ok", "off", "unknown"].contains(&status), "{line}");
        assert!(line.contains("; wanted: "), "{line}");
        let page =
            line.rsplit(' ').next().and_then(|word| word.strip_prefix("tuning/")).expect("a page");
        assert!(pages.contains(page), "{line}");
        is_off |= status == "off";
    }
    assert_eq!(code, Some(i32::from(is_off)), "{out}");
}

#[test]
fn each_page_is_in_the_index_and_in_check() {
    let (index, check) = (text("README.md"), text("check"));
    let (_, help, _) = script("check", &["--help"]);
    for page in pages() {
        assert!(index.contains(&format!("]({page})")), "the index lacks {page}");
        if NOT_CHECKED.contains(&&*page) {
            assert!(
                help.contains(&format!("Not checked: {page}")),
                "check does not say that it leaves {page} out"
            );
        } else {
            let used = check
                .lines()
                .filter(|line| !line.starts_with("Not checked"))
                .any(|line| line.contains(&page));
            assert!(used, "check does not name {page}");
        }
    }
}

#[test]
fn each_page_tells_its_effect_and_undo_and_has_valid_links() {
    for page in pages().into_iter().chain(["README.md".to_owned()]) {
        let text = text(&page);
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().expect("the end of a link");
            assert!(path(target).exists(), "{page} links to {target}");
        }
        for word in ["ffect", "ndo"] {
            assert!(text.contains(word), "{page} does not mention `{word}`");
        }
        assert!(
            text.contains("easured") || text.contains("whether it starts"),
            "{page} does not say whether it was measured"
        );
        assert!(
            text.contains("cargo bench --bench load -- "),
            "{page} does not say how to measure"
        );
    }
}

#[test]
fn invalid_arguments_are_refused() {
    let check = |arguments: &[&str], named: &str| {
        for name in ["check", "apply"] {
            let (code, out, err) = script(name, arguments);
            assert_eq!((code, out.as_str()), (Some(2), ""), "{name} {arguments:?}: {err}");
            assert!(
                err.starts_with("error: ") && err.contains(named),
                "{name} {arguments:?}: {err}"
            );
            assert!(err.contains(&format!("usage: tuning/{name}")), "{name} {arguments:?}: {err}");
        }
    };
    check(&["--nonsense"], "--nonsense");
    check(&["nonsense"], "nonsense");
    check(&["--cores"], "--cores");
    check(&["--cores", "x"], "x is not a list of CPUs");
    check(&["--cores", "1-0"], "1-0 is not a list of CPUs");
    check(&["--cores", "9999"], "9999");
    check(&["--data"], "--data");
    check(&["--interface", "no/such"], "no/such");
    let (code, _, err) = script("check", &["--yes"]);
    assert!(code == Some(2) && err.contains("--yes"), "{err}");
}

#[test]
fn apply_without_yes_changes_nothing() {
    let runs: [&[&str]; 2] = [&[], &["--cores", "0"]];
    for arguments in runs {
        let (code, out, err) = script("apply", arguments);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
        // The undo value is still the current value after the run.
        for undo in out.lines().filter_map(|line| line.strip_prefix("# undo: echo ")) {
            let (value, file) = undo.rsplit_once(" > ").expect("a value and a file");
            let found = fs::read_to_string(file).expect("it can be read");
            let words = found.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(
                words == value || words.contains(&format!("[{value}]")),
                "{file} is {words}, and was {value}"
            );
        }
        assert_eq!(script("apply", arguments), (Some(0), out, String::new()), "the second time");
    }
}

#[test]
fn the_unit_agrees_with_the_program() {
    let unit = text("purser.service");
    let (_, help, _) = run(purser().args(["serve", "--help"]));
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let value = |start: &str| {
        unit.lines().find_map(|line| line.strip_prefix(start)).expect("a line of the unit")
    };
    for variable in unit.lines().filter_map(|line| line.strip_prefix("Environment=")) {
        let (name, _) = variable.split_once('=').expect("a name and a value");
        assert!(help.contains(&format!("[env: {name}=")), "serve does not know {name}");
    }
    let default = |flag: &str| -> u64 {
        let (_, text) = help.split_once(&format!("{flag} <")).expect("the flag");
        let (_, text) = text.split_once("[default: ").expect("its default");
        text.split(']').next().and_then(|ms| ms.parse().ok()).expect("a number")
    };
    let drain_ms = default("--drain-delay-ms") + default("--drain-timeout-ms");
    let stop_s: u64 = value("TimeoutStopSec=").parse().expect("seconds");
    assert!(
        stop_s * 1_000 > drain_ms,
        "systemd kills after {stop_s} s, and the end may take {drain_ms} ms"
    );
    let data = format!("Environment=PURSER_DATA=/var/lib/{}", value("StateDirectory="));
    assert!(unit.contains(&data), "the unit lets the data be written elsewhere: {data}");
}
