//! What cannot be known before running is a finding by itself, whatever a policy says: a hole in the place of a program,
//! of a script or of an option is where a blocked command would hide.

use super::act::{Act, Feed};
use super::place::{Base, Place};
use super::{Decision, Finding, PathClass, finding};
use crate::programs::{Effect, Operation};
use crate::shell::Value;

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

/// The finding on what a program that nobody knows would do if it started its operands: on the hardline list, or the loss of
/// work.
pub(super) fn launched(act: &Act, is_hardline: bool) -> Option<Finding> {
    let keeps = act.may_be().without(&[PathClass::Workspace]);
    let harmless = keeps.has(PathClass::Build) || keeps.has(PathClass::Temp) || keeps.has(PathClass::Stream);
    let loses = match &act.effect {
        Effect::Delete { how: Operation::Move, .. } => false,
        Effect::Delete { .. } => !harmless,
        Effect::Repository { .. } | Effect::Device { .. } | Effect::Database { .. } => true,
        Effect::Remote { destructive, .. } => *destructive,
        _ => false,
    };
    let reason = match (is_hardline, loses) {
        (true, _) => "if this program starts its operands as a command, it is on the hardline list",
        (false, true) => "if this program starts its operands as a command, work is lost",
        (false, false) => return None,
    };
    Some(finding(act, "opaque.launcher", Decision::Ask, reason, "start the command by itself"))
}

/// The finding on a program that nobody knows and that is given a disk.
pub(super) fn device(act: &Act, base: &Base) -> Option<Finding> {
    let Effect::Opaque { argv } = &act.effect else { return None };
    let is_device = |word: &Value| {
        // `--target=/dev/sda`, `of=/dev/sda`
        let text = word.as_known()?;
        let at = text.windows(5).position(|window| window == b"/dev/")?;
        let place = Place::resolve(&Value::known(text.get(at..)?), base);
        place.may_be().has(PathClass::Device).then_some(())
    };
    argv.iter().skip(1).find_map(is_device)?;
    let reason = "what a program that is not known does to a disk is known only when it runs";
    Some(finding(act, "opaque.device", Decision::Ask, reason, "work on an image file in the workspace"))
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
        // a build, a cluster, a transfer that is told what to do by what came
        Effect::RunFile { path, language: None }
            if act.scene.fed == Feed::Network && path.as_known() == Some(b"-") =>
        {
            let reason = "what the network sends is followed unseen";
            Some(finding(
                act,
                "opaque.from-network",
                Decision::Ask,
                reason,
                "save the text to a file, look at it, then use the file",
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
