//! Value of the `date` header: IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
//!
//! [`DateLine`] renders each second once and returns the same 29 bytes until the next. The caller
//! passes the time in; no clock is read here. Times are whole seconds since the Unix epoch, for the
//! years 1970 to 9999; a later time is shown as the last second of 9999.

use crate::calendar::{Date, SECONDS_PER_DAY};
use crate::decimal::two_digits;

/// 9999-12-31T23:59:59Z, the last second that four digits of a year can show.
const LAST_SECOND: u64 = 253_402_300_799;

/// Weekdays in order from 1 January 1970, a Thursday.
const WEEKDAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// The rendered date of the latest second asked for.
#[derive(Clone, Debug)]
pub struct DateLine {
    second: u64,
    text: [u8; 29],
}

impl Default for DateLine {
    fn default() -> Self {
        DateLine::new()
    }
}

impl DateLine {
    /// A line that holds the Unix epoch.
    pub fn new() -> Self {
        DateLine { second: 0, text: render(0) }
    }

    /// The IMF-fixdate of `unix_seconds`.
    #[inline]
    pub fn at(&mut self, unix_seconds: u64) -> &[u8; 29] {
        if unix_seconds != self.second {
            *self = DateLine { second: unix_seconds, text: render(unix_seconds.min(LAST_SECOND)) };
        }
        &self.text
    }
}

/// Renders `second`, at most [`LAST_SECOND`], as IMF-fixdate.
fn render(second: u64) -> [u8; 29] {
    let (days, clock) = (second / SECONDS_PER_DAY, second % SECONDS_PER_DAY);
    let Date { year, month, day } = Date::of_day(days);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    text[0..3].copy_from_slice(WEEKDAYS[(days % 7) as usize]);
    text[5..7].copy_from_slice(&two_digits(day));
    text[8..11].copy_from_slice(MONTHS[(month - 1) as usize]);
    text[12..14].copy_from_slice(&two_digits(year / 100));
    text[14..16].copy_from_slice(&two_digits(year % 100));
    text[17..19].copy_from_slice(&two_digits(clock / 3600));
    text[20..22].copy_from_slice(&two_digits(clock / 60 % 60));
    text[23..25].copy_from_slice(&two_digits(clock % 60));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        let mut line = DateLine::new();
        let mut check = |second, expected: &str| {
            assert_eq!(line.at(second).escape_ascii().to_string(), expected)
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
