//! `kill` and `pkill`: a word behind a dash is a signal, or every process.

use super::super::effect::Effect;
use super::super::engine::Context;
use super::super::knowledge::Program;
use crate::shell::{Origin, Value};

/// Adds the targets of `kill`.
pub(super) fn kill(arguments: &[Value], context: &Context<'_>, effects: &mut Vec<Effect>) {
    let mut signal: Option<Value> = None;
    let mut targets: Vec<Value> = Vec::new();
    let mut rest = arguments.iter();
    let mut only_targets = false;
    while let Some(word) = rest.next() {
        match word.as_known() {
            Some(b"--") if !only_targets => only_targets = true,
            Some(b"-l" | b"-L" | b"--list" | b"--table" | b"--help" | b"--version" | b"-V")
                if targets.is_empty() =>
            {
                return;
            }
            Some(b"-s" | b"-n" | b"--signal" | b"-q" | b"--queue" | b"--timeout") if !only_targets => {
                let value = rest.next().cloned().unwrap_or_default();
                if matches!(word.as_known(), Some(b"--timeout")) {
                    rest.next();
                } else if !matches!(word.as_known(), Some(b"-q" | b"--queue")) {
                    signal = Some(value);
                }
            }
            Some(b"-a" | b"--all" | b"-p" | b"--pid" | b"--verbose" | b"-r") if !only_targets => {}
            _ if word.prefix().starts_with(b"-")
                && !only_targets
                && signal.is_none()
                && targets.is_empty() =>
            {
                let name = super::super::words::skip(word, 1);
                let name = if word.prefix().starts_with(b"--signal=") {
                    super::super::words::skip(word, 9)
                } else {
                    name
                };
                signal = Some(name);
            }
            _ => targets.push(word.clone()),
        }
    }
    // `kill -1` names a signal and no process; some kills read it as every process
    if targets.is_empty()
        && let Some(everything) = signal.take_if(|signal| signal.as_known() == Some(b"1"))
    {
        let _ = everything;
        targets.push(Value::known("-1"));
    }
    // signal 0 only asks whether a process is there
    if signal.as_ref().and_then(Value::as_known) == Some(b"0") {
        return;
    }
    // `trap 'kill 0' EXIT`: what a script started ends with it
    if matches!(context.invocation.origin, Origin::Trap(_)) {
        let own = |target: &Value| {
            let target = target.to_string();
            matches!(target.trim_start_matches('-'), "0" | "$$")
        };
        targets.retain(|target| !own(target));
    }
    for target in targets {
        effects.push(Effect::Kill { target, signal: signal.clone().unwrap_or_default() });
    }
}

/// Processes that run nearly everywhere: a pattern that fits half of them is meant for none in particular.
const COMMON: &[(&str, &str)] = &[
    ("init", "/sbin/init"),
    ("systemd-journal", "/usr/lib/systemd/systemd-journald"),
    ("sshd", "/usr/sbin/sshd -D"),
    ("dbus-daemon", "/usr/bin/dbus-daemon --system"),
    ("cron", "/usr/sbin/cron -f"),
    ("bash", "-bash"),
    ("python3", "/usr/bin/python3 server.py"),
    ("node", "/usr/bin/node server.js"),
    ("nginx", "/usr/sbin/nginx"),
    ("polkitd", "/usr/lib/polkit-1/polkitd --no-debug"),
    ("login", "/bin/login -p --"),
    ("containerd", "/usr/bin/containerd"),
];
/// The longest pattern that is tried; nobody writes a longer one for a name.
const LONGEST_PATTERN: usize = 256;
/// The most bytes that the automaton of a pattern may take; a larger one is nobody's name.
const MOST_OF_PATTERN: usize = 1 << 16;

/// Whether a pattern, as pkill(1) reads it, fits processes whatever they are called.
pub(crate) fn fits_nearly_all(pattern: &str, full: bool, exact: bool, any_case: bool) -> bool {
    // one letter is in nearly every name
    if pattern.chars().count() <= 1 && !exact {
        return true;
    }
    if pattern.len() > LONGEST_PATTERN {
        return false;
    }
    let whole = if exact { format!("^(?:{pattern})$") } else { pattern.to_owned() };
    let compiled =
        regex::RegexBuilder::new(&whole).size_limit(MOST_OF_PATTERN).case_insensitive(any_case).build();
    let Ok(compiled) = compiled else { return false };
    let fitting = COMMON.iter().filter(|(name, line)| compiled.is_match(if full { line } else { name }));
    2 * fitting.count() >= COMMON.len()
}

/// Adds the targets of `pkill` and `killall`.
pub(super) fn pkill(program: &Program, arguments: &[Value], effects: &mut Vec<Effect>) {
    let mut signal = Value::default();
    let mut rest: Vec<Value> = Vec::new();
    for word in arguments {
        match word.as_str().and_then(|word| word.strip_prefix('-')) {
            Some(name) if is_signal(name) => signal = Value::known(name),
            _ => rest.push(word.clone()),
        }
    }
    let parsed = program.grammar.parse(&rest);
    if parsed.help {
        return;
    }
    let option = |name: &str| program.grammar.find(name);
    let has = |name: &str| option(name).is_some_and(|id| parsed.has(id));
    if has("-l") && program.name == "killall" {
        return;
    }
    if let Some(named) =
        ["--signal", "-s"].iter().filter_map(|name| option(name)).find_map(|id| parsed.values(id).last())
        && (program.name == "killall" || has("--signal"))
    {
        signal = named.clone();
    }
    for word in &parsed.unread {
        effects.push(Effect::Unreadable { program: program.name.clone(), word: word.clone() });
    }
    if signal.as_known() == Some(b"0") {
        return;
    }
    let matches = program.name == "pkill" || has("-r");
    let all = || Effect::Kill { target: Value::known("-1"), signal: signal.clone() };
    let inverted = has("-v") && program.name == "pkill";
    if !inverted && parsed.operands.is_empty() && program.name == "pkill" {
        let values = |name: &str| option(name).map(|id| parsed.values(id).cloned().collect::<Vec<_>>());
        let parents = values("-P").unwrap_or_default();
        let files = values("-F").unwrap_or_default();
        if parents.is_empty() && has("-P") || files.is_empty() && has("-F") {
            // what names nobody is an error
            return;
        }
        if !parents.is_empty() && !parents.iter().any(is_of_init) {
            // the children of one process are what it started
            return effects.extend(parents.into_iter().map(|parent| {
                // those of the shell's own parent are all that was started beside it
                if parent.to_string().contains("PPID") {
                    return Effect::Kill { target: parent, signal: signal.clone() };
                }
                let target = super::super::words::concat(&[&Value::known("children of "), &parent]);
                Effect::Kill { target, signal: signal.clone() }
            }));
        }
        if !files.is_empty() {
            return effects.extend(files.into_iter().map(|file| {
                let target = super::super::words::concat(&[&Value::known("the process of "), &file]);
                Effect::Kill { target, signal: signal.clone() }
            }));
        }
    }
    if parsed.operands.is_empty() || inverted {
        // all processes of a user, a terminal, a session
        effects.push(all());
    }
    let any_case = has(if matches && program.name == "pkill" { "-i" } else { "-I" });
    for target in &parsed.operands {
        let every = match target.as_str() {
            Some(pattern) if matches => fits_nearly_all(pattern, has("-f"), has("-x"), any_case),
            Some(name) => name.is_empty(),
            None => false,
        };
        let target = match target.as_str().filter(|_| any_case) {
            Some(name) => Value::known(name.to_lowercase()),
            None => target.clone(),
        };
        effects.push(if every { all() } else { Effect::Kill { target, signal: signal.clone() } });
    }
}

/// Whether parents, as `pkill -P` takes them, are init, or the kernel, among others.
fn is_of_init(parents: &Value) -> bool {
    parents
        .as_str()
        .is_some_and(|parents| parents.split(',').any(|pid| matches!(pid.trim(), "0" | "1" | "2")))
}

/// `9`, `KILL`, `SIGKILL`, `RTMIN+5`.
fn is_signal(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "IOT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU",
        "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "POLL", "PWR", "SYS",
    ];
    let bare = name.strip_prefix("SIG").unwrap_or(name);
    (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()))
        || NAMES.contains(&bare)
        || bare.starts_with("RTMIN")
        || bare.starts_with("RTMAX")
}
