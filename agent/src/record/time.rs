//! Times as users read them.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Characters of a moment.
const LENGTH: usize = 30;

/// A moment in nanoseconds since 1970-01-01 UTC; printed as RFC 3339 UTC with nine decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub i64);

impl WallTime {
    /// As it is printed. 64 bits of nanoseconds reach from the year 1677 to 2262.
    fn print(self, text: &mut [u8; LENGTH]) -> &str {
        const SECOND: i64 = 1_000_000_000;
        const DAY: i64 = 86_400;
        let seconds = self.0.div_euclid(SECOND);
        // All of them are positive and below 2^32.
        let (nanosecond, of_day) = (self.0.rem_euclid(SECOND) as u32, seconds.rem_euclid(DAY) as u32);
        let (year, month, day) = date(seconds.div_euclid(DAY));
        *text = *b"0000-00-00T00:00:00.000000000Z";
        let pairs = [year / 100, year % 100, month, day, of_day / 3600, of_day / 60 % 60, of_day % 60];
        for (at, number) in [0, 2, 5, 8, 11, 14, 17].into_iter().zip(pairs) {
            text[at..at + 2].copy_from_slice(&pair(number));
        }
        text[20] = b'0' + (nanosecond / 100_000_000) as u8;
        let pairs = [nanosecond / 1_000_000, nanosecond / 10_000, nanosecond / 100, nanosecond];
        for (at, number) in [21, 23, 25, 27].into_iter().zip(pairs) {
            text[at..at + 2].copy_from_slice(&pair(number % 100));
        }
        std::str::from_utf8(text).unwrap_or("?")
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar. Years are taken to begin in March, behind
/// the leap day; 400 of them have the same number of days everywhere.
fn date(day: i64) -> (u32, u32, u32) {
    const DAYS_OF_400_YEARS: i64 = 146_097;
    /// From 0000-03-01 to 1970-01-01.
    const EPOCH: i64 = 719_468;
    let day = day + EPOCH;
    // All that follows is small and positive: the years are those of 64 bits of nanoseconds.
    let (era, day) = (day.div_euclid(DAYS_OF_400_YEARS) as u32, day.rem_euclid(DAYS_OF_400_YEARS) as u32);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months have 30 or 31 days in a pattern that repeats after five, 153 days.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (next_year, month) = if month < 10 { (0, month + 3) } else { (1, month - 9) };
    (400 * era + year + next_year, month, day)
}

/// Both digits of a number below 100.
fn pair(number: u32) -> [u8; 2] {
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
}

impl std::fmt::Display for WallTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.print(&mut [0; LENGTH]))
    }
}

impl Serialize for WallTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.print(&mut [0; LENGTH]))
    }
}

impl<'de> Deserialize<'de> for WallTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let time: jiff::Timestamp = text.parse().map_err(de::Error::custom)?;
        i64::try_from(time.as_nanosecond()).map(WallTime).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_printed_with_nanoseconds_and_read_back() {
        let time = WallTime(1_700_000_000_000_000_042);
        assert_eq!(time.to_string(), "2023-11-14T22:13:20.000000042Z");
        let json = serde_json::to_string(&time).unwrap();
        assert_eq!(serde_json::from_str::<WallTime>(&json).unwrap(), time);
    }

    #[test]
    fn every_moment_is_printed_as_the_calendar_has_it() {
        let steps = (-100..=100).map(|step| i64::MAX / 101 * step + step);
        for time in
            steps.chain([i64::MIN, i64::MAX, -1, 0, 1, 951_782_399_999_999_999, 951_782_400_000_000_000])
        {
            let calendar = jiff::Timestamp::from_nanosecond(time.into()).unwrap();
            assert_eq!(WallTime(time).to_string(), format!("{calendar:.9}"));
        }
    }
}
