//! Where something is in the world and in the network: countries, and blocks of addresses.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The text is no place in the world or the network. The sender's fault; do not retry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseNetworkError {
    /// Not two letters.
    #[error("`{0}` is not a country: want two letters such as DE (ISO 3166-1)")]
    Country(String),
    /// Not an address and a length.
    #[error(
        "`{0}` is not a block of addresses: want ADDRESS/BITS such as 192.0.2.0/24 or 2001:db8::/32"
    )]
    Netblock(String),
    /// The address has bits after the length.
    #[error("`{0}` has bits set after its length: write the first address of the block")]
    NotFirst(String),
}

/// A country by its two letters (ISO 3166-1 alpha-2), in capitals.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// `DE`
    pub fn as_str(&self) -> &str {
        // Only capitals come in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Its two letters, each of `A` to `Z`.
    pub fn letters(self) -> [u8; 2] {
        self.0
    }
}

impl FromStr for Country {
    type Err = ParseNetworkError;
    fn from_str(text: &str) -> Result<Self, ParseNetworkError> {
        match text.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Ok(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => Err(ParseNetworkError::Country(text.chars().take(40).collect())),
        }
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Country({self})")
    }
}

/// A block of addresses: all that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Netblock {
    first: IpAddr,
    bits: u8,
}

impl Netblock {
    /// Whether the address is in it. An IPv4 address written as IPv6 (`::ffff:192.0.2.1`) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let differ = u32::from(first) ^ u32::from(address);
                self.bits == 0 || differ >> (32 - u32::from(self.bits)) == 0
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let differ = u128::from(first) ^ u128::from(address);
                self.bits == 0 || differ >> (128 - u32::from(self.bits)) == 0
            }
            _ => false,
        }
    }

    /// Bits that its addresses share.
    pub fn bits(&self) -> u8 {
        self.bits
    }
}

impl FromStr for Netblock {
    type Err = ParseNetworkError;
    fn from_str(text: &str) -> Result<Self, ParseNetworkError> {
        let shown = || text.chars().take(80).collect();
        let refuse = || ParseNetworkError::Netblock(shown());
        let (address, bits) = text.split_once('/').ok_or_else(refuse)?;
        let first: IpAddr = address.parse().map_err(|_| refuse())?;
        let bits: u8 = bits.parse().map_err(|_| refuse())?;
        let rest_is_zero = match first {
            IpAddr::V4(_) if bits > 32 => return Err(refuse()),
            IpAddr::V4(v4) => u32::from(v4).checked_shl(u32::from(bits)).unwrap_or(0) == 0,
            IpAddr::V6(_) if bits > 128 => return Err(refuse()),
            IpAddr::V6(v6) => u128::from(v6).checked_shl(u32::from(bits)).unwrap_or(0) == 0,
        };
        match rest_is_zero {
            true => Ok(Self { first, bits }),
            false => Err(ParseNetworkError::NotFirst(shown())),
        }
    }
}

impl fmt::Display for Netblock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

macro_rules! as_text {
    ($($name:ident),+) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
as_text!(Country, Netblock);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_the_addresses_that_begin_like_it() {
        for (block, address, inside) in [
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.0/24", "::ffff:192.0.2.7", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("198.51.100.7/32", "198.51.100.7", true),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("::/0", "2001:db8::1", true),
        ] {
            let parsed: Netblock = block.parse().unwrap();
            assert_eq!(
                parsed.contains(address.parse().unwrap()),
                inside,
                "{block} {address}"
            );
            assert_eq!(parsed.to_string(), block);
        }
    }

    #[test]
    fn only_countries_and_first_addresses_are_taken() {
        assert_eq!("de".parse::<Country>().unwrap().as_str(), "DE");
        for bad in ["", "d", "deu", "d1", "ß"] {
            assert!(bad.parse::<Country>().is_err(), "{bad}");
        }
        for bad in [
            "192.0.2.1/24",
            "192.0.2.0/33",
            "192.0.2.0",
            "x/8",
            "2001:db8::1/64",
            "::/129",
        ] {
            assert!(bad.parse::<Netblock>().is_err(), "{bad}");
        }
    }
}
