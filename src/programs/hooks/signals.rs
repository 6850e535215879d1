//! `kill` and `pkill`: a word behind a dash is a signal, or every process.

use super::super::effect::Effect;
use super::super::knowledge::Program;
use crate::shell::Value;

/// Adds the targets of `kill`.
pub(super) fn kill(arguments: &[Value], effects: &mut Vec<Effect>) {
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
    for target in targets {
        effects.push(Effect::Kill { target, signal: signal.clone().unwrap_or_default() });
    }
}

/// Patterns that fit every process.
const EVERY: &[&[u8]] = &[b"", b".", b".*", b"^", b"$", b".+", b"..*", b"^.*$", b"[a-z]", b"[^x]*"];

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
    let all = || Effect::Kill { target: Value::known("-1"), signal: signal.clone() };
    if parsed.operands.is_empty() || has("-v") && program.name == "pkill" {
        // all processes of a user, a terminal, a session
        effects.push(all());
    }
    for target in parsed.operands {
        if target.as_known().is_some_and(|pattern| EVERY.contains(&pattern)) {
            effects.push(all());
        } else {
            effects.push(Effect::Kill { target, signal: signal.clone() });
        }
    }
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
