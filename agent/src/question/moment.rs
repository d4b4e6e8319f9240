//! Times as people type them.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::record::WallTime;

/// A time: absolute (`2026-11-22T09:00:00Z`, `2026-11-22`, which is its midnight in UTC), or so long before now (`90s` `15m` `2h` `7d` `4w`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Moment {
    /// Nanoseconds since 1970.
    At(WallTime),
    /// So many seconds ago.
    Ago(u32),
}

/// What was typed is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no time: give a date (2026-11-22), a time (2026-11-22T09:00:00Z), or how long ago (90s, 15m, 2h, 7d, 4w)"
)]
pub struct MomentError(String);

/// Units and their seconds.
const UNITS: [(&str, u32); 5] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400), ("w", 604_800)];

impl Moment {
    /// When it is, if it is `now`.
    pub fn resolve(self, now: WallTime) -> WallTime {
        match self {
            Moment::At(time) => time,
            Moment::Ago(seconds) => WallTime(now.0.saturating_sub(i64::from(seconds) * 1_000_000_000)),
        }
    }
}

/// So long: `90s` `15m` `2h` `7d` `4w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span {
    seconds: u32,
}

impl Span {
    /// The same in nanoseconds.
    pub fn nanoseconds(self) -> i64 {
        i64::from(self.seconds) * 1_000_000_000
    }
}

/// What was typed is no span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no span of time: give a number and a unit (90s, 15m, 2h, 7d, 4w)")]
pub struct SpanError(String);

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        match text.parse() {
            Ok(Moment::Ago(seconds)) => Ok(Span { seconds }),
            Ok(Moment::At(_)) | Err(_) => Err(SpanError(text.chars().take(64).collect())),
        }
    }
}

impl TryFrom<String> for Span {
    type Error = SpanError;

    fn try_from(text: String) -> Result<Self, SpanError> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        format!("{}s", span.seconds)
    }
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        let error = || MomentError(text.chars().take(64).collect());
        for (unit, seconds) in UNITS {
            let number = text.strip_suffix(unit).and_then(|number| number.parse::<u32>().ok());
            if let Some(number) = number {
                return number.checked_mul(seconds).map(Moment::Ago).ok_or_else(error);
            }
        }
        let midnight = || format!("{text}T00:00:00Z");
        let time = text.parse().or_else(|_| midnight().parse::<jiff::Timestamp>()).map_err(|_| error())?;
        i64::try_from(time.as_nanosecond()).map(|time| Moment::At(WallTime(time))).map_err(|_| error())
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Moment::At(time) => time.fmt(f),
            Moment::Ago(seconds) => write!(f, "{seconds}s"),
        }
    }
}

impl TryFrom<String> for Moment {
    type Error = MomentError;

    fn try_from(text: String) -> Result<Self, MomentError> {
        text.parse()
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> String {
        moment.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_times_or_ages() {
        let now = WallTime(1_790_000_000_000_000_000);
        let at = |text: &str| text.parse::<Moment>().map(|moment| moment.resolve(now).to_string());
        assert_eq!(at("2026-11-22").as_deref(), Ok("2026-11-22T00:00:00.000000000Z"));
        assert_eq!(at("2026-11-22T09:30:00+01:00").as_deref(), Ok("2026-11-22T08:30:00.000000000Z"));
        for (text, seconds) in [("90s", 90), ("15m", 900), ("2h", 7_200), ("7d", 604_800)] {
            assert_eq!(text.parse(), Ok(Moment::Ago(seconds)));
        }
        assert_eq!("4w".parse::<Moment>().unwrap().to_string().parse(), Ok(Moment::Ago(4 * 604_800)));
        for wrong in ["", "h", "-2h", "2", "yesterday", "2026-13-01", "9999999999w", "2.5h"] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }
}
