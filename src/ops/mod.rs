//! What an operator does with a host: look whether it is as it should be, and attack it.

#[cfg(target_arch = "x86_64")]
pub mod attack;
pub mod backup;
pub mod doctor;
pub mod scratch;
pub mod trial;
pub mod upgrade;
