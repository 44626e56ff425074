//! Value of the `date` header: IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
//!
//! [`DateLine`] renders each second once and returns the same 29 bytes until the next. The caller
//! passes the time in; no clock is read here. Times are whole seconds since the Unix epoch, for the
//! years 1970 to 9999; a later time is shown as the last second of 9999.

use httpdate::HttpDate;
use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

/// 9999-12-31T23:59:59Z, the last second that four digits of a year can show.
const LAST_SECOND: u64 = 253_402_300_799;

/// The rendered date of the latest second asked for.
#[derive(Clone, Debug)]
pub struct DateLine {
    second: u64,
    /// Kept from second to second, so that a new date allocates nothing.
    text: String,
}

impl Default for DateLine {
    fn default() -> Self {
        DateLine::new()
    }
}

impl DateLine {
    /// A line that holds the Unix epoch.
    pub fn new() -> Self {
        let mut line = DateLine { second: 0, text: String::new() };
        line.render();
        line
    }

    /// The IMF-fixdate of `unix_seconds`.
    ///
    /// ```
    /// let mut date = purser::http::date::DateLine::new();
    /// assert_eq!(date.at(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
    /// ```
    #[inline]
    pub fn at(&mut self, unix_seconds: u64) -> &[u8; 29] {
        if unix_seconds != self.second {
            self.second = unix_seconds;
            self.render();
        }
        self.text.as_bytes().try_into().expect("an IMF-fixdate has 29 bytes")
    }

    fn render(&mut self) {
        let since_epoch = Duration::from_secs(self.second.min(LAST_SECOND));
        self.text.clear();
        write!(self.text, "{}", HttpDate::from(UNIX_EPOCH + since_epoch))
            .expect("a string takes any text");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        let mut line = DateLine::new();
        let mut check = |second, expected: &str| {
            assert_eq!(line.at(second).escape_ascii().to_string(), expected);
        };
        check(0, "Thu, 01 Jan 1970 00:00:00 GMT");
        check(59, "Thu, 01 Jan 1970 00:00:59 GMT");
        check(784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT");
        check(951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT");
        check(951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT");
        check(951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT");
        check(1_000_000_000, "Sun, 09 Sep 2001 01:46:40 GMT");
        check(1_763_900_000, "Sun, 23 Nov 2025 12:13:20 GMT");
        check(1_767_225_599, "Wed, 31 Dec 2025 23:59:59 GMT");
        check(4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT");
        check(4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT");
        check(LAST_SECOND, "Fri, 31 Dec 9999 23:59:59 GMT");
        check(LAST_SECOND + 1, "Fri, 31 Dec 9999 23:59:59 GMT");
        check(u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT");
        check(0, "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
