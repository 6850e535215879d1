//! What a request to a proxy is about.

use std::fmt;

use super::host::{Host, HostError};

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The host.
    pub host: Host,
    /// The TCP port; never 0.
    pub port: u16,
}

/// Why a request has no target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The host.
    #[error("the host of the request: {0}")]
    Host(#[from] HostError),
    /// The port.
    #[error("the port of the request is not a number from 1 to 65535")]
    Port,
    /// CONNECT says where to.
    #[error("CONNECT needs host:port")]
    NoPort,
    /// `user@host`: RFC 9110, 4.2.4.
    #[error("a user in front of the host")]
    User,
    /// A request to an origin, not to a proxy.
    #[error("no absolute URI: this is a proxy, not a server")]
    Origin,
    /// `ftp:`, `ws:`, `https:` without a tunnel.
    #[error("only http: is relayed, everything else goes through CONNECT")]
    Scheme,
    /// The Host field says another host than the request line, or there are two.
    #[error("the Host field is not the host of the request")]
    HostField,
}

impl Target {
    /// The target of `CONNECT host:port`: RFC 9110, 9.3.6.
    ///
    /// # Errors
    /// When it is not exactly that, or a Host field differs.
    pub fn of_tunnel<'a>(
        authority: &str,
        host_fields: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, TargetError> {
        let (host, port) = split(authority)?;
        let target = Self { host: Host::parse(host)?, port: port.ok_or(TargetError::NoPort)? };
        // RFC 9112, 3.2.2 would have the field ignored. Clients send it without the port, too.
        target.agree(host_fields, true)?;
        Ok(target)
    }

    /// The target of `GET http://host/path`: RFC 9112, 3.2.2.
    ///
    /// # Errors
    /// When it is another scheme, no absolute URI, or a Host field differs.
    pub fn of_request<'a>(
        scheme: Option<&str>,
        authority: Option<&str>,
        host_fields: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, TargetError> {
        let (Some(scheme), Some(authority)) = (scheme, authority) else {
            return Err(TargetError::Origin);
        };
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(TargetError::Scheme);
        }
        let (host, port) = split(authority)?;
        let target = Self { host: Host::parse(host)?, port: port.unwrap_or(80) };
        target.agree(host_fields, false)?;
        Ok(target)
    }

    /// What stands in a Host field: the port only where it is not 80.
    pub fn host_field(&self) -> String {
        if self.port == 80 { self.host.to_string() } else { self.to_string() }
    }

    fn agree<'a>(&self, fields: impl IntoIterator<Item = &'a [u8]>, tunnel: bool) -> Result<(), TargetError> {
        let mut fields = fields.into_iter();
        let Some(field) = fields.next() else { return Ok(()) };
        let said = std::str::from_utf8(field).map_err(|_| TargetError::HostField)?;
        let (host, port) = split(said).map_err(|_| TargetError::HostField)?;
        let host = Host::parse(host).map_err(|_| TargetError::HostField)?;
        let port_agrees = match port {
            Some(port) => port == self.port,
            None => tunnel || self.port == 80,
        };
        if host == self.host && port_agrees && fields.next().is_none() {
            Ok(())
        } else {
            Err(TargetError::HostField)
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn split(authority: &str) -> Result<(&str, Option<u16>), TargetError> {
    if authority.contains('@') {
        return Err(TargetError::User);
    }
    split_port(authority).map_err(|BadPort| TargetError::Port)
}

/// There is something after the colon, and it is no port.
#[derive(Debug)]
struct BadPort;

/// Takes `host` or `host:port` apart. An address in brackets keeps them.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), BadPort> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => return Ok((authority, None)),
    };
    // u16::from_str takes `+80`.
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadPort);
    }
    match port.parse() {
        Ok(0) | Err(_) => Err(BadPort),
        Ok(port) => Ok((host, Some(port))),
    }
}
