//! The one spelling of a host.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;

/// Longest name: RFC 1035, without the final dot.
const MAX_NAME: usize = 253;
/// Longest label.
const MAX_LABEL: usize = 63;

/// A host in its one spelling: a name in lower case without a final dot, or an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A domain name: ASCII, as it goes to a name server. Labels of other letters are in punycode.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// Why a text names no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// Nothing, or an empty label.
    #[error("an empty host or label")]
    Empty,
    /// Longer than a name can be.
    #[error("longer than a host name can be")]
    Long,
    /// A letter that no host name has.
    #[error("a character that no host name has (names of other letters are written in punycode)")]
    Character,
    /// Programs read it as different addresses: `127.1`, `0x7f000001`, `2130706433`, `010.0.0.1`.
    #[error("an address that is not written as four decimal numbers")]
    OddAddress,
    /// Not an address between brackets, or one with a zone (RFC 6874), which means an interface of this machine.
    #[error("not an IPv6 address between the brackets")]
    Brackets,
}

impl Host {
    /// Reads a host as it stands in an authority: a name, `a.b.c.d`, or `[v6]`.
    ///
    /// # Errors
    /// Everything that one program might read in another way than the next. The last label of a name is no number: a
    /// URL parser (WHATWG, "ends in a number") and inet_aton(3) would make an address of it.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(HostError::Brackets)?;
            let v6: Ipv6Addr = inner.parse().map_err(|_| HostError::Brackets)?;
            return Ok(Self::Address(v6.into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if name.len() > MAX_NAME {
            return Err(HostError::Long);
        }
        for label in name.split('.') {
            match label {
                "" => return Err(HostError::Empty),
                label if label.len() > MAX_LABEL => return Err(HostError::Long),
                label
                    if !label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_')) =>
                {
                    return Err(HostError::Character);
                }
                _ => {}
            }
        }
        let last = name.rsplit('.').next().unwrap_or_default();
        let hexadecimal =
            last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|it| it.is_ascii_hexdigit()));
        if hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit()) {
            // std takes four decimal numbers without leading zeroes, and nothing else.
            return name
                .parse::<Ipv4Addr>()
                .map(|v4| Self::Address(v4.into()))
                .map_err(|_| HostError::OddAddress);
        }
        Ok(Self::Name(name))
    }

    /// Whether it means this machine, whatever a name server says: RFC 6761.
    pub fn is_localhost(&self) -> bool {
        let Self::Name(name) = self else { return false };
        matches!(name.as_str(), "localhost.localdomain" | "ip6-localhost" | "ip6-loopback" | "localhost6")
            || name == "localhost"
            || name.ends_with(".localhost")
    }

    /// Whether it is a name under which a cloud tells a machine its credentials.
    pub fn is_metadata(&self) -> bool {
        let Self::Name(name) = self else { return false };
        matches!(
            name.as_str(),
            "metadata"
                | "metadata.google.internal"
                | "metadata.goog"
                | "instance-data"
                | "instance-data.ec2.internal"
        )
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(v4)) => v4.fmt(f),
            Self::Address(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
        }
    }
}
