//! Any command gets a verdict, the same one each time, and text that follows never makes it milder.
#![no_main]

use std::collections::BTreeMap;

use execward::gate::{Command, Decision, Facts};
use execward::policy::Policy;
use execward::shell::Dialect;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let facts = Facts {
        cwd: "/home/user/project".into(),
        home: "/home/user".into(),
        user: "user".into(),
        uid: 1000,
        workspaces: vec!["/home/user/project".into()],
        homes: BTreeMap::from([("root".into(), "/root".into())]),
        environment: BTreeMap::from([
            ("PATH".into(), "/usr/bin:/bin".into()),
            ("HOME".into(), "/home/user".into()),
        ]),
        dialect: Dialect::Bash,
        backend: "jail".into(),
        profile: String::new(),
    };
    let policy = Policy::builtin();
    let alone = policy.judge(&Command::Shell(text.to_owned()), &facts);
    let again = policy.judge(&Command::Shell(text.to_owned()), &facts);
    assert_eq!(alone, again);
    // A verdict is its strictest finding.
    let strictest = alone.findings.iter().map(|finding| finding.decision).max().unwrap_or(Decision::Allow);
    assert!(alone.decision >= strictest);
    // An argv request of the same words is judged, too.
    let words = text.split(' ').map(str::to_owned).collect();
    policy.judge(&Command::Argv(words), &facts);
});
