//! Where a proxied command may connect: an allowlist of hosts with their ports.
//!
//! An empty list permits nothing (an allowlist that means "everything" when it is empty: CVE-2025-66479).

use core::net::IpAddr;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest host name: RFC 1035, section 2.3.4.
const MAX_NAME: usize = 253;

/// A host with a port: `registry.npmjs.org:443`, `*.example.org:443`, `192.0.2.7:8080`, `[2001:db8::7]:443`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Host {
    /// Lower-case, in ASCII, without a final dot.
    Name(String),
    /// Every name below this one, and not the name itself.
    Below(String),
    Address(IpAddr),
}

impl Destination {
    /// Whether a connection to this host and port is one that is meant. A host is a name or an address, in any case, with
    /// or without a final dot. What the name resolves to is the proxy's to check.
    pub fn permits(&self, host: &str, port: u16) -> bool {
        if port != self.port {
            return false;
        }
        match &self.host {
            Host::Address(address) => parse_address(host) == Some(*address),
            Host::Name(own) => proper(host).is_some_and(|host| host == *own),
            Host::Below(own) => proper(host).is_some_and(|host| {
                host.strip_suffix(own.as_str())
                    .and_then(|rest| rest.strip_suffix('.'))
                    .is_some_and(|rest| !rest.is_empty())
            }),
        }
    }

    /// Whether everything that the other permits is permitted by this one too.
    fn covers(&self, other: &Self) -> bool {
        self.port == other.port
            && match (&self.host, &other.host) {
                (Host::Below(own), Host::Name(name) | Host::Below(name)) => {
                    (self.host == other.host) || name.ends_with(&format!(".{own}"))
                }
                (own, others) => own == others,
            }
    }
}

/// Destinations, any of which is permitted. None is permitted by an empty list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Allowlist(Vec<Destination>);

impl Allowlist {
    /// A list of these.
    pub fn new(destinations: Vec<Destination>) -> Self {
        Self(destinations)
    }

    /// Whether a connection is permitted.
    pub fn permits(&self, host: &str, port: u16) -> bool {
        self.0.iter().any(|destination| destination.permits(host, port))
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The destinations, in the order in which they were written.
    pub fn iter(&self) -> impl Iterator<Item = &Destination> {
        self.0.iter()
    }

    /// What either permits.
    pub fn join(&self, other: &Self) -> Self {
        let more = other.0.iter().filter(|one| !self.0.contains(one));
        Self(self.0.iter().chain(more).cloned().collect())
    }

    /// What both permit.
    pub(super) fn meet(&self, other: &Self) -> Self {
        let covered = |one: &&Destination, by: &Self| by.0.iter().any(|other| other.covers(one));
        let mut both: Vec<Destination> = self.0.iter().filter(|one| covered(one, other)).cloned().collect();
        both.extend(other.0.iter().filter(|one| covered(one, self)).cloned());
        both.sort();
        both.dedup();
        Self(both)
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!("`{text}` is not a destination: {why}; write `host:port`, as in `registry.npmjs.org:443`")
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("the port is missing"))?;
        let port = match port.parse() {
            Ok(0) | Err(_) => return Err(wrong("the port is not a number from 1 to 65535")),
            Ok(port) => port,
        };
        if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            let address = address.parse().map_err(|_| wrong("between the brackets is no IPv6 address"))?;
            return Ok(Self { host: Host::Address(IpAddr::V6(address)), port });
        }
        if host.contains(':') {
            return Err(wrong("an IPv6 address stands in brackets"));
        }
        if let Ok(address) = host.parse() {
            return Ok(Self { host: Host::Address(IpAddr::V4(address)), port });
        }
        let host = match host.strip_prefix("*.") {
            Some(rest) => Host::Below(
                proper(rest)
                    .filter(|rest| rest.contains('.'))
                    .ok_or_else(|| wrong("`*.` stands before a name of at least two parts"))?,
            ),
            None => Host::Name(
                proper(host)
                    .ok_or_else(|| wrong("the host is not a name in letters, digits, `-` and `.`"))?,
            ),
        };
        Ok(Self { host, port })
    }
}

/// A host name as it is compared: lower-case, without a final dot. A name whose last part is a number is none: resolvers
/// take it for an address in one of its other spellings (RFC 3986, section 7.4).
fn proper(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let numeric = |label: &str| {
        let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
        label.bytes().all(|byte| byte.is_ascii_digit())
            || hex.is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let last = name.rsplit('.').next()?;
    (name.len() <= MAX_NAME && name.split('.').all(label) && !numeric(last))
        .then(|| name.to_ascii_lowercase())
}

fn parse_address(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Below(name) => write!(f, "*.{name}:{}", self.port),
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}:{}", self.port),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
        }
    }
}

impl<'de> Deserialize<'de> for Destination {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Destination {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Allowlist {
        Allowlist(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn an_empty_list_permits_nothing() {
        assert!(!Allowlist::default().permits("example.org", 443));
        assert!(!Allowlist::default().permits("", 0));
    }

    #[test]
    fn hosts_are_compared_as_names_and_not_as_texts() {
        let allowed =
            list(&["Registry.example.org:443", "*.cdn.example:443", "192.0.2.7:80", "[2001:db8::7]:443"]);
        for (host, port, permitted) in [
            ("registry.example.org", 443, true),
            ("REGISTRY.example.org.", 443, true),
            ("registry.example.org", 80, false),
            ("registry.example.org.evil.example", 443, false),
            ("evilregistry.example.org", 443, false),
            ("registry.example.org..", 443, false),
            ("a.cdn.example", 443, true),
            ("a.b.cdn.example", 443, true),
            ("cdn.example", 443, false),
            (".cdn.example", 443, false),
            ("evilcdn.example", 443, false),
            ("a\0.cdn.example", 443, false),
            ("192.0.2.7", 80, true),
            ("3221225991", 80, false),
            ("0xC0000207", 80, false),
            ("2001:db8:0::7", 443, true),
            ("[2001:db8::7]", 443, true),
        ] {
            assert_eq!(allowed.permits(host, port), permitted, "{host}:{port}");
        }
    }

    #[test]
    fn what_is_no_destination_is_refused_with_a_reason() {
        for (text, why) in [
            ("example.org", "the port is missing"),
            ("example.org:0", "not a number"),
            ("example.org:https", "not a number"),
            ("*:443", "not a name"),
            ("*.org:443", "at least two parts"),
            ("a.*.org:443", "not a name"),
            ("::1:443", "in brackets"),
            ("[::1:443", "in brackets"),
            ("127.1:80", "not a name"),
            ("0x7f.1:80", "not a name"),
            ("b\u{fc}cher.example:443", "not a name"),
            ("https://example.org:443", "in brackets"),
            (":443", "not a name"),
        ] {
            let error = text.parse::<Destination>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn both_permit_what_each_does() {
        let one = list(&["*.example.org:443", "a.test.example:80"]);
        let other = list(&["a.example.org:443", "*.test.example:80", "b.example.net:443"]);
        assert_eq!(one.meet(&other), list(&["a.example.org:443", "a.test.example:80"]));
        assert_eq!(one.meet(&other), other.meet(&one));
        assert!(one.meet(&Allowlist::default()).is_empty());
    }
}
