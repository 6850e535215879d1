//! Numbers that cannot be out of range once they are read.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// An integer from `MIN` to `MAX`, both included. In JSON it is written as an integer: `1e3`, `2.0`, `"2"`, `-0.0` and
/// what does not fit into 64 bits are refused, not rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Bounded<const MIN: u64, const MAX: u64>(u64);

/// A number that is not in its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{value} is not from {min} to {max}")]
pub struct OutOfBounds {
    value: u64,
    min: u64,
    max: u64,
}

impl<const MIN: u64, const MAX: u64> Bounded<MIN, MAX> {
    /// The smallest.
    pub const MIN: Self = Self(MIN);
    /// The largest.
    pub const MAX: Self = Self(MAX);

    /// Checks the range.
    ///
    /// # Errors
    /// When the number is outside it.
    pub const fn new(value: u64) -> Result<Self, OutOfBounds> {
        if value < MIN || value > MAX {
            return Err(OutOfBounds { value, min: MIN, max: MAX });
        }
        Ok(Self(value))
    }

    /// The nearest number in the range.
    pub const fn clamped(value: u64) -> Self {
        if value < MIN {
            Self(MIN)
        } else if value > MAX {
            Self(MAX)
        } else {
            Self(value)
        }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number as a size in memory.
    pub fn size(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// The number as a time in milliseconds.
    pub const fn millis(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Bounded<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Range<const MIN: u64, const MAX: u64>;
        impl<const MIN: u64, const MAX: u64> Visitor<'_> for Range<MIN, MAX> {
            type Value = Bounded<MIN, MAX>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "an integer from {MIN} to {MAX}")
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
                Bounded::new(value).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
            }
        }
        deserializer.deserialize_u64(Range)
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Bounded<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("IntegerFrom{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_refused_and_not_rounded() {
        type Small = Bounded<1, 10>;
        for wrong in [
            "0",
            "11",
            "-1",
            "-0",
            "1e0",
            "2.0",
            "\"2\"",
            "null",
            "true",
            "18446744073709551616",
            "1e308",
            "NaN",
        ] {
            assert!(serde_json::from_str::<Small>(wrong).is_err(), "{wrong}");
        }
        for (text, value) in [("1", 1), ("10", 10)] {
            assert_eq!(serde_json::from_str::<Small>(text).unwrap().get(), value);
        }
        assert_eq!(Bounded::<0, { u64::MAX }>::new(u64::MAX).unwrap().get(), u64::MAX);
        assert_eq!((Small::clamped(0), Small::clamped(99)), (Small::MIN, Small::MAX));
    }
}
