//! Any policy file is read or refused with a message.
#![no_main]

use execward::policy::Policy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = Policy::parse(text, "fuzz.toml") {
        assert!(!error.to_string().is_empty());
    }
});
