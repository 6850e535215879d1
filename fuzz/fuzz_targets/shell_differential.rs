//! What execward takes for a whole program, `bash -n` takes for one.
//!
//! The texts of one input are separated by NUL bytes. A text is only ever given to `bash -n`, which runs nothing.
#![no_main]

use execward::shell::{Dialect, Limits, parse};
use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../../tests/differential/shells.rs"]
mod shells;

/// Texts of one input: each is a shell.
const MOST: usize = 8;

fuzz_target!(|bytes: &[u8]| {
    let Ok(all) = std::str::from_utf8(bytes) else { return };
    // control characters end a line for nobody but are shown to somebody: the gate asks about them
    let plain =
        |text: &&str| text.len() <= 400 && text.chars().all(|c| c == '\n' || c == '\t' || !c.is_control());
    let texts: Vec<String> = all.split('\0').filter(plain).take(MOST).map(str::to_owned).collect();
    for (text, by_bash) in texts.iter().zip(shells::checked(&texts, shells::Reader::Bash)) {
        let whole =
            parse(text, Dialect::Bash, false, Limits::default()).is_ok_and(|script| script.is_whole());
        // what execward reads and bash does not could be read differently where it matters; what it refuses is refused
        assert!(by_bash || !whole, "accepted, but not by bash: {text:?}");
    }
});
