//! The compiler of the seccomp filter: from `policies/seccomp/`, its conditions compiled by seccompiler, arranged as a
//! search tree. It runs when execward is built: a session starts in less time than it takes.
//!
//! seccompiler compares the number of a call with one listed number after the other. The kernel runs a new filter once
//! for every call that there is (to cache those that are always allowed, Linux 5.11), so that a list of a few hundred
//! costs a tenth of a millisecond at each start of a command; a tree costs a tenth of that. Each instruction is also
//! translated to machine code at each start, so that equal ends are written once. seccompiler also lacks the check for
//! x32 calls.

use std::collections::{BTreeMap, HashMap};

use seccompiler::{BpfProgram, TargetArch, sock_filter};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A filter that cannot be compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum FilterError {
    /// The TOML does not read.
    #[error("the seccomp filter does not read: {0}")]
    Data(#[from] toml::de::Error),
    /// The architecture has no table.
    #[error("no seccomp filter for the architecture {0}")]
    Architecture(String),
    /// A compiled call has not the shape that this version of seccompiler gives.
    #[error("the seccomp filter for {0} has an unknown shape")]
    Shape(String),
    /// seccompiler refuses it, for instance a name that is no system call.
    #[error("the seccomp filter does not compile: {0}")]
    Compile(#[from] seccompiler::Error),
}

/// What a command has around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Namespaces of its own.
    Own,
    /// The host's, and landlock; no network.
    Offline,
    /// The same with the host's network.
    Online,
}

/// For which of them a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Only {
    Own,
    Shared,
    Offline,
    Online,
}

impl Only {
    fn holds(self, place: Place) -> bool {
        match self {
            Self::Own => place == Place::Own,
            Self::Shared => place != Place::Own,
            Self::Offline => place == Place::Offline,
            Self::Online => place == Place::Online,
        }
    }
}

/// Compiles a filter from its TOML for an architecture, named as in `std::env::consts::ARCH`.
pub(super) fn compile(toml: &str, arch: &str, place: Place) -> Result<BpfProgram, FilterError> {
    let data = Data::read(toml, place)?;
    let mut answers = BTreeMap::new();
    let mut prologue = Vec::new();
    for (name, mut program) in programs(&data, arch)? {
        let number = program.get(CALL_COMPARED).map(|instruction| instruction.k);
        let number = number.ok_or_else(|| FilterError::Shape(name.clone()))?;
        let body = program.split_off(CONDITIONS.min(program.len()));
        let shape = matches!(program.get(ARCH_CHECK..), Some([load, compare, past, _])
            if *load == LOAD_CALL && (compare.code, compare.jt, compare.jf) == (JUMP_IF_EQUAL, 0, 1) && (past.code, past.k) == (JUMP, 1));
        if !shape || body.is_empty() {
            return Err(FilterError::Shape(name));
        }
        program.truncate(ARCH_CHECK);
        prologue = program;
        let answer = match data.kind(&name, arch) {
            Kind::Allowed => Answer::Allow,
            Kind::Refused => Answer::Fail(libc::EPERM),
            Kind::Conditional => Answer::Decide(body),
        };
        answers.insert(number, answer);
    }
    let mut program = prologue;
    program.push(LOAD_CALL);
    program.extend(refuse_x32(arch));
    program.extend(Backwards::search(&ranges(answers)));
    Ok(program)
}

/// How many instructions seccompiler puts first, to kill calls of another architecture.
const ARCH_CHECK: usize = 3;
/// Where a program of seccompiler's for one call compares its number: after the check and a load.
const CALL_COMPARED: usize = 4;
/// Where the conditions of that call begin: after the comparison and the jumps past it. What they say of a call depends on
/// its arguments alone, so that calls with equal conditions share them.
const CONDITIONS: usize = 7;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const LOAD_CALL: sock_filter = sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 }; // BPF_LD | BPF_W | BPF_ABS, nr
const RETURN: u16 = 0x06; // BPF_RET | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const JUMP_IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_IF_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const JUMP_IF_SET: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K

/// What the filter says to a call.
#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Allow,
    Fail(i32),
    /// By its arguments; ends in an answer whatever they are.
    Decide(BpfProgram),
}

impl Answer {
    fn program(&self) -> BpfProgram {
        let answer = match self {
            Self::Allow => ALLOW,
            Self::Fail(errno) => libc::SECCOMP_RET_ERRNO | errno.unsigned_abs(),
            Self::Decide(body) => return body.clone(),
        };
        vec![sock_filter { code: RETURN, jt: 0, jf: 0, k: answer }]
    }
}

/// Every number from 0 on belongs to the last range that starts at or before it. What is not listed fails with ENOSYS.
fn ranges(answers: BTreeMap<u32, Answer>) -> Vec<(u32, Answer)> {
    let mut ranges: Vec<(u32, Answer)> = vec![(0, Answer::Fail(libc::ENOSYS))];
    let mut add = |start: u32, answer: Answer| match ranges.last_mut() {
        Some((last, covered)) if *last == start => *covered = answer,
        Some((_, before)) if *before == answer => {}
        _ => ranges.push((start, answer)),
    };
    for (number, answer) in answers {
        add(number, answer);
        add(number + 1, Answer::Fail(libc::ENOSYS));
    }
    ranges
}

/// A program that is written from its end, because jumps go forward only: where one leads to has been written then.
#[derive(Debug, Default)]
struct Backwards {
    instructions: BpfProgram,
    /// Where each answer stands, as a distance from the end; the nearest one last.
    answers: Vec<(Answer, usize)>,
}

impl Backwards {
    /// A binary search for the range that the loaded number is in.
    fn search(ranges: &[(u32, Answer)]) -> BpfProgram {
        let mut program = Self::default();
        program.branch(ranges);
        program.instructions.reverse();
        program.instructions
    }

    /// Writes what tells these ranges apart; the result is where that begins.
    fn branch(&mut self, ranges: &[(u32, Answer)]) -> usize {
        match ranges {
            [] => self.instructions.len(),
            [(_, answer)] => self.answer(answer),
            _ => {
                let (lower, upper) = ranges.split_at(ranges.len() / 2);
                let middle = upper.first().map_or(u32::MAX, |(start, _)| *start);
                let (upper, lower) = (self.branch(upper), self.branch(lower));
                let (upper, lower) = (self.within_reach(upper), self.within_reach(lower));
                let [jt, jf] = [upper, lower]
                    .map(|to| u8::try_from(self.instructions.len() - to).expect("within reach"));
                self.push(sock_filter { code: JUMP_IF_AT_LEAST, jt, jf, k: middle })
            }
        }
    }

    /// Where this answer is given: where it stands already, unless a new one is shorter than the way to it.
    fn answer(&mut self, answer: &Answer) -> usize {
        let known = self.answers.iter().rev().find(|(known, _)| known == answer).map(|(_, at)| *at);
        let program = answer.program();
        match known {
            Some(at) if program.len() > 1 || self.instructions.len() - at < REACH => return at,
            _ => {}
        }
        program.into_iter().rev().for_each(|instruction| {
            self.push(instruction);
        });
        self.answers.push((answer.clone(), self.instructions.len()));
        self.instructions.len()
    }

    /// The place itself, or a jump to it that a condition can reach even when one more of them stands between.
    fn within_reach(&mut self, to: usize) -> usize {
        let distance = self.instructions.len() - to;
        if distance < REACH {
            return to;
        }
        self.push(sock_filter { code: JUMP, jt: 0, jf: 0, k: u32::try_from(distance).unwrap_or(u32::MAX) })
    }

    fn push(&mut self, instruction: sock_filter) -> usize {
        self.instructions.push(instruction);
        self.instructions.len()
    }
}

/// How far a conditional jump goes, less one for a jump of another that may come between.
const REACH: usize = 255;

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
    /// Only there.
    place: Option<Only>,
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
    /// All 64 bits of the argument count.
    #[serde(default)]
    wide: bool,
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
        let width = if self.wide { "qword" } else { "dword" };
        json!({ "index": self.arg, "type": width, "op": operator, "val": value })
    }
}

/// How a call is listed.
enum Kind {
    Allowed,
    Refused,
    Conditional,
}

impl Data {
    /// What of the data is for this place.
    fn read(toml: &str, place: Place) -> Result<Self, toml::de::Error> {
        let mut data: Self = toml::from_str(toml)?;
        for groups in [&mut data.allow, &mut data.refuse] {
            groups.retain(|group| group.place.is_none_or(|only| only.holds(place)));
        }
        Ok(data)
    }

    fn groups<'a>(&'a self, arch: &'a str) -> impl Iterator<Item = &'a Group> {
        self.allow.iter().chain(&self.refuse).filter(move |group| group.is_for(arch))
    }

    fn kind(&self, name: &str, arch: &str) -> Kind {
        let lists = |group: &&Group| group.is_for(arch) && group.syscalls.iter().any(|call| call == name);
        match self.allow.iter().find(lists) {
            Some(group) if group.when.is_empty() => Kind::Allowed,
            Some(_) => Kind::Conditional,
            None => Kind::Refused,
        }
    }
}

impl Group {
    fn is_for(&self, arch: &str) -> bool {
        self.arch.as_deref().is_none_or(|only| only == arch)
    }
}

/// One program of seccompiler's for each listed call: it knows the numbers, and compiles the conditions. What does not
/// match fails with EPERM.
fn programs(data: &Data, arch: &str) -> Result<HashMap<String, BpfProgram>, FilterError> {
    let target = TargetArch::try_from(arch).map_err(|_| FilterError::Architecture(arch.to_owned()))?;
    let mut rules: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for group in data.groups(arch) {
        for call in &group.syscalls {
            let rules = rules.entry(call).or_default();
            if group.when.is_empty() {
                rules.push(json!({ "syscall": call }));
            }
            rules.extend(group.when.iter().map(|alternative| {
                let args: Vec<Value> = alternative.iter().map(Condition::to_json).collect();
                json!({ "syscall": call, "args": args })
            }));
        }
    }
    let filter = |rules| {
        let failed = json!({ "errno": libc::EPERM });
        json!({ "mismatch_action": failed, "match_action": "allow", "filter": Value::Array(rules) })
    };
    let filters: serde_json::Map<_, _> =
        rules.into_iter().map(|(call, rules)| (call.to_owned(), filter(rules))).collect();
    Ok(seccompiler::compile_from_json(Value::Object(filters).to_string().as_bytes(), target)?)
}

/// x32 calls have the architecture of x86-64 and bit 30 set in their number: a filter by number alone lets them
/// through. They fail with ENOSYS here, whether or not the kernel has them.
fn refuse_x32(arch: &str) -> Vec<sock_filter> {
    if arch != "x86_64" {
        return Vec::new();
    }
    const X32_BIT: u32 = 0x4000_0000;
    let failed = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    vec![
        sock_filter { code: JUMP_IF_SET, jt: 0, jf: 1, k: X32_BIT },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: failed },
    ]
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "a filter compares low halves")]
mod tests {
    use std::env::consts::ARCH;

    use super::*;

    const DEFAULT: &str = include_str!("../../../policies/seccomp/default.toml");

    /// Runs a program on a call as the kernel would: only what our programs are made of.
    fn answer(program: &[sock_filter], arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let load = |offset: u32| match offset {
            0 => number,
            4 => arch,
            low => {
                let argument = arguments[(low as usize - 16) / 8];
                if low % 8 == 0 { argument as u32 } else { (argument >> 32) as u32 }
            }
        };
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let jump = |taken: bool| usize::from(if taken { jt } else { jf });
            match code {
                0x20 => accumulator = load(k),
                0x54 => accumulator &= k,
                JUMP => at += k as usize,
                JUMP_IF_EQUAL => at += jump(accumulator == k),
                0x25 => at += jump(accumulator > k),
                JUMP_IF_AT_LEAST => at += jump(accumulator >= k),
                JUMP_IF_SET => at += jump(accumulator & k != 0),
                RETURN => return k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    const NATIVE: u32 = if cfg!(target_arch = "x86_64") { 0xc000_003e } else { 0xc000_00b7 };
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;

    #[test]
    fn the_tree_says_of_every_call_what_the_list_says() {
        [Place::Own, Place::Offline, Place::Online].into_iter().for_each(the_tree_says_what_the_list_says);
    }

    fn the_tree_says_what_the_list_says(place: Place) {
        let data = Data::read(DEFAULT, place).unwrap();
        let program = compile(DEFAULT, ARCH, place).unwrap();
        assert!(program.len() < 4096, "{} instructions; the kernel takes 4096", program.len());
        let mut numbers = BTreeMap::new();
        for (name, program) in programs(&data, ARCH).unwrap() {
            numbers.insert(program[CALL_COMPARED].k, name);
        }
        let values = [0, 1, 2, 0o2000, 0o4000, 0o6755, 0x5412, 0x1000_0000, 1 << 32, u64::from(u32::MAX)];
        for number in 0..600 {
            for value in values {
                let arguments = [value; 6];
                let expected = match numbers.get(&number) {
                    None => ENOSYS,
                    Some(name) => match data.kind(name, ARCH) {
                        Kind::Allowed => ALLOW,
                        Kind::Refused => EPERM,
                        Kind::Conditional => {
                            let groups = data.groups(ARCH).filter(|group| group.syscalls.contains(name));
                            let mut alternatives = groups.flat_map(|group| &group.when);
                            let holds = |condition: &Condition| {
                                let low = value as u32;
                                match condition {
                                    Condition { wide: true, is, .. } => Some(value) == is.map(u64::from),
                                    Condition { not: Some(not), .. } => low != *not,
                                    Condition { mask, is, .. } => Some(low & mask.unwrap_or(u32::MAX)) == *is,
                                }
                            };
                            if alternatives.any(|all| all.iter().all(holds)) { ALLOW } else { EPERM }
                        }
                    },
                };
                let said = answer(&program, NATIVE, number, arguments);
                assert_eq!(said, expected, "call {number} {:?} with {value:#x}", numbers.get(&number));
            }
        }
    }

    #[test]
    fn foreign_and_x32_calls_are_closed() {
        let program = compile(DEFAULT, ARCH, Place::Own).unwrap();
        assert_eq!(answer(&program, 0x4000_0003, 4, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
        if cfg!(target_arch = "x86_64") {
            assert_eq!(answer(&program, NATIVE, 0x4000_0000, [0; 6]), ENOSYS);
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn what_is_shared_with_others_is_not_reached() {
        let program = compile(DEFAULT, ARCH, Place::Offline).unwrap();
        let says = |call: libc::c_long, arguments: [u64; 6]| answer(&program, NATIVE, call as u32, arguments);
        for family in [1, 2, 10, 16, 17, 38, 40] {
            assert_eq!(says(libc::SYS_socket, [family, 1, 0, 0, 0, 0]), EPERM, "{family}");
        }
        let cloexec = libc::SOCK_CLOEXEC as u64;
        for (kind, answer) in [(1, ALLOW), (1 | cloexec, ALLOW), (5, ALLOW), (2, EPERM), (2 | cloexec, EPERM)]
        {
            assert_eq!(says(libc::SYS_socketpair, [1, kind, 0, 0, 0, 0]), answer, "{kind}");
        }
        for call in [libc::SYS_shmget, libc::SYS_mq_open, libc::SYS_msgget, libc::SYS_semget] {
            assert_eq!(says(call, [0; 6]), EPERM);
        }
        for call in [libc::SYS_prlimit64, libc::SYS_sched_setaffinity, libc::SYS_sched_setscheduler] {
            assert_eq!((says(call, [0; 6]), says(call, [7; 6])), (ALLOW, EPERM));
        }
        assert_eq!(says(libc::SYS_setpriority, [0, 7, 0, 0, 0, 0]), EPERM);
        for call in
            [libc::SYS_chmod, libc::SYS_fchmodat, libc::SYS_chown, libc::SYS_setxattr, libc::SYS_utime]
        {
            assert_eq!(says(call, [0; 6]), EPERM);
        }
        // A name may lie where the low half of its address is 0.
        for (name, answer) in [(0, ALLOW), (1 << 32, EPERM), (0x5555_0000, EPERM)] {
            assert_eq!(says(libc::SYS_utimensat, [3, name, 0, 0, 0, 0]), answer, "{name:#x}");
        }
        let online = compile(DEFAULT, ARCH, Place::Online).unwrap();
        for (family, said) in [(1, EPERM), (2, ALLOW), (10, ALLOW), (16, EPERM)] {
            let arguments = [family, 1, 0, 0, 0, 0];
            assert_eq!(answer(&online, NATIVE, libc::SYS_socket as u32, arguments), said, "{family}");
        }
        let own = compile(DEFAULT, ARCH, Place::Own).unwrap();
        for call in [libc::SYS_prlimit64, libc::SYS_shmget, libc::SYS_setpriority] {
            assert_eq!(answer(&own, NATIVE, call as u32, [7; 6]), ALLOW);
        }
    }

    #[test]
    fn no_call_is_both_plainly_allowed_and_refused_or_listed_twice() {
        [Place::Own, Place::Offline, Place::Online].into_iter().for_each(no_call_is_listed_twice);
    }

    fn no_call_is_listed_twice(place: Place) {
        let data = Data::read(DEFAULT, place).unwrap();
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
        assert!(matches!(compile(&bad, ARCH, Place::Own), Err(FilterError::Compile(_))));
        let bad = format!("{none}[[allow]]\nreason = 'x'\nsyscalls = ['read']\nwhen = [[{{ arg = 0 }}]]\n");
        assert!(matches!(compile(&bad, ARCH, Place::Own), Err(FilterError::Compile(_))));
    }
}
