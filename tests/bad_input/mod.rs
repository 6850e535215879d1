//! Bad input gets a clear error each, and nothing runs.

mod command;
mod place;
mod policy;
mod system;

use crate::support::{Ground, Output};

/// A command that leaves a trace when it runs.
const TRACE: [&str; 2] = ["touch", "ran"];

/// Fails when the trace is there.
#[track_caller]
fn nothing_ran(ground: &Ground, output: Output) -> Output {
    assert!(!ground.workspace().join("ran").exists(), "it ran all the same: {}", output.stderr());
    output
}
