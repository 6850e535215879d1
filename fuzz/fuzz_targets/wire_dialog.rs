//! Connections, sessions and commands of several peers, driven by bytes, held against an oracle: which message is
//! permitted when, whose session is whose, and that no descriptor is lost.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/protocol/machine.rs"]
#[allow(dead_code)]
mod machine;

fuzz_target!(|data: &[u8]| {
    let Some((&piece, script)) = data.split_first() else { return };
    let whole = machine::run(script, usize::MAX);
    let pieces = machine::run(script, usize::from(piece).max(1));
    assert_eq!(whole.transcript, pieces.transcript, "the pieces decide what is read");
});
