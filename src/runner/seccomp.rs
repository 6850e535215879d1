//! The seccomp filter: read from `policies/seccomp/`, compiled by seccompiler, with the x32 check that it lacks.

use std::env::consts::ARCH;
use std::sync::LazyLock;

use seccompiler::{BpfProgram, TargetArch, sock_filter};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The shipped filter, as data.
const DEFAULT: &str = include_str!("../../policies/seccomp/default.toml");

/// Two programs that every call passes; the stricter answer holds, and of two errors that of `known`, which is installed
/// last (seccomp(2)).
#[derive(Debug, Clone)]
pub struct Filters {
    /// Allows what the list allows, with these arguments; everything else fails with EPERM.
    pub permitted: BpfProgram,
    /// Makes calls that the list does not know fail with ENOSYS, so that programs fall back to older ones.
    pub known: BpfProgram,
}

/// A filter that cannot be compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// The TOML does not read.
    #[error("the seccomp filter does not read: {0}")]
    Data(#[from] toml::de::Error),
    /// This machine's architecture has no table.
    #[error("no seccomp filter for the architecture {0}")]
    Architecture(&'static str),
    /// seccompiler refuses it, for instance a name that is no system call.
    #[error("the seccomp filter does not compile: {0}")]
    Compile(#[from] seccompiler::Error),
}

/// The shipped filter, compiled for this machine.
pub fn filters() -> Result<&'static Filters, &'static FilterError> {
    static FILTERS: LazyLock<Result<Filters, FilterError>> = LazyLock::new(|| compile(DEFAULT));
    FILTERS.as_ref()
}

/// Compiles a filter from its TOML.
pub fn compile(toml: &str) -> Result<Filters, FilterError> {
    let data: Data = toml::from_str(toml)?;
    let permitted = program(data.allow.iter().flat_map(Group::rules), libc::EPERM)?;
    let all = data.allow.iter().chain(&data.refuse);
    let mut known = program(all.flat_map(Group::names), libc::ENOSYS)?;
    known.splice(0..0, refuse_x32());
    Ok(Filters { permitted, known })
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Data {
    allow: Vec<Group>,
    refuse: Vec<Group>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Group {
    /// Why; for the reader of the file.
    reason: String,
    /// Only on this architecture.
    arch: Option<String>,
    syscalls: Vec<String>,
    /// Alternatives, each of conditions that must all hold. None is no condition.
    #[serde(default)]
    when: Vec<Vec<Condition>>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    arg: u8,
    mask: Option<u32>,
    is: Option<u32>,
    not: Option<u32>,
}

impl Condition {
    fn to_json(&self) -> Value {
        let (operator, value) = match (self.mask, self.is, self.not) {
            (Some(mask), Some(is), None) => (json!({ "masked_eq": mask }), is),
            (None, Some(is), None) => (json!("eq"), is),
            (None, None, Some(not)) => (json!("ne"), not),
            // Nothing that seccompiler reads: the compilation fails rather than allows.
            _ => (json!("unreadable"), 0),
        };
        json!({ "index": self.arg, "type": "dword", "op": operator, "val": value })
    }
}

impl Group {
    fn is_for(&self, arch: &str) -> bool {
        self.arch.as_deref().is_none_or(|only| only == arch)
    }

    /// A rule of seccompiler's for each call and alternative.
    fn rules(&self) -> Vec<Value> {
        if self.when.is_empty() {
            return self.names();
        }
        let calls = self.syscalls.iter().filter(|_| self.is_for(ARCH));
        calls
            .flat_map(|call| {
                self.when.iter().map(move |alternative| {
                    let args: Vec<Value> = alternative.iter().map(Condition::to_json).collect();
                    json!({ "syscall": call, "args": args })
                })
            })
            .collect()
    }

    /// The calls, whatever their arguments.
    fn names(&self) -> Vec<Value> {
        let calls = self.syscalls.iter().filter(|_| self.is_for(ARCH));
        calls.map(|call| json!({ "syscall": call })).collect()
    }
}

/// A program that allows what matches a rule; the rest fails with `errno`.
fn program(rules: impl Iterator<Item = Value>, errno: i32) -> Result<BpfProgram, FilterError> {
    let target = TargetArch::try_from(ARCH).map_err(|_| FilterError::Architecture(ARCH))?;
    let filter = json!({
        "filter": {
            "mismatch_action": { "errno": errno },
            "match_action": "allow",
            "filter": rules.collect::<Vec<_>>(),
        }
    });
    let mut programs = seccompiler::compile_from_json(filter.to_string().as_bytes(), target)?;
    Ok(programs.remove("filter").unwrap_or_default())
}

/// x32 calls have the architecture of x86-64 and bit 30 set in their number: a filter by number alone lets them
/// through. They fail with ENOSYS here, whether or not the kernel has them.
fn refuse_x32() -> Vec<sock_filter> {
    if cfg!(not(target_arch = "x86_64")) {
        return Vec::new();
    }
    const X32_BIT: u32 = 0x4000_0000;
    const LOAD_WORD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const JUMP_IF_SET: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    vec![
        sock_filter { code: LOAD_WORD, jt: 0, jf: 0, k: 0 }, // seccomp_data.nr
        sock_filter { code: JUMP_IF_SET, jt: 0, jf: 1, k: X32_BIT },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: ENOSYS },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_filter_compiles() {
        let filters = filters().unwrap();
        // BPF_MAXINSNS, linux/bpf_common.h
        for program in [&filters.permitted, &filters.known] {
            assert!((100..4096).contains(&program.len()), "{} instructions", program.len());
        }
    }

    #[test]
    fn no_call_is_both_plainly_allowed_and_refused_or_listed_twice() {
        let data: Data = toml::from_str(DEFAULT).unwrap();
        let mut plain = std::collections::BTreeSet::new();
        let mut conditional = std::collections::BTreeSet::new();
        for group in &data.allow {
            for name in &group.syscalls {
                if group.when.is_empty() {
                    assert!(plain.insert(name), "{name} is listed twice");
                } else {
                    conditional.insert(name);
                }
            }
        }
        // An entry without conditions would make the conditions of another worthless.
        assert_eq!(plain.intersection(&conditional).next(), None);
        for name in data.refuse.iter().flat_map(|group| &group.syscalls) {
            assert!(!plain.contains(name) && !conditional.contains(name), "{name} is allowed and refused");
        }
    }

    #[test]
    fn a_name_that_is_no_call_and_a_condition_without_a_value_do_not_compile() {
        let none = "refuse = []\n";
        let bad = format!("{none}[[allow]]\nreason = 'x'\nsyscalls = ['reed']\n");
        assert!(matches!(compile(&bad), Err(FilterError::Compile(_))));
        let bad = format!("{none}[[allow]]\nreason = 'x'\nsyscalls = ['read']\nwhen = [[{{ arg = 0 }}]]\n");
        assert!(matches!(compile(&bad), Err(FilterError::Compile(_))));
    }
}
