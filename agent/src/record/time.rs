//! Times as users read them.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment in nanoseconds since 1970-01-01 UTC; printed as RFC 3339 UTC with nine decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub i64);

impl std::fmt::Display for WallTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ok(time) = jiff::Timestamp::from_nanosecond(i128::from(self.0)) else { return f.write_str("?") };
        write!(f, "{time:.9}")
    }
}

impl Serialize for WallTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
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
}
