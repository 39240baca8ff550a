//! The index of a CA: what it has issued.

use std::{fmt, str::FromStr};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{PkiError, Subject};
use crate::model::{InvalidValue, refused};

/// A certificate's serial number, without leading zeros. Ours are 16 random bytes, so that nobody
/// can guess what else was issued.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Vec<u8>);

/// A certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its serial number.
    pub serial: Serial,
    /// What it is for.
    pub subject: Subject,
    /// DNS names and addresses.
    pub names: Vec<String>,
    /// When it was issued.
    pub from: Timestamp,
    /// Until when it is valid.
    pub until: Timestamp,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
}

/// How a certificate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Valid.
    Valid,
    /// Valid, and due for renewal: two thirds of its lifetime are over.
    Due,
    /// Past its end.
    Expired,
    /// Revoked.
    Revoked,
}

/// What a CA has issued, in that order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// The number of the last revocation list.
    pub list: u64,
    /// What was issued.
    pub issued: Vec<Record>,
}

impl Record {
    /// Returns when to renew it: after two thirds of its lifetime.
    pub fn due(&self) -> Timestamp {
        self.until.saturating_sub(self.until.duration_since(self.from) / 3).unwrap_or(self.until)
    }

    /// Returns the lifetime that was asked for.
    pub(super) fn lifetime(&self) -> SignedDuration {
        self.until.duration_since(self.from)
    }

    /// Returns how it stands.
    pub fn standing(&self, now: Timestamp) -> Standing {
        match self.revoked {
            Some(_) => Standing::Revoked,
            None if now > self.until => Standing::Expired,
            None if now >= self.due() => Standing::Due,
            None => Standing::Valid,
        }
    }

    /// Whether it is neither expired nor revoked.
    pub fn is_live(&self, now: Timestamp) -> bool {
        matches!(self.standing(now), Standing::Valid | Standing::Due)
    }
}

impl Index {
    /// The record of a serial number.
    pub fn get(&self, serial: &Serial) -> Option<&Record> {
        self.issued.iter().find(|record| record.serial == *serial)
    }

    /// Revokes those that `which` picks and that are not revoked yet, and returns them.
    pub fn revoke(&mut self, now: Timestamp, which: impl Fn(&Record) -> bool) -> Vec<Record> {
        let mut revoked = Vec::new();
        for record in
            self.issued.iter_mut().filter(|record| record.revoked.is_none() && which(record))
        {
            record.revoked = Some(now);
            revoked.push(record.clone());
        }
        revoked
    }
}

impl Serial {
    /// Draws a new one.
    pub(super) fn random() -> Result<Self, PkiError> {
        let mut bytes = [0; 16];
        let random = rustls::crypto::ring::default_provider().secure_random;
        random.fill(&mut bytes).map_err(|_| PkiError::Random)?;
        // Positive, and always as long (RFC 5280 section 4.1.2.2).
        bytes[0] = bytes[0] & 0x7f | 0x40;
        Ok(Self(bytes.to_vec()))
    }

    /// Of a certificate.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.iter().copied().skip_while(|byte| *byte == 0).collect())
    }

    /// In network order.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Serial {
    type Err = InvalidValue;

    /// Hexadecimal digits, with or without colons, as other tools print them.
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let digits: Vec<u8> = text
            .chars()
            .filter(|digit| *digit != ':')
            .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .unwrap_or_default();
        let wrong = || {
            let help = "it is 1 to 40 hexadecimal digits; `sillon pki show` prints them";
            InvalidValue::new(format_args!("{text:?} is no serial number"), help)
        };
        // RFC 5280 section 4.1.2.2: at most 20 octets.
        if digits.is_empty() || digits.len() > 40 {
            return Err(wrong());
        }
        let odd = digits.len() % 2;
        let head = digits[..odd].iter().copied();
        let rest = digits[odd..].chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]);
        Ok(Self::from_bytes(&head.chain(rest).collect::<Vec<u8>>()))
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Valid => "valid",
            Self::Due => "due",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        })
    }
}

impl Serialize for Serial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Serial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|invalid| refused(&invalid))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_certificate_is_due_after_two_thirds_of_its_time() {
        let at = |day: i64| Timestamp::from_second(day * 86_400).unwrap();
        let record = Record {
            serial: Serial::random().unwrap(),
            subject: "owner".parse().unwrap(),
            names: Vec::new(),
            from: at(0),
            until: at(30),
            revoked: None,
        };
        assert_eq!(record.due(), at(20));
        let standings = [0, 19, 20, 30, 31].map(|day| record.standing(at(day)));
        use Standing::{Due, Expired, Valid};
        assert_eq!(standings, [Valid, Valid, Due, Due, Expired]);
        let revoked = Record { revoked: Some(at(1)), ..record };
        assert_eq!(revoked.standing(at(31)), Standing::Revoked);
    }

    #[test]
    fn serials_are_read_as_other_tools_print_them() {
        let serial: Serial = "0a1b".parse().unwrap();
        assert_eq!(serial.bytes(), [0x0a, 0x1b]);
        for text in ["A1B", "0A:1B", "00000a1b"] {
            assert_eq!(text.parse::<Serial>().unwrap(), serial, "{text}");
        }
        for text in ["", ":", "xyz", "0x12", "-1", &"1".repeat(41)] {
            assert!(text.parse::<Serial>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_serial_survives_its_text(bytes in prop::collection::vec(any::<u8>(), 1..=20)) {
            let serial = Serial::from_bytes(&bytes);
            prop_assume!(!serial.bytes().is_empty());
            prop_assert_eq!(serial.to_string().parse::<Serial>().unwrap(), serial);
        }
    }
}
