//! Any text is read or refused, in both dialects, without a panic.
#![no_main]

use execward::shell::{Dialect, Limits, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for dialect in [Dialect::Bash, Dialect::Posix] {
        for extglob in [false, true] {
            let _ = parse(text, dialect, extglob, Limits::default());
        }
    }
});
