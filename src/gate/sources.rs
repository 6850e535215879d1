//! What a hole stands for, where the program that fills it tells: `$(ls /dev/sd?)`, `find / | xargs rm`.

use std::sync::Arc;

use super::act::Scene;
use super::{Facts, reader};
use crate::programs::Effect;

/// The effect, or several in its place.
pub(super) fn spread(
    effect: Effect,
    _scene: &Arc<Scene>,
    _budget: &mut reader::Budget,
    _facts: &Facts,
) -> Vec<Effect> {
    vec![effect]
}
