//! Code in other languages: what its literal arguments say that it starts, deletes or writes.

use super::effect::{Effect, Language};
use super::engine::Context;
use crate::shell::Value;

/// Adds what can be seen in a code text.
pub(super) fn effects(language: Language, text: &Value, context: &Context<'_>, effects: &mut Vec<Effect>) {
    let _ = (language, text, context, effects);
}

/// Whether a code text plainly only computes and prints: the policy may let it run without a question.
pub fn is_inert(language: Language, text: &Value) -> bool {
    let _ = (language, text);
    false
}
