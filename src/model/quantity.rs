//! Rates and sizes as people write them: `100 Mbit/s`, `1.5 Gbit/s`, `64 KiB`.

use std::{fmt, str::FromStr};

use serde::Serialize;

use super::InvalidValue;

/// Digits behind the point that are read.
const MOST_DECIMALS: usize = 9;

/// A unit and how much it is.
type Unit = (&'static str, u64);

/// Those that are written come first, the largest of them first; the others are only read.
const RATES: &[Unit] = &[
    ("Gbit/s", 1_000_000_000),
    ("Mbit/s", 1_000_000),
    ("kbit/s", 1000),
    ("bit/s", 1),
    ("Kbit/s", 1000),
];
const SIZES: &[Unit] = &[
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1000),
    ("B", 1),
    ("KB", 1000),
];

/// A bit rate: none, or 64 kbit/s to 400 Gbit/s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct BitRate(u64);

impl BitRate {
    /// No rate at all.
    pub const ZERO: Self = Self(0);
    /// The smallest one.
    pub const MIN: Self = Self(64_000);
    /// The largest one.
    pub const MAX: Self = Self(400_000_000_000);

    /// A rate of this many bits a second.
    ///
    /// # Errors
    /// It is outside the range.
    pub fn new(bits: u64) -> Result<Self, InvalidValue> {
        if bits != 0 && !(Self::MIN.0..=Self::MAX.0).contains(&bits) {
            return Err(InvalidValue::new(
                format_args!("{} is outside {}–{}", Self(bits), Self::MIN, Self::MAX),
                "write a rate within these, or \"0\" for none",
            ));
        }
        Ok(Self(bits))
    }

    /// Bits a second.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for BitRate {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        const HELP: &str = "write a rate like \"100 Mbit/s\"; the units are bit/s, kbit/s, Mbit/s \
            and Gbit/s, and \"0\" needs none";
        Self::new(quantity(text, "rate", RATES, HELP)?)
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let largest = RATES.iter().find(|(_, factor)| self.0 >= *factor);
        let (unit, factor) = largest.copied().unwrap_or(("bit/s", 1));
        let (whole, rest) = (self.0 / factor, self.0 % factor);
        if rest == 0 {
            return write!(f, "{whole} {unit}");
        }
        let digits = factor.ilog10() as usize;
        let decimals = format!("{rest:0digits$}");
        write!(f, "{whole}.{} {unit}", decimals.trim_end_matches('0'))
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        const HELP: &str = "write a size like \"64 KiB\" or \"100 kB\"; the units are B, kB, KiB, \
            MB, MiB, GB and GiB";
        Ok(Self(quantity(text, "size", SIZES, HELP)?))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = SIZES.iter().find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor));
        let (unit, factor) = whole.copied().unwrap_or(("B", 1));
        write!(f, "{} {unit}", self.0 / factor)
    }
}

/// A number, whole or decimal, and one of `units`; zero needs none.
fn quantity(text: &str, what: &str, units: &[Unit], help: &str) -> Result<u64, InvalidValue> {
    let wrong = || InvalidValue::new(format_args!("{text:?} is not a {what}"), help);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim_start_matches(' '));
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let is_number =
        |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) || decimals.len() > MOST_DECIMALS {
        return Err(wrong());
    }
    let power = 10_u128.pow(u32::try_from(decimals.len()).map_err(|_| wrong())?);
    let whole: u128 = whole.parse::<u64>().map_err(|_| wrong())?.into();
    let number = whole * power + decimals.parse::<u128>().map_err(|_| wrong())?;
    let factor = match units.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => *factor,
        None if number == 0 && unit.is_empty() => 1,
        None => return Err(wrong()),
    };
    let scaled = number * u128::from(factor);
    if !scaled.is_multiple_of(power) {
        let smallest = units.iter().find(|(_, factor)| *factor == 1).map_or("", |(name, _)| name);
        return Err(InvalidValue::new(
            format_args!("{text:?} is not a whole number of {smallest}"),
            help,
        ));
    }
    u64::try_from(scaled / power).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_people_write_is_read() {
        let rates = [
            ("100 Mbit/s", 100_000_000),
            ("1.5 Gbit/s", 1_500_000_000),
            ("400Gbit/s", 400_000_000_000),
            ("64 kbit/s", 64_000),
            ("64 Kbit/s", 64_000),
            ("0", 0),
            ("0.0 Gbit/s", 0),
        ];
        for (text, bits) in rates {
            assert_eq!(text.parse(), Ok(BitRate(bits)), "{text}");
        }
        for (text, bytes) in
            [("64 KB", 64_000), ("64 KiB", 65_536), ("1.5 kB", 1500), ("0", 0), ("1 B", 1)]
        {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        let not_rates = [
            "",
            " ",
            "100",
            "Mbit/s",
            "-1 Mbit/s",
            "1e9 bit/s",
            "100 MBit",
            "100 mbit/s",
            "1.2.3 Mbit/s",
            ".5 Mbit/s",
            "5. Mbit/s",
            "1.5 bit/s",
            "1 kbit/s",
            "401 Gbit/s",
            "99999999999999999999 Gbit/s",
            "1.0000000001 Gbit/s",
            "100 Mbit/s ",
            "१ Mbit/s",
        ];
        for text in not_rates {
            assert!(text.parse::<BitRate>().is_err(), "{text}");
        }
        for text in ["64", "64 K", "64 kb", "0.5 B", "18446744073709551615 GiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_it_was(
            bits in BitRate::MIN.0..=BitRate::MAX.0,
            bytes in 0..u64::MAX / 2,
        ) {
            prop_assert_eq!(BitRate(bits).to_string().parse(), Ok(BitRate(bits)));
            prop_assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }
    }
}
