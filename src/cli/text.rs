//! Text output of the commands: lines on standard output, and numbers for people.

use std::io::Write;

/// Prints text that ends with a line feed. Errors are ignored: a command that cannot print has
/// still done its work.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

pub fn print_line(line: &str) {
    print(&format!("{line}\n"));
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
