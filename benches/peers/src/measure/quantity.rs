//! Measured values with units, and their formatting.

use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "unit", content = "value")]
pub(crate) enum Quantity {
    Seconds(f64),
    Bytes(f64),
    /// A number without a unit.
    Count(f64),
}

impl Quantity {
    #[cfg(any(test, feature = "store"))]
    pub(crate) fn value(self) -> f64 {
        match self {
            Self::Seconds(value) | Self::Bytes(value) | Self::Count(value) => value,
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Seconds(s) if s < 1e-6 => write!(f, "{:.0} ns", s * 1e9),
            Self::Seconds(s) if s < 1e-3 => write!(f, "{} µs", three_digits(s * 1e6)),
            Self::Seconds(s) if s < 1.0 => write!(f, "{} ms", three_digits(s * 1e3)),
            Self::Seconds(s) => write!(f, "{} s", three_digits(s)),
            Self::Bytes(b) if b < 1024.0 => write!(f, "{b:.0} B"),
            Self::Bytes(b) if b < 1048576.0 => write!(f, "{} KiB", three_digits(b / 1024.0)),
            Self::Bytes(b) if b < 1073741824.0 => write!(f, "{} MiB", three_digits(b / 1048576.0)),
            Self::Bytes(b) => write!(f, "{} GiB", three_digits(b / 1073741824.0)),
            Self::Count(value) => write!(f, "{}", three_digits(value)),
        }
    }
}

/// Formats a value with three significant digits.
pub(super) fn three_digits(value: f64) -> String {
    match value {
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantity_is_shown_in_a_fitting_unit() {
        let shown = |quantity: Quantity| quantity.to_string();
        assert_eq!(shown(Quantity::Seconds(0.000_000_7)), "700 ns");
        assert_eq!(shown(Quantity::Seconds(0.000_012_34)), "12.3 µs");
        assert_eq!(shown(Quantity::Seconds(1.5)), "1.50 s");
        assert_eq!(shown(Quantity::Bytes(64.0)), "64 B");
        assert_eq!(shown(Quantity::Bytes(1536.0)), "1.50 KiB");
        assert_eq!(shown(Quantity::Bytes(3.0 * 1073741824.0)), "3.00 GiB");
    }
}
