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
        let Ok(time) = jiff::Timestamp::from_nanosecond(i128::from(self.0)) else { return "?" };
        let time = jiff::tz::Offset::UTC.to_datetime(time);
        *text = *b"0000-00-00T00:00:00.000000000Z";
        digits(&mut text[..4], time.year().unsigned_abs().into());
        digits(&mut text[5..7], time.month().unsigned_abs().into());
        digits(&mut text[8..10], time.day().unsigned_abs().into());
        digits(&mut text[11..13], time.hour().unsigned_abs().into());
        digits(&mut text[14..16], time.minute().unsigned_abs().into());
        digits(&mut text[17..19], time.second().unsigned_abs().into());
        digits(&mut text[20..29], time.subsec_nanosecond().unsigned_abs());
        std::str::from_utf8(text).unwrap_or("?")
    }
}

/// The last digits of a number, as many as there is place for.
fn digits(place: &mut [u8], mut number: u32) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
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
