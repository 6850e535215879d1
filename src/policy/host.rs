//! Hosts in conditions: where a command connects to, as far as its words tell.

use serde::de::{Deserialize, Deserializer, Error as _};

use super::condition::{Many, Sureness};
use crate::gate::pattern::text_matches;
use crate::programs::Effect;
use crate::shell::Value;

/// A host condition: a name or a pattern (`*.example.org`), or with `!` none of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPattern {
    negated: bool,
    pattern: String,
}

impl<'de> Deserialize<'de> for HostPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (negated, name) = text.strip_prefix('!').map_or((false, text.as_str()), |rest| (true, rest));
        let proper = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '*' | ':');
        if name.is_empty() || !name.chars().all(proper) {
            return Err(D::Error::custom(format!(
                "`{text}` is not a host: write a name, `*.example.org`, or an address, without port and scheme"
            )));
        }
        Ok(Self { negated, pattern: name.to_ascii_lowercase() })
    }
}

/// Whether the effect connects to one of the hosts. Where the words do not tell, it may be any host.
pub(super) fn matches(wanted: &Many<HostPattern>, effect: &Effect, sureness: Sureness) -> bool {
    let url = match effect {
        Effect::Fetch { url } | Effect::Send { url, .. } => url,
        Effect::Listen { address } => address,
        Effect::Remote { resource, .. } => resource,
        _ => return false,
    };
    let Some(host) = host_of(url) else { return sureness == Sureness::May };
    let is = |wanted: &HostPattern| text_matches(&wanted.pattern, &host);
    let mut positive = wanted.0.iter().filter(|wanted| !wanted.negated).peekable();
    (positive.peek().is_none() || positive.any(is))
        && !wanted.0.iter().filter(|wanted| wanted.negated).any(is)
}

/// The host of a URL, of `user@host:path`, or of a bare name; `None` where it is not known before running, or where
/// programs differ on what it is.
fn host_of(url: &Value) -> Option<Vec<u8>> {
    let text = url.as_known()?;
    let rest = match text.windows(3).position(|three| three == b"://") {
        Some(at) => text.get(at + 3..)?,
        None => text.strip_prefix(b"//").unwrap_or(text),
    };
    let authority = rest.split(|byte| matches!(byte, b'/' | b'?' | b'#')).next()?;
    // A backslash ends the authority for some and is part of it for others; a bracket or a second `@` likewise.
    if authority.is_empty() || authority.iter().any(|byte| !byte.is_ascii_graphic() || b"\\%".contains(byte))
    {
        return None;
    }
    let mut parts = authority.split(|byte| *byte == b'@');
    let (first, second) = (parts.next()?, parts.next());
    if parts.next().is_some() {
        return None;
    }
    let host = second.unwrap_or(first);
    // `http DELETE :3000/items` is this machine's; programs that do not know the short form refuse it
    if text.first() == Some(&b':') && host.len() > 1 && host.iter().skip(1).all(u8::is_ascii_digit) {
        return Some(b"localhost".to_vec());
    }
    let host = match host.strip_prefix(b"[") {
        Some(rest) => rest.split(|byte| *byte == b']').next()?,
        None => host.split(|byte| *byte == b':').next()?,
    };
    let host = host.strip_suffix(b".").unwrap_or(host).to_ascii_lowercase();
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_where_programs_find_them() {
        for (url, host) in [
            ("https://Example.org/x", Some("example.org")),
            ("https://user:pw@example.org:8443/x@evil.example", Some("example.org")),
            ("git@example.org:a/b.git", Some("example.org")),
            ("example.org", Some("example.org")),
            ("https://[2001:db8::1]:443/", Some("2001:db8::1")),
            ("https://a@b@example.org/", None),
            ("https://good.example\\.evil.example/", None),
            ("https://good.example%2eevil.example/", None),
            (":3000/items", Some("localhost")),
            ("user@:3000/items", None),
            ("http://127.0.0.1:80@example.org/", Some("example.org")),
            ("", None),
        ] {
            let found = host_of(&Value::known(url.as_bytes().to_vec()));
            assert_eq!(found.as_deref(), host.map(str::as_bytes), "{url}");
        }
    }
}
