//! What cannot be known before running is a finding by itself, whatever a policy says: a hole in the place of a program,
//! of a script or of an option is where a blocked command would hide.

use super::act::{Act, Feed};
use super::{Decision, Finding, finding};
use crate::programs::Effect;

/// The finding on a file that is run and that the same text received from the network.
pub(super) fn received(act: &Act) -> Finding {
    let reason = "a file that was just received from the network is run unseen";
    finding(
        act,
        "opaque.from-network",
        Decision::Ask,
        reason,
        "look at the file first, then run it by itself",
    )
}

/// The gate's own findings on what is not known.
pub(super) fn findings(act: &Act) -> Option<Finding> {
    match &act.effect {
        Effect::Opaque { argv } if argv.first().is_none_or(|word| word.as_known().is_none()) => {
            let reason = "which program runs is known only when it runs";
            Some(finding(act, "opaque.program", Decision::Ask, reason, "name the program"))
        }
        Effect::Script { text, .. } if text.as_known().is_none() => {
            let (rule, reason) = match act.scene.fed {
                Feed::Network => ("opaque.from-network", "text from the network is run unseen"),
                _ => ("opaque.script", "the text that is run is known only when it runs"),
            };
            Some(finding(
                act,
                rule,
                Decision::Ask,
                reason,
                "save the text to a file, look at it, then run the file",
            ))
        }
        Effect::Unreadable { .. } => {
            let reason = "another command may hide behind an option that cannot be read";
            Some(finding(
                act,
                "opaque.option",
                Decision::Ask,
                reason,
                "use the documented form of the option",
            ))
        }
        _ => None,
    }
}
