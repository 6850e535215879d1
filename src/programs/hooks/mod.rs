//! What a grammar cannot say: programs whose arguments are a language of their own.

pub(super) mod remote;

use super::effect::Effect;
use super::engine::Context;
use super::knowledge::Program;
use crate::shell::Value;

/// Runs the hook of a program. `false`: the program's table applies as well.
pub(super) fn run(
    name: &str,
    program: &Program,
    arguments: &[Value],
    context: &Context<'_>,
    effects: &mut Vec<Effect>,
) -> bool {
    let _ = (program, arguments, context, effects);
    match name {
        _ => false,
    }
}
