//! The hardline list: what ruins the machine or a home, however it is spelled, and whatever a policy says.
//!
//! The list is compiled in and speaks of effects, not of words. It is asked for every act, through every wrapper and
//! interpreter that was followed, here, on another host and in a container. Its findings are made before any policy is
//! asked, and [`super::Survey::conclude`] only ever adds to them.
//!
//! A hole that may be anything is no certainty, and no hardline: it is for the policy to ask. A glob is one, since it is
//! expanded to whatever is there: `/e*c` is `/etc`.

use std::sync::LazyLock;

use smallvec::SmallVec;

use super::act::Act;
use super::class::PathClass;
use super::classify::{Ground, Reach, Table};
use super::pattern::NamePattern;
use super::place::{Component, Path, Reading};
use super::tables;
use super::{Decision, Finding, finding};
use crate::programs::{Attribute, Effect, Operation};
use crate::shell::Value;

static CRITICAL: LazyLock<Table> = LazyLock::new(|| Table::new(tables::CRITICAL_TREES));
static CORE: LazyLock<Table> = LazyLock::new(|| Table::new(tables::CORE_TREES));
static ESSENTIAL: LazyLock<Table> = LazyLock::new(|| Table::new(tables::ESSENTIAL_FILES));
static SWITCHES: LazyLock<Table> = LazyLock::new(|| Table::new(tables::KILL_SWITCHES));

/// One entry of the list.
struct Rule {
    id: &'static str,
    reason: &'static str,
    hint: &'static str,
}

const DELETE_SYSTEM: Rule = Rule {
    id: "hardline.delete-system",
    reason: "the machine does not survive the loss of its root or of a system directory",
    hint: "name the directory that is really meant, below the workspace",
};
const DELETE_HOME: Rule = Rule {
    id: "hardline.delete-home",
    reason: "a whole home would be lost",
    hint: "name the directory that is really meant, below the workspace",
};
const ESSENTIAL_FILE: Rule = Rule {
    id: "hardline.essential-file",
    reason: "without this file the machine does not start, let anybody in or run programs",
    hint: "make a copy in the workspace and let a person put it in place",
};
const PERMISSIONS: Rule = Rule {
    id: "hardline.permissions",
    reason: "with these owners or modes the machine no longer works, and there is no way back",
    hint: "change the mode of the files that are really meant, one by one",
};
const DEVICE: Rule = Rule {
    id: "hardline.device",
    reason: "writing to a block device, its partition table or its file system loses what is on it",
    hint: "work on an image file in the workspace",
};
const KILL_ALL: Rule = Rule {
    id: "hardline.kill-all",
    reason: "init or every process would be signalled",
    hint: "signal the one process that is meant by its pid",
};
const POWER: Rule =
    Rule { id: "hardline.power", reason: "the machine would stop, restart or sleep", hint: "" };
const KERNEL: Rule = Rule {
    id: "hardline.kernel",
    reason: "this switch of the kernel stops the machine or takes its hardware away",
    hint: "",
};

/// What the list says of one act.
pub(super) fn findings(act: &Act, ground: &Ground) -> impl Iterator<Item = Finding> {
    let rules = rules(act, ground).into_iter();
    rules.map(|rule| finding(act, rule.id, Decision::Hardline, rule.reason, rule.hint))
}

const FLOOD: Rule = Rule {
    id: "hardline.fork-bomb",
    reason: "it starts itself again faster than it ends, until the machine can start nothing",
    hint: "",
};

/// The finding for a function or loop that multiplies itself.
pub(super) const FORK_BOMB: (&str, &str) = (FLOOD.id, FLOOD.reason);

fn rules(act: &Act, ground: &Ground) -> SmallVec<[&'static Rule; 2]> {
    let mut rules = SmallVec::<[&'static Rule; 2]>::new();
    for reading in act.place.iter().flat_map(|place| &place.readings) {
        if reading.assumes_empty || reading.classes.has(PathClass::Empty) {
            continue;
        }
        if let Some(rule) = of_path(&act.effect, reading, ground)
            && !rules.iter().any(|other| other.id == rule.id)
        {
            rules.push(rule);
        }
    }
    match &act.effect {
        // in a container with processes of its own these end the container
        Effect::Power | Effect::Kill { .. } if act.scene.apart => {}
        Effect::Power => rules.push(&POWER),
        Effect::Package { action: Operation::Uninstall, names, manager }
            if loses_the_system(manager, names) =>
        {
            rules.push(&DELETE_SYSTEM);
        }
        Effect::Device { .. }
            if tables::VOLUME_MANAGERS.iter().any(|name| name.as_bytes() == &*act.scene.program) =>
        {
            rules.push(&DEVICE);
        }
        Effect::Flood { .. } => rules.push(&FLOOD),
        Effect::Kill { target, signal } if kills_all(target, signal, &act.scene.program) => {
            rules.push(&KILL_ALL);
        }
        Effect::Kernel { what, .. } if is_switch(what) => rules.push(&KERNEL),
        _ => {}
    }
    rules.dedup_by_key(|rule| rule.id);
    rules
}

/// What the list says of an effect on a path.
fn of_path(effect: &Effect, reading: &Reading, ground: &Ground) -> Option<&'static Rule> {
    let device = || reading.classes.has(PathClass::Device).then_some(&DEVICE);
    match effect {
        Effect::Delete { recursive, how, .. } => {
            let tree = *recursive || *how == Operation::Move;
            let empties = matches!(how, Operation::Truncate | Operation::Overwrite | Operation::Shred);
            lost(&reading.path, tree, ground)
                .or_else(|| if empties { device().or_else(|| switch(reading)) } else { device_node(reading) })
        }
        Effect::Write { how, .. } => device().or_else(|| switch(reading)).or_else(|| match how {
            // a link is made with `-f` only where something is, and that is an effect of its own
            Operation::Append | Operation::Edit | Operation::Make | Operation::Link => None,
            _ => essential(&reading.path),
        }),
        Effect::Device { .. } => device(),
        Effect::Metadata { recursive, attribute, value, .. } => {
            metadata(&reading.path, *recursive, *attribute, value, ground)
        }
        _ => None,
    }
}

/// Deleting `/dev/sda` the node is no data loss, but the machine's devices as a whole are guarded as a tree.
fn device_node(reading: &Reading) -> Option<&'static Rule> {
    let broad = reading.path.without_broad_tail().len() < reading.path.components.len();
    (broad && reading.classes.has(PathClass::Device)).then_some(&DELETE_SYSTEM)
}

/// Whether the loss of what is at this path is on the list.
fn lost(path: &Path, tree: bool, ground: &Ground) -> Option<&'static Rule> {
    let tail = path.without_broad_tail();
    let broad = tail.len() < path.components.len();
    if tree || broad {
        // Without `-r` only files go: `rm /usr/*` takes none, but `rm /etc/*` and `rm ~/*` do.
        let holds_files = tree || !matches!(tail, [only] if only.may_be(b"usr") || only.may_be(b"home"));
        if holds_files && CRITICAL.may_hold(tail, Reach::Expanded) {
            return Some(if ground.is_home(tail) && !tail.is_empty() {
                &DELETE_HOME
            } else {
                &DELETE_SYSTEM
            });
        }
        if holds_files && is_known(tail) && (ground.is_home(tail) || (tree && ground.is_above_home(tail))) {
            return Some(&DELETE_HOME);
        }
    }
    essential(path)
}

/// Whether no component is a hole: a hole that may be `usr` is not `/usr`, but any child of `/home` is a home.
fn is_known(path: &[Component]) -> bool {
    path.iter().enumerate().all(|(index, component)| match component {
        Component::Name(_) => true,
        Component::Pattern(pattern) => !pattern.has_hole() || index == 1,
        Component::Deep => false,
    })
}

fn essential(path: &Path) -> Option<&'static Rule> {
    ESSENTIAL.may_hold(&path.components, Reach::Expanded).then_some(&ESSENTIAL_FILE)
}

fn switch(reading: &Reading) -> Option<&'static Rule> {
    SWITCHES.may_hold(&reading.path.components, Reach::Expanded).then_some(&KERNEL)
}

/// Owners, modes and flags that make the machine unusable: any change to whole system trees, and taking every right away.
fn metadata(
    path: &Path,
    recursive: bool,
    attribute: Attribute,
    value: &Value,
    ground: &Ground,
) -> Option<&'static Rule> {
    if attribute == Attribute::Times {
        return None;
    }
    let tail = path.without_broad_tail();
    if recursive && CORE.may_hold(tail, Reach::Expanded) {
        return Some(&PERMISSIONS);
    }
    let shuts = attribute == Attribute::Mode && value.as_str().is_some_and(takes_all_rights);
    // the root of all paths, which nobody but root could then pass
    let closes = attribute == Attribute::Mode && value.as_str().is_some_and(lets_nobody_through);
    if closes && path.components.is_empty() {
        return Some(&PERMISSIONS);
    }
    let home = is_known(tail) && ground.is_home(tail);
    let guarded = home
        || CRITICAL.may_hold(tail, Reach::Expanded)
        || ESSENTIAL.may_hold(&path.components, Reach::Expanded);
    (shuts && guarded).then_some(&PERMISSIONS)
}

/// Whether a mode in digits lets others not search a directory.
fn lets_nobody_through(mode: &str) -> bool {
    mode.bytes().all(|byte| byte.is_ascii_digit())
        && mode.bytes().last().is_some_and(|byte| (byte - b'0').is_multiple_of(2))
}

/// Whether a mode leaves nobody but root a right that matters: `000`, `a-rwx`, `-x`, `u-r`, `=`.
fn takes_all_rights(mode: &str) -> bool {
    if !mode.is_empty() && mode.bytes().all(|byte| byte.is_ascii_digit()) {
        let digits = mode.trim_start_matches('0');
        // The owner's digit is the third from the right: 077 shuts the owner out.
        return digits.len() < 3;
    }
    mode.split(',').any(|clause| {
        let who = clause.trim_start_matches(['u', 'g', 'o', 'a']);
        let all = clause.len() == who.len()
            || clause.starts_with('a')
            || clause.starts_with('u')
            || clause.contains("ugo");
        let removes = who.strip_prefix('-').is_some_and(|rights| rights.contains(['r', 'w', 'x']));
        let empties = who == "=" || who.starts_with("=,");
        all && (empties || (removes && (who.contains('r') || who.contains('x'))))
    })
}

/// Whether a signal goes to init or to everything. Signal 0 only asks whether a process is there.
fn kills_all(target: &Value, signal: &Value, program: &[u8]) -> bool {
    if signal.as_str() == Some("0") {
        return false;
    }
    // `cd /proc; kill [0-9]*`: names that are ids of processes, init's among them
    if matches!(program, b"kill" | b"taskkill" | b"taskkill.exe")
        && target.has_glob()
        && !target.has_unknown()
    {
        return NamePattern::from_pieces(&target.pieces).may_be(b"1");
    }
    let Some(target) = target.as_str() else { return false };
    let number = target.trim();
    if number.parse::<i64>().is_ok_and(|pid| pid == 1 || pid == -1) {
        return true;
    }
    // `kill ""` is an error; to the others an empty pattern is every name.
    program != b"kill" && ["", ".", ".*", "^", "$", "^.*$", "*", "init", "systemd"].contains(&number)
}

/// Whether packages are removed without which nothing on the machine runs, or all of them.
fn loses_the_system(manager: &str, names: &[Value]) -> bool {
    const OF_THE_SYSTEM: &[&str] = &["apt", "dpkg", "dnf", "rpm", "pacman", "apk", "xbps", "emerge"];
    OF_THE_SYSTEM.contains(&manager)
        && names.iter().filter_map(Value::as_str).any(|name| {
            let name = name.split([':', '=']).next().unwrap_or(name);
            matches!(name, "*" | ".*" | "^.*$" | "?*" | "~i" | "*.*")
                || tables::ESSENTIAL_PACKAGES.contains(&name)
        })
}

/// Kernel changes that stop the machine.
fn is_switch(what: &str) -> bool {
    ["kexec", "sysrq", "sysrq-trigger", "watchdog", "efi-boot-entry", "cgroup.kill"]
        .iter()
        .any(|switch| what.contains(switch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::Piece;

    #[test]
    fn modes_that_shut_out() {
        for mode in ["000", "0", "00", "a-rwx", "-x", "u-r", "ugo-rwx", "=", "a=", "077", "-rwx"] {
            assert!(takes_all_rights(mode), "{mode}");
        }
        for mode in
            ["755", "700", "0755", "u+w", "g-w", "o-rwx", "go-rwx", "a+rX", "777", "1777", "400", "-w"]
        {
            assert!(!takes_all_rights(mode), "{mode}");
        }
    }

    #[test]
    fn signals_to_everything() {
        let kills =
            |target: &str, signal: &str| kills_all(&Value::known(target), &Value::known(signal), b"kill");
        assert!(kills_all(&Value::known("."), &Value::known(""), b"pkill"));
        let names = |pattern: &str| Value::from([Piece::glob(pattern.as_bytes())]);
        assert!(kills_all(&names("[0-9]*"), &Value::known("9"), b"kill"));
        assert!(!kills_all(&names("[2-9]???"), &Value::known("9"), b"kill"));
        for target in ["-1", "1", "-0001", "01"] {
            assert!(kills(target, "9"), "{target}");
        }
        for target in ["4321", "-4321", "0", "node", "%1", "10", "", "."] {
            assert!(!kills(target, "9"), "{target}");
        }
        assert!(!kills("1", "0"));
    }
}
