//! The documentation: every command in it runs here, or is checked in a short form, and what it
//! prints from the source (flags, error codes) is what the source has.
//!
//! A block of ` ```sh ` runs as it stands, in a scratch directory that looks like a clone, against
//! a test server; a block of ` ```json ` after it is the output. Commands that change the host,
//! publish or take long have a short form: see [`short_form`]. `PURSER_BLESS=1` regenerates the
//! printed pages.

use crate::house::lines::COLUMNS;
use crate::house::sources::root;
use crate::server::{Scratch, Server, purser, run};
use purser::api::problem::Code;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

/// A fenced block of a page.
pub struct Block {
    pub line: usize,
    pub language: String,
    pub text: String,
}

/// The fenced blocks of a page, in order, without their indentation.
pub fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut open): (Vec<Block>, Option<(usize, Block)>) = (Vec::new(), None);
    for (number, line) in page.lines().enumerate() {
        let (text, indent) = (line.trim_start(), line.len() - line.trim_start().len());
        match (&mut open, text.strip_prefix("```")) {
            (None, Some(language)) => {
                let block =
                    Block { line: number + 1, language: language.to_owned(), text: String::new() };
                open = Some((indent, block));
            }
            (Some(_), Some(_)) => blocks.extend(open.take().map(|(_, block)| block)),
            (Some((indent, block)), None) => {
                writeln!(block.text, "{}", line.get(*indent..).unwrap_or("")).expect("a string");
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block has no end");
    blocks
}

/// How a command is checked that does not run as it stands.
enum Short {
    /// This runs in its place.
    Run(String),
    /// A server with these flags starts and listens.
    Serves(Vec<String>),
    /// Test filters, each of which names a test, and variables that tests read.
    Tests(Vec<String>, Vec<String>),
    /// A bench and its suites.
    Bench(String, Vec<String>),
    /// A recipe of the justfile.
    Recipe(String),
    /// It changes the host, publishes or builds, and is not run.
    NotRun,
}

/// The short form of a command; `None` if it runs as it stands.
fn short_form(command: &str) -> Option<Short> {
    let words: Vec<_> = command.split_whitespace().map(str::to_owned).collect();
    let plain: Vec<_> = words.iter().map(String::as_str).filter(|word| !is_setting(word)).collect();
    let rest = |from: usize| plain[from..].iter().map(|word| (*word).to_owned()).collect();
    Some(match plain[..] {
        ["cargo", "run", "--release", "--", "serve", ..] => Short::Serves(rest(5)),
        ["purser", "serve", ..] if !plain.contains(&"--help") => Short::Serves(rest(2)),
        ["cargo", "test", ..] => {
            let filters = plain[2..].iter().filter(|word| !is_flag(word) && **word != "purser");
            let settings = words.iter().filter(|word| is_setting(word));
            let names = settings.filter_map(|word| word.split('=').next()).map(str::to_owned);
            Short::Tests(filters.map(|word| (*word).to_owned()).collect(), names.collect())
        }
        ["cargo", "bench", "--bench", bench, ..] => {
            let suites = plain[4..].iter().filter(|word| word.chars().all(char::is_lowercase));
            Short::Bench(bench.to_owned(), suites.map(|word| (*word).to_owned()).collect())
        }
        ["just", recipe, ..] => Short::Recipe(recipe.to_owned()),
        ["benches/pgo"] => Short::Run("benches/pgo --dry-run".to_owned()),
        ["tests/fuzz/smoke.sh", ..] => Short::Run("bash -n tests/fuzz/smoke.sh".to_owned()),
        ["tuning/check", ..] => Short::Run(format!("{command} || test $? = 1")),
        ["sudo", "tuning/apply", ..] => Short::Run("tuning/apply --cores 0".to_owned()),
        ["sudo" | "rustup" | "git" | "sed", ..] | ["cargo", "update" | "build", ..] => {
            Short::NotRun
        }
        _ => return None,
    })
}

/// Whether a word sets a variable of the environment.
fn is_setting(word: &str) -> bool {
    word.split_once('=')
        .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
}

/// Whether the integration tests read a variable of the environment.
fn is_read_by_tests(variable: &str) -> bool {
    let read = format!("\"{variable}\"");
    let is_read = |path: &std::path::Path| {
        path.extension().is_some_and(|extension| extension == "rs")
            && fs::read_to_string(path).is_ok_and(|text| text.contains(&read))
    };
    let list = |path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut below = list(root().join("tests"));
    below.any(|path| is_read(&path) || list(path).any(|path| is_read(&path)))
}

fn is_flag(word: &str) -> bool {
    word.starts_with('-')
}

/// Checks one command in its short form.
fn check_short(short: Short, at: &str, scratch: &Scratch) {
    match short {
        Short::Run(command) => {
            let (code, _, err) = shell(&command, scratch);
            assert_eq!(code, Some(0), "{at}: {command}: {err}");
        }
        Short::Serves(flags) => {
            let mut command = purser();
            command.args(["serve", "--listen", "127.0.0.1:0"]).args(flags);
            let server = Server::spawn(command.current_dir(scratch.join("")));
            server.check_all_cores_answer();
        }
        Short::Tests(filters, variables) => {
            for variable in variables {
                assert!(is_read_by_tests(&variable), "{at}: no test reads {variable}");
            }
            let tests = Command::new(std::env::current_exe().expect("this test has a path"))
                .arg("--list")
                .output()
                .expect("it starts");
            let tests = String::from_utf8(tests.stdout).expect("names are text");
            for filter in filters.iter().filter(|filter| !filter.starts_with("ledger::")) {
                assert!(tests.contains(&**filter), "{at}: no test is named {filter}");
            }
        }
        Short::Bench(bench, suites) => {
            let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("it is there");
            assert!(manifest.contains(&format!("name = \"{bench}\"")), "{at}: no bench {bench}");
            let known = fs::read_to_string(root().join("benches/load/options.rs"));
            let known = known.expect("it is there").to_lowercase();
            for suite in suites {
                assert!(known.contains(&format!("\n    {suite},")), "{at}: no suite {suite}");
            }
        }
        Short::Recipe(recipe) => {
            let justfile = fs::read_to_string(root().join("justfile")).expect("it is there");
            let heads = justfile.lines().filter(|line| !line.starts_with([' ', '#']));
            let mut names = heads.filter_map(|line| line.split([' ', ':']).next());
            assert!(names.any(|name| name == recipe), "{at}: no recipe {recipe}");
        }
        Short::NotRun => {}
    }
}

/// Runs a script in a scratch directory.
fn shell(script: &str, scratch: &Scratch) -> (Option<i32>, String, String) {
    let mut command = Command::new("bash");
    command.args(["-euc", script]).current_dir(scratch.join(""));
    let path = std::env::var("PATH").expect("there is a path");
    command.env("PATH", format!("{}:{path}", scratch.join("bin").display()));
    // Requests go to this machine, whatever proxy it has.
    command.env("NO_PROXY", "*").env("no_proxy", "*").env("CURL_HOME", scratch.join("bin"));
    run(&mut command)
}

/// A directory that looks like a clone in which `purser` is installed.
fn clone() -> Scratch {
    let scratch = Scratch::new("docs");
    for name in ["tests", "tuning", "benches", "docs", "justfile", "Cargo.toml"] {
        symlink(root().join(name), scratch.join(name)).expect("a link can be made");
    }
    fs::create_dir(scratch.join("bin")).expect("a directory can be made");
    symlink(env!("CARGO_BIN_EXE_purser"), scratch.join("bin/purser")).expect("a link can be made");
    fs::write(scratch.join("bin/.curlrc"), "silent\nshow-error\nfail-with-body\n")
        .expect("a file can be written");
    scratch
}

/// Checks every command of a page, in order. Returns how many there were.
fn check_page(page: &str) -> usize {
    let text = fs::read_to_string(root().join(page)).expect("the page is there");
    let (scratch, server) = (clone(), Server::start(&[]));
    let (mut count, mut shown) = (0, None);
    for block in blocks(&text) {
        let at = format!("{page}:{}", block.line);
        match &*block.language {
            "sh" => {
                let commands: Vec<_> = block.text.lines().map(without_comment).collect();
                count += commands.len();
                if commands.iter().all(|command| short_form(command).is_some()) {
                    let shorts = commands.iter().filter_map(|command| short_form(command));
                    shorts.for_each(|short| check_short(short, &at, &scratch));
                    continue;
                }
                let script = block.text.replace("127.0.0.1:8080", &server.address.to_string());
                let script: Vec<_> = script.lines().filter_map(runnable).collect();
                let (code, out, err) = shell(&script.join("\n"), &scratch);
                assert_eq!(code, Some(0), "{at}: {out}{err}");
                shown = Some(out);
            }
            "json" => {
                if let Some(shown) = shown.take() {
                    // Long answers are wrapped on the page.
                    let wanted: String = block.text.lines().map(str::trim).collect();
                    assert_eq!(shown.trim(), wanted, "{at}: the answer is another");
                }
            }
            _ => {}
        }
    }
    count
}

fn without_comment(line: &str) -> &str {
    line.split(" #").next().unwrap_or(line).trim_end()
}

/// A line of a script that runs as it stands, or with its short form in its place.
fn runnable(line: &str) -> Option<String> {
    match short_form(without_comment(line)) {
        None => Some(line.to_owned()),
        Some(Short::Run(command)) => Some(command),
        Some(_) => panic!("a block has commands that run and commands that do not: {line}"),
    }
}

#[test]
fn every_command_in_the_readme_works() {
    assert!(check_page("README.md") > 10);
}

#[test]
fn every_command_in_the_docs_works() {
    let pages = fs::read_dir(root().join("docs")).expect("it is there");
    let names = pages.map(|page| page.expect("an entry").file_name().into_string().expect("text"));
    let pages: Vec<_> = names.filter(|name| name.ends_with(".md")).collect();
    let index = fs::read_to_string(root().join("docs/README.md")).expect("it is there");
    for page in &pages {
        assert!(
            page == "README.md" || index.contains(&format!("({page})")),
            "{page} is not listed"
        );
        check_page(&format!("docs/{page}"));
    }
    for page in ["CONTRIBUTING.md", "tuning/README.md"] {
        assert!(check_page(page) > 0, "{page} has commands");
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let docs = fs::read_dir(root().join("docs")).expect("it is there");
    let docs = docs.map(|page| page.expect("an entry").path());
    for page in docs.chain(["README.md", "CONTRIBUTING.md"].map(|page| root().join(page))) {
        let text = fs::read_to_string(&page).expect("text");
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', '#']).next().expect("a target");
            let is_outside = target.is_empty() || target.starts_with("https://");
            let path = page.parent().expect("a directory").join(target);
            assert!(is_outside || path.exists(), "{}: {target} is not there", page.display());
        }
    }
}

/// Compares what lies between two marks of a page with what the source has, or writes it there.
fn printed(page: &str, mark: &str, wanted: &str) {
    let path = root().join(page);
    let text = fs::read_to_string(&path).expect("the page is there");
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- end of {mark} -->\n"));
    let (before, rest) = text.split_once(&begin).expect("the page has the mark");
    let (found, after) = rest.split_once(&end).expect("the mark has an end");
    if std::env::var("PURSER_BLESS").is_ok() {
        let text = [before, &begin, wanted, &end, after].concat();
        fs::write(&path, text).expect("it can be written");
    } else {
        let advice = "PURSER_BLESS=1 cargo test --test purser docs:: rewrites it";
        assert!(found == wanted, "{page}: {mark} differ from the source; {advice}\n{wanted}");
    }
}

#[test]
fn the_error_codes_are_those_of_the_source() {
    let place = |code| Code::ALL.iter().position(|&other| other == code);
    let mut list = String::new();
    for of_one_name in Code::ALL.chunk_by(|code, next| code.name() == next.name()) {
        let code = of_one_name[0];
        // These are codes of single lines, which the answer to a feed carries inside a 422.
        let is_of_line =
            (place(Code::LineTooLong)..=place(Code::InsufficientStorage)).contains(&place(code));
        let status = match code.status().code() {
            400 if is_of_line => "422, per line".to_owned(),
            status => status.to_string(),
        };
        writeln!(list, "- `{}` ({status}):", code.name()).expect("text");
        let (first, next) = if of_one_name.len() > 1 { ("  - ", "    ") } else { ("  ", "  ") };
        for code in of_one_name {
            list += &wrapped(code.detail(), first, next);
        }
    }
    printed("docs/api.md", "codes", &list);
}

/// A sentence in lines, of which the first begins with `first` and the others with `next`.
fn wrapped(sentence: &str, first: &str, next: &str) -> String {
    let (mut text, mut column) = (first.to_owned(), first.len());
    for (index, word) in sentence.split(' ').enumerate() {
        if index > 0 && column + 1 + word.len() > COLUMNS {
            text = text + "\n" + next;
            column = next.len();
        } else if index > 0 {
            text.push(' ');
            column += 1;
        }
        text += word;
        column += word.len();
    }
    text + "\n"
}

#[test]
fn the_flags_are_those_of_the_program() {
    let mut text = String::new();
    for command in ["serve", "import", "verify", "export"] {
        let (code, help, _) = run(purser().args([command, "--help"]).env("COLUMNS", "100"));
        assert_eq!(code, Some(0));
        write!(text, "## purser {command}\n\n```text\n{}```\n\n", trimmed(&help)).expect("text");
    }
    printed("docs/flags.md", "flags", &text);
}

/// A text without spaces at the ends of its lines, and without the CPU count of this machine.
fn trimmed(text: &str) -> String {
    text.lines().fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

#[test]
fn blocks_are_found_with_their_language() {
    let found = blocks("a\n```sh\nls\n```\n- b\n  ```json\n  {}\n  ```\n");
    let found: Vec<_> = found.iter().map(|b| (b.line, &*b.language, &*b.text)).collect();
    assert_eq!(found, [(2, "sh", "ls\n"), (6, "json", "{}\n")]);
}

#[test]
fn a_command_that_is_not_known_runs_as_it_stands() {
    assert!(short_form("curl http://127.0.0.1:8080/healthz").is_none());
    assert!(matches!(short_form("PURSER_SEED=1 cargo test --test purser a::"),
        Some(Short::Tests(filters, names)) if filters == ["a::"] && names == ["PURSER_SEED"]));
}
