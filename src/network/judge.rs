//! Which hosts may be asked for, and which addresses may be dialled.

use core::net::IpAddr;

use super::address::{Class, class};
use super::host::Host;
use super::target::Target;
use crate::policy::Allowlist;

/// Why a target may not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No entry of the list permits the host with this port.
    #[error("the policy does not allow this host and port")]
    NotAllowed,
    /// It means this machine.
    #[error("the name means this machine")]
    Localhost,
    /// It means the metadata service of a cloud.
    #[error("the name means the metadata service of a cloud")]
    Metadata,
    /// It is no address of the public internet.
    #[error("the address is not public ({0})")]
    Address(Class),
    /// It is an address of this machine.
    #[error("the address is this machine's own")]
    Own,
}

/// Whether a target may be asked for. A name must still be resolved, and each address judged with [`dial`].
///
/// # Errors
/// Why not.
pub fn ask(list: &Allowlist, target: &Target) -> Result<(), Refusal> {
    if target.host.is_localhost() {
        return Err(Refusal::Localhost);
    }
    if target.host.is_metadata() {
        return Err(Refusal::Metadata);
    }
    if !list.permits(&target.host.to_string(), target.port) {
        return Err(match target.host {
            Host::Address(address) if class(address) != Class::Public => Refusal::Address(class(address)),
            _ => Refusal::NotAllowed,
        });
    }
    Ok(())
}

/// Whether an address may be dialled, for a target that may be asked for. `own` says whether it is this machine's: such a
/// one, and one that is not public, is open only where the list names this very address with this port.
///
/// # Errors
/// Why not.
pub fn dial(list: &Allowlist, address: IpAddr, port: u16, own: bool) -> Result<(), Refusal> {
    let named = || list.permits(&Host::Address(address).to_string(), port);
    match class(address) {
        Class::Public if !own => Ok(()),
        _ if named() => Ok(()),
        Class::Public => Err(Refusal::Own),
        other => Err(Refusal::Address(other)),
    }
}
