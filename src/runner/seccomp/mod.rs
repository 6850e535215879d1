//! The seccomp filter of every command: `policies/seccomp/default.toml`, compiled when execward was built (`build.rs`).

use seccompiler::sock_filter;

#[cfg(test)]
mod compile;

/// The shipped filter for the architecture that this was built for.
pub(super) const FILTER: &[sock_filter] = include!(concat!(env!("OUT_DIR"), "/own.rs"));

/// The same for commands that have no namespaces of their own, without a network.
pub(super) const OFFLINE: &[sock_filter] = include!(concat!(env!("OUT_DIR"), "/offline.rs"));

/// The same with the host's network.
pub(super) const ONLINE: &[sock_filter] = include!(concat!(env!("OUT_DIR"), "/online.rs"));

#[cfg(test)]
mod tests {
    use super::compile::{Place, compile};

    #[test]
    fn what_was_compiled_at_the_build_is_what_the_data_says() {
        let data = include_str!("../../../policies/seccomp/default.toml");
        for (built, place) in
            [(super::FILTER, Place::Own), (super::OFFLINE, Place::Offline), (super::ONLINE, Place::Online)]
        {
            let compiled = compile(data, std::env::consts::ARCH, place).unwrap();
            assert!(compiled.len() > 100);
            assert_eq!(built, compiled);
        }
    }
}
