//! Text output of the commands: lines on standard output, and numbers for people.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// How long the end of a process waits for somebody to take its last words.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// Prints text that ends with a line feed. Errors are ignored: a command that cannot print has
/// still done its work.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

pub fn print_line(line: &str) {
    print(&format!("{line}\n"));
}

/// Prints the last words of a serving process, or of a thread that must go on: waits for standard
/// output, but not for long.
pub fn print_unless_blocked(text: String) {
    unless_blocked(text, print);
}

/// Prints the reason for the end of the process on standard error, unless nobody takes it.
pub fn print_error(text: String) {
    unless_blocked(text, |text| _ = std::io::stderr().write_all(text.as_bytes()));
}

/// Waits for `write`, but not longer than [`WRITE_TIMEOUT`]. Where no thread can be started, it
/// waits as long as that takes: the text may say just this.
fn unless_blocked(text: String, write: fn(&str)) {
    let (done, wait) = channel();
    let text = Arc::new(text);
    let written = Arc::clone(&text);
    let thread = thread::Builder::new().spawn(move || {
        write(&written);
        // The receiver may have given up.
        let _ = done.send(());
    });
    match thread {
        Ok(_) => _ = wait.recv_timeout(WRITE_TIMEOUT),
        Err(_) => write(&text),
    }
}

/// A count with thousands separators: `1,234,567`.
pub fn count(n: u64) -> String {
    let mut digits = itoa::Buffer::new();
    let groups: Vec<&str> = digits
        .format(n)
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|g| std::str::from_utf8(g).expect("digits"))
        .collect();
    groups.join(",")
}

/// A count with its noun: `1 user`, `2 users`.
pub fn count_noun(n: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_separators_and_nouns() {
        for (n, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(n), text);
        }
        assert_eq!(count_noun(1, "user", "users"), "1 user");
        assert_eq!(count_noun(2_000, "user", "users"), "2,000 users");
    }
}
