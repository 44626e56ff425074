//! Gregorian calendar: converts days since the Unix epoch to dates. Pure arithmetic, from 1970 on,
//! without time zones and leap seconds.
//!
//! The algorithm is Howard Hinnant's `civil_from_days` ("chrono-Compatible Low-Level Date
//! Algorithms"). Its years begin on 1 March, so that the leap day is the last day of a year and the
//! first day of a month follows from the month's number alone. Years are grouped in eras of 400
//! years, which have 146,097 days each.

/// Seconds per day.
pub const SECONDS_PER_DAY: u64 = 86_400;

/// Days from 1 March of the year 0, where an era begins, to 1 January 1970.
const EPOCH: u64 = 719_468;
const DAYS_AN_ERA: u64 = 146_097;

/// A calendar date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// The year.
    pub year: u64,
    /// 1 to 12.
    pub month: u64,
    /// 1 to 31.
    pub day: u64,
}

impl Date {
    /// The date of a day number; 1 January 1970 is day 0.
    pub const fn of_day(days: u64) -> Self {
        let since_era_0 = days + EPOCH;
        let (era, day_of_era) = (since_era_0 / DAYS_AN_ERA, since_era_0 % DAYS_AN_ERA);
        // Without leap days, each year has 365 days. An era has a leap day every 4 years, except in
        // the years 100, 200 and 300.
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        // From March on, each five months have 153 days.
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let (month, next_year) = if month_from_march < 10 {
            (month_from_march + 3, 0)
        } else {
            (month_from_march - 9, 1)
        };
        Self { year: era * 400 + year_of_era + next_year, month, day }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with a calendar that counts day by day, for the 8,030 years 1970 to 9999.
    #[test]
    fn every_day_until_9999_is_correct() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        let mut days = 0;
        while year < 10_000 {
            assert_eq!(Date::of_day(days), Date { year, month, day }, "day {days}");
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let february = if is_leap { 29 } else { 28 };
            let last = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1];
            (year, month, day) = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (month, day) if day == last => (year, month + 1, 1),
                (month, day) => (year, month, day + 1),
            };
            days += 1;
        }
        // The loop ended one second after 9999-12-31T23:59:59Z.
        assert_eq!(days * SECONDS_PER_DAY, 253_402_300_800);
    }
}
