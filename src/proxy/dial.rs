//! From a target to addresses that may be dialled, and from those to a connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::network::{self, Host, Refusal, Target};
use crate::policy::Allowlist;
use crate::resolve::Resolver;

/// Addresses of a name that are tried.
const TRIED: usize = 4;

/// Why there is nothing to dial.
#[derive(Debug, thiserror::Error)]
pub(super) enum Blocked {
    /// It is not allowed.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The name leads nowhere.
    #[error("{0}")]
    Unresolved(String),
}

/// The addresses that may be dialled for a target; never none.
pub(super) async fn addresses(
    allow: &Allowlist,
    target: &Target,
    resolver: &impl Resolver,
    patience: Duration,
) -> Result<Vec<SocketAddr>, Blocked> {
    network::ask(allow, target)?;
    let found = match &target.host {
        Host::Address(address) => vec![*address],
        Host::Name(name) => timeout(patience, resolver.resolve(name))
            .await
            .map_err(|_| Blocked::Unresolved(format!("cannot resolve {name}: no answer in time")))?
            .map_err(|error| Blocked::Unresolved(error.to_string()))?,
    };
    let own = own_addresses()
        .map_err(|error| Blocked::Unresolved(format!("cannot list this machine's addresses: {error}")))?;
    let mut refusal = None;
    let mut addresses = Vec::new();
    for address in found {
        match network::dial(allow, address, target.port, own.contains(&address)) {
            Ok(()) if addresses.len() < TRIED => addresses.push(SocketAddr::new(address, target.port)),
            Ok(()) => {}
            Err(refused) => refusal = Some(refused),
        }
    }
    match (addresses.is_empty(), refusal) {
        (false, _) => Ok(addresses),
        (true, Some(refusal)) => Err(refusal.into()),
        (true, None) => Err(Blocked::Unresolved(format!("{} has no address", target.host))),
    }
}

/// Connects to the first address that answers: to one that was judged, and never by its name again.
pub(super) async fn connect(
    allow: &Allowlist,
    addresses: &[SocketAddr],
    patience: Duration,
) -> io::Result<(TcpStream, SocketAddr)> {
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for address in addresses {
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A route can make more addresses this machine's than its interfaces have (`ip route add local`): the two
                // ends of a connection to oneself have one address.
                let own = stream.local_addr()?.ip() == address.ip();
                network::dial(allow, address.ip(), address.port(), own).map_err(io::Error::other)?;
                stream.set_nodelay(true)?;
                return Ok((stream, *address));
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

fn own_addresses() -> nix::Result<Vec<IpAddr>> {
    Ok(nix::ifaddrs::getifaddrs()?
        .filter_map(|interface| {
            let address = interface.address?;
            let four = address.as_sockaddr_in().map(|it| it.ip().into());
            four.or_else(|| address.as_sockaddr_in6().map(|it| it.ip().into()))
        })
        .collect())
}
