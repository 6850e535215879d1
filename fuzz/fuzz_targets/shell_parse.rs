//! Any text is read or refused, the same way each time, and a refusal points into the text.
#![no_main]

use execward::shell::{Dialect, Limits, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for dialect in [Dialect::Bash, Dialect::Posix] {
        if let Err(error) = parse(text, dialect, false, Limits::default()) {
            assert!(error.at as usize <= text.len());
            assert_eq!(parse(text, dialect, false, Limits::default()).err(), Some(error));
        }
    }
});
