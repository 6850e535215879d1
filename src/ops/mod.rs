//! What an operator does with a host: for now, attack it.

#[cfg(target_arch = "x86_64")]
pub mod attack;
