//! The only home of `unsafe`: thin, typed wrappers over system calls for which no safe call exists in nix.
//!
//! One system call per function, descriptors owned on the way in and out, errors as `nix::errno::Errno`. Nothing here
//! decides anything, but for how far [`nested`] looks.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
pub mod attack;
pub mod file;
pub mod ids;
pub mod mount;
mod nested;
pub mod net;
pub mod passing;
pub mod peer;
pub mod process;
mod raw;
pub mod signals;
pub mod socket;
pub mod spawn;
pub mod terminal;

pub use nested::nested;
