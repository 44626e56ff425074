//! Traces: a program runs under strace, and its calls come back in order.
//!
//! A call counts as made between its beginning and its end. Where other threads' calls fall in
//! between, strace prints two lines; else one. A call that failed has no effect and is left out. A
//! call that a kill cut off has a beginning only.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The calls that are traced; whichever of these names this machine has. Calls that read are not
/// among them, except those that open.
const TRACED: &str = "openat,?creat,?open,?mkdir,?mkdirat,?rename,?renameat,?renameat2,?link,\
    ?linkat,?symlink,?symlinkat,?fsync,?fdatasync,?sync_file_range,?unlink,?unlinkat,?rmdir,write,\
    writev,pwrite64,?pwritev,?pwritev2,?truncate,ftruncate,?fallocate,?sendfile,?copy_file_range";
/// Characters of a string that are printed: a whole manifest.
const STRING: &str = "400";
/// Characters of a line that a message shows.
const SHOWN: usize = 300;

/// A call of a thread.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    pub thread: u32,
    pub name: String,
    /// Its arguments, as strace prints them.
    pub arguments: Vec<String>,
    /// Its result; `None` if the process ended before.
    pub result: Option<String>,
    /// The line that says so.
    pub line: String,
}

/// A moment in a trace; the number is that of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Begin(usize),
    End(usize),
}

/// The calls of a trace that did not fail, and their beginnings and ends in order.
#[derive(Debug, Default)]
pub struct Trace {
    pub calls: Vec<Call>,
    pub events: Vec<Event>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line.chars().take(SHOWN).collect::<String>())
    }
}

impl Call {
    /// The paths among the arguments: `3</a>` of a descriptor, `"/b"`, or `3</a>, "b"`.
    pub fn paths(&self) -> Vec<PathBuf> {
        let (mut found, mut above) = (Vec::new(), None);
        for argument in &self.arguments {
            if let Some(path) = argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
                found.push(above.take().unwrap_or_else(PathBuf::new).join(path));
            } else if let Some((_, path)) = descriptor(argument) {
                above = Some(path);
            }
        }
        found.extend(above);
        found
    }

    /// The descriptor and the path of the first argument.
    pub fn file(&self) -> (i32, PathBuf) {
        let file = self.arguments.first().and_then(|first| descriptor(first));
        file.unwrap_or_else(|| panic!("a descriptor comes first: {}", self.line))
    }

    pub fn has_flag(&self, flag: &str) -> bool {
        self.arguments.iter().any(|argument| argument.split('|').any(|part| part == flag))
    }

    /// The text that is written; strace cuts a long one.
    pub fn text(&self) -> String {
        let text = self.arguments.get(1).and_then(|text| text.split('"').nth(1));
        text.unwrap_or_default().replace("\\n", "\n")
    }

    /// The offset of a write that has one.
    pub fn offset(&self) -> u64 {
        let offset = self.arguments.get(3).and_then(|offset| offset.parse().ok());
        offset.unwrap_or_else(|| panic!("it has an offset: {}", self.line))
    }
}

/// A descriptor and its path, of `3</a>`. The path of a file without a name is empty.
pub fn descriptor(text: &str) -> Option<(i32, PathBuf)> {
    let named = text.strip_suffix("(deleted)").unwrap_or(text);
    let (number, path) = named.strip_suffix('>')?.split_once('<')?;
    let number = if number == "AT_FDCWD" { -1 } else { number.parse().ok()? };
    Some((number, PathBuf::from(if named == text { path } else { "" })))
}

/// Arguments, split at commas outside of strings.
fn split(text: &str) -> Vec<String> {
    let (mut found, mut last, mut is_quoted, mut is_escaped) =
        (Vec::new(), String::new(), false, false);
    for character in text.chars() {
        is_quoted ^= character == '"' && !is_escaped;
        is_escaped = character == '\\' && !is_escaped;
        if character == ',' && !is_quoted {
            found.push(std::mem::take(&mut last).trim().to_owned());
        } else {
            last.push(character);
        }
    }
    found.push(last.trim().to_owned());
    found
}

/// The end of a line: what precedes the result, and the result.
fn result(text: &str) -> Option<(&str, &str)> {
    let (before, result) = text.rsplit_once(" = ")?;
    Some((before.trim_end().strip_suffix(')')?, result))
}

impl Trace {
    /// Reads what `strace -f -y -o` has written.
    pub fn parse(text: &str) -> Self {
        let (mut calls, mut events) = (Vec::<Call>::new(), Vec::new());
        for line in text.lines() {
            let Some((thread, rest)) = line.split_once(' ') else { continue };
            let thread = thread.parse().unwrap_or_else(|_| panic!("no thread: {line}"));
            let rest = rest.trim_start();
            if rest.starts_with("+++") || rest.starts_with("---") {
                continue;
            }
            if rest.starts_with("<... ") {
                let is_open =
                    |event: &Event| matches!(event, Event::Begin(n) if calls[*n].thread == thread);
                let Some(&Event::Begin(at)) = events.iter().rev().find(|event| is_open(event))
                else {
                    panic!("a call ends that did not begin: {line}")
                };
                let (_, result) =
                    result(rest).unwrap_or_else(|| panic!("a call ends without a result: {line}"));
                calls[at].result = Some(result.to_owned());
                events.push(Event::End(at));
                continue;
            }
            let (name, rest) =
                rest.split_once('(').unwrap_or_else(|| panic!("neither call nor signal: {line}"));
            let unfinished = rest.strip_suffix(" <unfinished ...>");
            let (arguments, result) = match (unfinished, result(rest)) {
                (Some(arguments), _) => (arguments, None),
                (None, Some((arguments, result))) => (arguments, Some(result.to_owned())),
                // The kill came before the result was printed.
                (None, None) => (rest, None),
            };
            events.push(Event::Begin(calls.len()));
            if result.is_some() {
                events.push(Event::End(calls.len()));
            }
            calls.push(Call {
                thread,
                name: name.to_owned(),
                arguments: split(arguments.trim_end_matches(" <unfinished ...>")),
                result,
                line: line.to_owned(),
            });
        }
        let ended = |call: &Call| call.result.as_deref().is_some_and(|result| result != "?");
        let failed = |call: &Call| ended(call) && call.result.as_deref().is_some_and(is_failure);
        events.retain(|event| match event {
            Event::Begin(call) => !failed(&calls[*call]),
            Event::End(call) => ended(&calls[*call]) && !failed(&calls[*call]),
        });
        Self { calls, events }
    }
}

fn is_failure(result: &str) -> bool {
    !result.starts_with(|first: char| first.is_ascii_digit())
}

/// Whether this machine has strace, and lets it trace. If not, this is printed.
pub fn can_trace() -> bool {
    let is_traced = traced(&Command::new("true"), Path::new("/dev/null"), &[]).status();
    let can_trace = is_traced.is_ok_and(|status| status.success());
    if !can_trace {
        eprintln!("skipped: strace is missing, or may trace no process here");
    }
    can_trace
}

/// A program under strace, which writes to `trace` and takes further flags. The process that is
/// started is the program itself, and strace a child of it, so that a signal meets the program.
pub fn traced(program: &Command, trace: &Path, flags: &[&str]) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "-y", "-s", STRING]);
    if flags.is_empty() {
        // Other calls then run at full speed, but strace injects nothing.
        strace.arg("--seccomp-bpf");
    }
    strace.args(["-e", &format!("trace={TRACED}"), "-o"]).arg(trace).args(flags);
    for (name, value) in program.get_envs() {
        let value: Option<&OsStr> = value;
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    strace.arg(program.get_program()).args(program.get_args());
    strace
}

/// The text of a trace, once the process with this id has ended; `None` if strace is still writing.
pub fn finished(trace: &Path, id: u32) -> Option<String> {
    let text = fs::read_to_string(trace).ok()?;
    let end = text.lines().last()?.strip_prefix(&id.to_string())?.trim_start();
    end.starts_with("+++ ").then_some(text)
}

#[test]
fn lines_of_strace_become_calls_in_order() {
    let trace = Trace::parse(
        "7 openat(AT_FDCWD</w>, \"/d/a, b\", O_RDWR|O_DSYNC) = 3</d/ab>\n\
         7 pwrite64(3</d/ab>, \"x\\n, \\\"\"..., 4096, 8192 <unfinished ...>\n\
         8 unlinkat(4</d>, \"c\", 0)            = -1 ENOENT (No such file or directory)\n\
         8 rename(\"/d/e\", \"/d/f\") = ?\n\
         7 <... pwrite64 resumed>)           = 4096\n\
         8 +++ killed by SIGKILL +++\n",
    );
    let [open, write, _, rename] = &trace.calls[..] else { panic!("{trace:?}") };
    assert_eq!(open.paths(), [Path::new("/d/a, b")]);
    assert!(open.has_flag("O_DSYNC") && !open.has_flag("O_SYNC"));
    assert_eq!(open.result.as_deref().and_then(descriptor), Some((3, "/d/ab".into())));
    assert_eq!((write.file(), write.offset()), ((3, "/d/ab".into()), 8192));
    assert_eq!(rename.paths(), [Path::new("/d/e"), Path::new("/d/f")]);
    let (begin, end) = (Event::Begin, Event::End);
    assert_eq!(trace.events, [begin(0), end(0), begin(1), begin(3), end(1)]);
}
