//! Addresses to which something may be sent.

use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;

use crate::network::Host;

/// Longest address.
const MAX_URL: usize = 2048;

/// An address that may be given a secret: `https`, or `http` on this machine by its number.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Url {
    pub(super) secure: bool,
    pub(super) host: Host,
    pub(super) port: u16,
    /// What follows the host: empty, or from the first `/` on.
    pub(super) path: String,
}

/// Why an address is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Not `https://host[:port][/path]`.
    #[error("no address of the form https://host[:port][/path]")]
    Form,
    /// A user or password in it: fields are for keys.
    #[error("a user or password in an address: keys belong into the file of keys")]
    User,
    /// Plain HTTP to somewhere else. A name could lead anywhere, `localhost` too.
    #[error("plain http is for 127.0.0.1 and [::1]: what is sent elsewhere needs https")]
    Plain,
}

impl Url {
    /// Reads an address.
    ///
    /// # Errors
    /// When something sent there could be read on the way, or programs may disagree about where it leads.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Form)?;
        let secure = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(UrlError::Form),
        };
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte);
        if text.len() > MAX_URL || !rest.bytes().all(plain) {
            return Err(UrlError::Form);
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(UrlError::User);
        }
        let end_of_host = authority.rfind(']').map_or(0, |end| end + 1);
        let (host, port) = match authority.get(end_of_host..).and_then(|rest| rest.find(':')) {
            Some(colon) => {
                let (host, port) = authority.split_at(end_of_host + colon);
                let digits = port.strip_prefix(':').filter(|it| it.bytes().all(|byte| byte.is_ascii_digit()));
                let port = digits.and_then(|digits| digits.parse().ok()).filter(|port| *port != 0);
                (host, port.ok_or(UrlError::Form)?)
            }
            None => (authority, if secure { 443 } else { 80 }),
        };
        let host = Host::parse(host).map_err(|_| UrlError::Form)?;
        if !secure && !matches!(host, Host::Address(address) if is_loopback(address)) {
            return Err(UrlError::Plain);
        }
        let path = if path.starts_with('?') { format!("/{path}") } else { path.to_owned() };
        Ok(Self { secure, host, port, path })
    }

    /// The same with something behind its path: `/v1` and `/messages` give `/v1/messages`.
    #[must_use]
    pub fn with(&self, suffix: &str) -> Self {
        Self { path: format!("{}{suffix}", self.path.trim_end_matches('/')), ..self.clone() }
    }

    /// Whether its path ends so, whether or not with a slash behind it.
    pub fn ends_with(&self, suffix: &str) -> bool {
        self.path.trim_end_matches('/').ends_with(suffix)
    }

    /// Whether it has a question mark: nothing can be put behind such a path.
    pub fn has_query(&self) -> bool {
        self.path.contains('?')
    }

    /// The Host field: RFC 9110, section 7.2.
    pub(super) fn authority(&self) -> String {
        match (self.secure, self.port) {
            (true, 443) | (false, 80) => self.host.to_string(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

/// ::ffff:127.0.0.1 is no loopback address to std, and that is fine: it need not be written so.
fn is_loopback(address: IpAddr) -> bool {
    address.is_loopback()
}

impl TryFrom<String> for Url {
    type Error = UrlError;

    fn try_from(text: String) -> Result<Self, UrlError> {
        Self::parse(&text)
    }
}

impl fmt::Display for Url {
    /// Without its path, which may be a secret: hooks of chat services are known by nothing else.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.authority())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_out_in_the_clear_or_where_programs_disagree() {
        for (fine, authority, path) in [
            ("https://api.example.com/v1", "api.example.com", "/v1"),
            ("https://API.example.com.:8443", "api.example.com:8443", ""),
            ("https://h?key=1", "h", "/?key=1"),
            ("http://127.0.0.1:8080/v1", "127.0.0.1:8080", "/v1"),
            ("http://[::1]:9/v1", "[::1]:9", "/v1"),
            ("https://[2001:db8::1]/", "[2001:db8::1]", "/"),
            ("https://10.0.0.7/", "10.0.0.7", "/"),
        ] {
            let url = Url::parse(fine).expect(fine);
            assert_eq!((url.authority(), url.path.as_str()), (authority.to_owned(), path), "{fine}");
        }
        for wrong in [
            "http://api.example.com/v1",
            "http://localhost/v1",
            "http://127.0.0.1@evil.example/",
            "https://u:p@h/",
            "http://127.0.0.1.evil.example/",
            "http://127.1/",
            "http://2130706433/",
            "http://[::ffff:127.0.0.1]/",
            "https://h:0/",
            "https://h:+80/",
            "https://h:99999/",
            "https://h:/",
            "https://h\\@evil/",
            "https://h /",
            "https://h\r\nX: y/",
            "https://h/#x",
            "ftp://h/",
            "HTTPS://h",
            "api.example.com",
            "https://",
            "https:///x",
        ] {
            assert!(Url::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_shown_is_the_host() {
        let url =
            Url::parse("https://hooks.example.com:8443/services/T0/secret?token=secret").expect("an address");
        assert_eq!(url.to_string(), "https://hooks.example.com:8443");
        assert!(!format!("{url:?}").contains("secret"));
        assert_eq!(Url::parse("https://h/v1/").expect("an address").with("/messages").path, "/v1/messages");
        assert_eq!(Url::parse("https://h").expect("an address").with("/messages").path, "/messages");
    }
}
