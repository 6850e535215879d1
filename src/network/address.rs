//! What kind of address an address is.
//!
//! The IANA special-purpose registries (RFC 6890 and its updates), and the metadata services of clouds. Whatever carries an
//! IPv4 address inside an IPv6 one is looked into: a translator or a tunnel would take it there.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;

/// A kind of address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// Of the public internet.
    Public,
    /// `0.0.0.0/8` and `::`: this host, to Linux.
    Unspecified,
    /// `127.0.0.0/8` and `::1`.
    Loopback,
    /// RFC 1918, and unique local addresses (RFC 4193).
    Private,
    /// `100.64.0.0/10`: behind a carrier's translator (RFC 6598).
    Shared,
    /// `169.254.0.0/16` and `fe80::/10`; the old site-local `fec0::/10` too.
    LinkLocal,
    /// An address at which a cloud tells a machine its credentials.
    Metadata,
    /// `224.0.0.0/4` and `ff00::/8`.
    Multicast,
    /// Set aside: documentation, benchmarks, the future, what is not given out.
    Reserved,
    /// IPv6 that is a wrapping of an IPv4 address: mapped, compatible, translated, 6to4, Teredo, ISATAP.
    Wrapped,
}

impl Class {
    /// What it is called in records and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Shared => "carrier-grade NAT",
            Self::LinkLocal => "link-local",
            Self::Metadata => "metadata",
            Self::Multicast => "multicast",
            Self::Reserved => "reserved",
            Self::Wrapped => "IPv4 in IPv6",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The kind of an address. Of a wrapped IPv4 address it is the kind of that one where it is not public, and
/// [`Class::Wrapped`] where it is; only the well-known prefix of NAT64 (RFC 6052), by which hosts without IPv4 reach the
/// public internet, may carry a public one.
pub fn class(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(v4) => class_v4(v4),
        IpAddr::V6(v6) => class_v6(v6),
    }
}

fn class_v4(v4: Ipv4Addr) -> Class {
    match v4.octets() {
        // AWS, Azure, Google, ...; ECS tasks; Azure's host; Oracle; Alibaba.
        [169, 254, 169, 254]
        | [169, 254, 170, 2]
        | [168, 63, 129, 16]
        | [192, 0, 0, 192]
        | [100, 100, 100, 200] => Class::Metadata,
        [0, ..] => Class::Unspecified,
        [127, ..] => Class::Loopback,
        [10, ..] | [192, 168, ..] => Class::Private,
        [172, second, ..] if (16..32).contains(&second) => Class::Private,
        [100, second, ..] if (64..128).contains(&second) => Class::Shared,
        [169, 254, ..] => Class::LinkLocal,
        // Protocol assignments; documentation; the retired relays of 6to4 (RFC 7526); benchmarks (RFC 2544).
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [192, 88, 99, _] | [198, 18 | 19, ..] => {
            Class::Reserved
        }
        [224..=239, ..] => Class::Multicast,
        [240..=255, ..] => Class::Reserved,
        _ => Class::Public,
    }
}

fn class_v6(v6: Ipv6Addr) -> Class {
    if v6.is_unspecified() {
        return Class::Unspecified;
    }
    if v6.is_loopback() {
        return Class::Loopback;
    }
    if let Some((inner, by)) = wrapped(v6) {
        return match class_v4(inner) {
            Class::Public if by == Wrapping::Nat64 => Class::Public,
            Class::Public => Class::Wrapped,
            other => other,
        };
    }
    match v6.segments() {
        // AWS, for hosts without IPv4; Google likewise.
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254 | 0x23] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => {
            Class::Metadata
        }
        [0xfc00..=0xfdff, ..] => Class::Private,
        [0xfe80..=0xfeff, ..] => Class::LinkLocal,
        [0xff00..=0xffff, ..] => Class::Multicast,
        // RFC 8215: a translator of the site's own, to wherever it likes.
        [0x64, 0xff9b, ..] => Class::Private,
        // Protocol assignments (RFC 2928), Teredo, ORCHID, benchmarks; documentation (RFC 3849, RFC 9637).
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Class::Reserved,
        // All that has been given out: RFC 4291.
        [0x2000..=0x3fff, ..] => Class::Public,
        _ => Class::Reserved,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrapping {
    Nat64,
    Other,
}

/// The IPv4 address that traffic to an IPv6 address would end up at.
fn wrapped(v6: Ipv6Addr) -> Option<(Ipv4Addr, Wrapping)> {
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match v6.segments() {
        // Compatible (RFC 4291, 2.5.5.1), mapped (2.5.5.2), translated (RFC 2765).
        [0, 0, 0, 0, 0, 0, high, low]
        | [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low] => Some((v4(high, low), Wrapping::Other)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some((v4(high, low), Wrapping::Nat64)),
        // 6to4: RFC 3056.
        [0x2002, high, low, ..] => Some((v4(high, low), Wrapping::Other)),
        // Teredo (RFC 4380): the client, inverted.
        [0x2001, 0, _, _, _, _, high, low] => Some((v4(!high, !low), Wrapping::Other)),
        // ISATAP (RFC 5214): an interface identifier 0:5efe or 200:5efe under any prefix.
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => Some((v4(high, low), Wrapping::Other)),
        _ => None,
    }
}
