//! execward's seccomp profile as an engine reads it: what commands may call, and what the runner itself needs.
//!
//! It stands around the container from its first process on, and does not depend on the engine's version. Each command
//! has the whole filter besides, which also looks at what libseccomp has no words for. Where both refuse, the command's
//! own answer counts.

use serde::Deserialize;
use serde_json::{Value, json};

const DATA: &str = include_str!("../../../policies/seccomp/default.toml");

/// What a runner calls, and no command may.
const RUNNER: [&str; 24] = [
    "capset",
    "clone",
    "connect",
    "execve",
    "inotify_add_watch",
    "inotify_init1",
    "inotify_rm_watch",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "openat2",
    "pidfd_open",
    "pidfd_send_signal",
    "prctl",
    "prlimit64",
    "seccomp",
    "setfsgid",
    "setfsuid",
    "setgroups",
    "setresgid",
    "setresuid",
    "setsid",
    "signalfd4",
    "wait4",
];

#[derive(Deserialize)]
struct Data {
    allow: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    arch: Option<String>,
    place: Option<String>,
    syscalls: Vec<String>,
    #[serde(default)]
    when: Vec<Vec<Condition>>,
}

#[derive(Deserialize)]
struct Condition {
    arg: u8,
    mask: Option<u32>,
    is: Option<u32>,
    not: Option<u32>,
}

impl Condition {
    fn to_json(&self) -> Value {
        let (op, value, two) = match (self.mask, self.is, self.not) {
            // The low half of the argument, as the kernel looks at it.
            (mask, Some(is), None) => ("SCMP_CMP_MASKED_EQ", mask.unwrap_or(u32::MAX), is),
            (_, _, not) => ("SCMP_CMP_NE", not.unwrap_or_default(), 0),
        };
        json!({ "index": self.arg, "value": value, "valueTwo": two, "op": op })
    }
}

/// The profile, as JSON.
///
/// # Errors
/// When the shipped data does not read.
pub(super) fn profile() -> Result<String, toml::de::Error> {
    let data: Data = toml::from_str(DATA)?;
    let mut rules = vec![json!({ "names": RUNNER, "action": "SCMP_ACT_ALLOW", "args": [] })];
    let here = |group: &&Group| {
        group.arch.as_deref().is_none_or(|arch| arch == std::env::consts::ARCH)
            && group.place.as_deref().is_none_or(|place| place == "own")
    };
    for group in data.allow.iter().filter(here) {
        let names: Vec<&String> =
            group.syscalls.iter().filter(|name| !RUNNER.contains(&name.as_str())).collect();
        if names.is_empty() {
            continue;
        }
        // libseccomp compares an argument once in a rule.
        let once = |alternative: &Vec<Condition>| {
            alternative
                .iter()
                .enumerate()
                .all(|(at, one)| alternative[..at].iter().all(|other| other.arg != one.arg))
        };
        if group.when.is_empty() || !group.when.iter().all(once) {
            rules.push(json!({ "names": names, "action": "SCMP_ACT_ALLOW", "args": [] }));
            continue;
        }
        for alternative in &group.when {
            let args: Vec<Value> = alternative.iter().map(Condition::to_json).collect();
            rules.push(json!({ "names": names, "action": "SCMP_ACT_ALLOW", "args": args }));
        }
    }
    // The C library falls back to clone where there is no clone3, and to nothing where it is forbidden.
    rules.push(
        json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENOSYS, "args": [] }),
    );
    let arch = match std::env::consts::ARCH {
        "aarch64" => "SCMP_ARCH_AARCH64",
        _ => "SCMP_ARCH_X86_64",
    };
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": libc::ENOSYS,
        "architectures": [arch],
        "syscalls": rules,
    });
    Ok(profile.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_lets_the_runner_work_and_nobody_mount() {
        let profile: Value = serde_json::from_str(&profile().unwrap()).unwrap();
        let rules = profile["syscalls"].as_array().unwrap();
        let allowed = |name: &str| {
            rules.iter().any(|rule| {
                rule["action"] == "SCMP_ACT_ALLOW"
                    && rule["args"] == json!([])
                    && rule["names"].as_array().unwrap().contains(&json!(name))
            })
        };
        assert!(RUNNER.iter().all(|name| allowed(name)));
        for name in ["mount", "ptrace", "bpf", "io_uring_setup", "keyctl", "setns", "unshare", "clone3"] {
            assert!(!allowed(name), "{name}");
        }
    }
}
