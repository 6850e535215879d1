use std::collections::BTreeMap;

use proptest::prelude::*;

use super::load::example_facts;
use super::*;
use crate::gate::Decision;

#[test]
fn the_shipped_policy_loads() {
    if let Err(error) = Policy::parse(BUILTIN, "policies/default.toml") {
        panic!("{error}");
    }
    assert_ne!(Policy::builtin().name(), "refuse-everything");
}

fn error(text: &str) -> PolicyError {
    Policy::parse(text, "p.toml").unwrap_err()
}

fn judge(policy: &Policy, line: &str) -> Judgement {
    let argv = line.split(' ').map(str::to_owned).collect();
    policy.judge(&Command::Argv(argv), &example_facts(None, &BTreeMap::new()))
}

#[test]
fn an_unknown_key_is_shown_with_a_hint() {
    let error = error("[[rule]]\nid = \"x\"\ndecison = \"ask\"\nreason = \"r\"\n");
    let shown = error.to_string();
    assert!(shown.contains("p.toml:3:1"), "{shown}");
    assert!(shown.contains("^^^^^^^"), "{shown}");
    assert!(shown.contains("did you mean `decision`?"), "{shown}");
    assert_eq!(error.place(), Some((3, 1)));
}

#[test]
fn mistakes_name_their_place() {
    let rule = "[[rule]]\nid = \"a\"\ndecision = \"ask\"\nreason = \"r\"\n";
    for (text, message, line) in [
        ("[limits]\nmemory = \"4 gigs\"\n".to_owned(), "is not a size", 2),
        ("[approval]\ntimeout = \"soon\"\n".to_owned(), "is not a time", 2),
        ("[network]\nmode = \"nonne\"\n".to_owned(), "unknown variant `nonne`", 2),
        ("[limit]\n".to_owned(), "unknown field `limit`", 1),
        (
            format!("{rule}effect = {{ delete = {{ path = \"!workspaze\" }} }}\n"),
            "unknown path class `workspaze`",
            5,
        ),
        (format!("{rule}effect = {{ delete = {{ pth = \"home\" }} }}\n"), "unknown field `pth`", 5),
        (format!("{rule}effect = \"delte\"\n"), "unknown variant `delte`", 5),
        (
            format!("{rule}effect = {{ write = {{ how = \"overwritte\" }} }}\n"),
            "unknown way to write or remove `overwritte`",
            5,
        ),
        (format!("{rule}effect = []\n"), "the list is empty", 5),
        (rule.to_owned(), "has no condition", 1),
        (format!("{rule}program = \"ls\"\n{rule}program = \"ls\"\n"), "two rules with the id `a`", 7),
        (rule.replace("\"a\"", "\"hardline.x\"") + "program = \"ls\"\n", "reserved", 2),
        (rule.replace("\"a\"", "\"A b\"") + "program = \"ls\"\n", "is not a rule id", 2),
        (rule.replace("\"r\"", "\" \"") + "program = \"ls\"\n", "the reason is empty", 4),
        (rule.replace("\"ask\"", "\"hardline\"") + "program = \"ls\"\n", "unknown variant `hardline`", 3),
        ("[[rule]\n".to_owned(), "", 1),
        (
            format!("{rule}program = \"ls\"\nexamples = [{{ argv = [\"ls\"], expect = \"allow\" }}]\n"),
            "an example of the rule `a` fails",
            6,
        ),
    ] {
        let error = error(&text);
        assert!(error.message().contains(message), "{message:?} in {error}");
        assert_eq!(error.place().map(|place| place.0), Some(line), "{error}");
    }
    assert!(error("[workspace]\nroots = [\"x\"]\n").message().contains("not an absolute path"));
    assert!(error("[environment]\npass = [\"A-B\"]\n").message().contains("not the name of a variable"));
}

#[test]
fn sections_are_read() {
    let text = "[environment]\npass = [\"LC_*\"]\n[workspace]\nroots = [\"/srv/w\"]\n[network]\nmode = \"host\"\n\
                [limits]\ntime = \"90s\"\nmemory = \"512MiB\"\nopen-files = 64\n[approval]\ntimeout = \"2m\"\n";
    let policy = Policy::parse(text, "p.toml").unwrap();
    let base = policy.base();
    assert_eq!(base.pass, ["LC_*"]);
    assert_eq!(policy.roots.as_deref(), Some(&["/srv/w".to_owned()][..]));
    assert_eq!(base.network, Network::Host);
    assert_eq!(base.limits.time.as_secs(), 90);
    assert_eq!(base.limits.memory, ByteSize(512 << 20));
    assert_eq!(base.limits.open_files, 64);
    assert_eq!(base.limits.processes, Limits::default().processes);
    assert_eq!(policy.approval.timeout.as_secs(), 120);
    assert_ne!(policy.digest(), Policy::parse("", "p.toml").unwrap().digest());
}

#[test]
fn profiles_differ_from_the_sections_at_the_top() {
    let text = "[network]\nmode = \"host\"\n[sandbox]\nmasked = [\"~/notes\"]\n\
                [profile.readonly]\nworkspace = \"read\"\nnetwork = { mode = \"none\" }\n\
                [profile.more]\nlimits = { memory = \"8GiB\" }\nselectable = true\n\
                [profile.hidden]\nminimum = \"landlock-seccomp\"\nmasked = [\"data/keys\"]\n";
    let policy = Policy::parse(text, "p.toml").unwrap();
    let readonly = policy.profile("readonly").unwrap();
    assert_eq!((readonly.workspace, &readonly.network), (Access::Read, &Network::None));
    assert_eq!(readonly.masked, ["~/notes"]);
    let names: Vec<(&str, bool)> =
        policy.profiles().map(|profile| (profile.name.as_str(), profile.selectable)).collect();
    // One that gives more is only for who is told so.
    assert_eq!(names, [("default", true), ("hidden", false), ("more", true), ("readonly", true)]);
    assert_eq!(policy.profile("hidden").unwrap().masked, ["~/notes", "data/keys"]);
    for (text, message, line) in [
        ("[profile.default]\n", "is what the sections at the top say", Some(1)),
        ("[profile.\"A b\"]\n", "is not the name of a profile", Some(1)),
        ("[profile.x]\nnetwork = { mode = \"proxy\" }\n", "needs `allow`", Some(1)),
        ("[profile.x]\nmasked = [\"../x\"]\n", "cannot be masked", Some(1)),
        ("[profile.x]\nenvironment = { pass = [\"*\"] }\n", "is not the name of a variable", Some(1)),
        ("[profile.x.network]\nmode = \"proxy\"\nallow = [\"x\"]\n", "is not a destination", Some(3)),
        ("[network]\nallow = []\n", "give `mode", None),
    ] {
        let error = error(text);
        assert!(error.message().contains(message), "{error}");
        assert_eq!(error.place().map(|place| place.0), line, "{error}");
    }
}

#[test]
fn rules_speak_of_programs_arguments_and_paths() {
    let text = r#"
        [[rule]]
        id = "no-publish"
        program = "cargo"
        arguments = { first = "publish", none = "--dry-run" }
        decision = "deny"
        reason = "releases are made by people"

        [[rule]]
        id = "keep-data"
        effect = { delete = { path = ["/srv/data/**", "!/srv/data/tmp/**"] } }
        decision = "deny"
        reason = "data"
    "#;
    let policy = Policy::parse(text, "p.toml").unwrap();
    for (line, decision) in [
        ("cargo publish", Decision::Deny),
        ("cargo -q publish", Decision::Deny),
        ("cargo publish --dry-run", Decision::Allow),
        ("cargo build", Decision::Allow),
        ("rm /srv/data/x", Decision::Deny),
        ("rm /srv/data/x/y", Decision::Deny),
        ("rm /srv/data/tmp/y", Decision::Allow),
        ("rm /srv/other", Decision::Allow),
    ] {
        assert_eq!(judge(&policy, line).decision, decision, "{line}");
    }
}

#[test]
fn an_allow_rule_lifts_the_default_and_nothing_else() {
    let text = r#"
        default = "ask"
        [[rule]]
        id = "deny-home"
        effect = { delete = { path = "home" } }
        decision = "deny"
        reason = "r"
        [[rule]]
        id = "allow-rm"
        program = "rm"
        effect = "delete"
        decision = "allow"
        reason = "r"
    "#;
    let policy = Policy::parse(text, "p.toml").unwrap();
    assert_eq!(judge(&policy, "rm build/x").decision, Decision::Allow);
    assert_eq!(judge(&policy, "rm /home/user/x").decision, Decision::Deny);
    assert_eq!(judge(&policy, "rm -rf /").decision, Decision::Hardline);
    assert_eq!(judge(&policy, "some-tool").decision, Decision::Ask);
}

#[test]
fn the_refusing_policy_refuses() {
    assert_eq!(judge(&Policy::refusing(), "ls").decision, Decision::Deny);
}

/// Rules that only tighten, as a policy's text.
fn tightening() -> impl Strategy<Value = String> {
    let effect = prop::sample::select(vec![
        "effect = \"delete\"",
        "effect = { write = { path = \"!workspace\" } }",
        "effect = { delete = { path = [\"home\", \"!temp\"], recursive = true } }",
        "effect = [\"power\", \"kill\", \"opaque\"]",
        "program = \"rm\"",
        "program = [\"c*\", \"ls\"]\narguments = { any = \"-*\" }",
        "effect = { read = { path = \"credential\" } }\nexcept = [{ program = \"cat\" }]",
        "via = \"sudo\"",
    ]);
    (effect, prop::sample::select(vec!["ask", "deny"]))
        .prop_map(|(condition, decision)| format!("decision = \"{decision}\"\nreason = \"r\"\n{condition}\n"))
}

fn commands() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "rm",
        "-rf",
        "/",
        "/usr",
        "build",
        "src",
        "~",
        "sudo",
        "env",
        "cat",
        "/etc/shadow",
        "ls",
        "kill",
        "-1",
        "reboot",
        "x",
        "cp",
        "../..",
        "/tmp/x",
        "chmod",
        "-R",
        "777",
        "nice",
        "-n",
        "5",
        "dd",
        "of=/dev/sda",
        "tee",
    ]);
    prop::collection::vec(word, 1..7).prop_map(|words| words.join(" "))
}

/// Starters that run their operands, and shells that run a text (`{}`).
const WRAPPERS: [&str; 29] = [
    "sudo",
    "sudo -u root --",
    "env",
    "env -i A=1",
    "nice -n 5",
    "timeout -k 1 5",
    "setsid",
    "nohup",
    "stdbuf -oL",
    "ionice -c3",
    "/usr/bin/time -p",
    "taskset 1",
    "chrt -b 0",
    "flock /tmp/l",
    "strace -f",
    "busybox",
    "doas",
    "unshare -r",
    "xvfb-run",
    "fakeroot",
    "sh -c '{}'",
    "bash -ec '{}'",
    "eval '{}'",
    "su root -c '{}'",
    "command",
    "exec",
    "script -qc '{}' /dev/null",
    "watch -n1 '{}'",
    "systemd-run --wait",
];

const BLOCKED: [&str; 6] = [
    "rm -rf /usr",
    "mkfs.ext4 /dev/sda1",
    "reboot",
    "kill -9 -1",
    "dd if=x of=/dev/sda",
    "chmod -R 000 /etc",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn adding_rules_only_tightens(rules in prop::collection::vec(tightening(), 0..5), more in prop::collection::vec(tightening(), 1..4), line in commands()) {
        let text = |rules: &[String]| -> String {
            rules.iter().enumerate().map(|(index, rule)| format!("[[rule]]\nid = \"r{index}\"\n{rule}")).collect()
        };
        let all: Vec<String> = rules.iter().chain(&more).cloned().collect();
        let before = judge(&Policy::parse(&text(&rules), "p").unwrap(), &line);
        let after = judge(&Policy::parse(&text(&all), "p").unwrap(), &line);
        prop_assert!(after.decision >= before.decision);
        let kept = before.findings.iter().all(|finding| {
            // what a stricter finding on the same effect says is not said again
            after.findings.iter().any(|other| {
                other == finding || (other.effect == finding.effect && other.decision > finding.decision)
            })
        });
        prop_assert!(kept);
    }

    #[test]
    fn no_policy_lifts_hardline(rules in prop::collection::vec(tightening(), 0..4), line in commands()) {
        let bare = judge(&Policy::parse("", "p").unwrap(), &line);
        let text: String = rules.iter().enumerate().map(|(index, rule)| {
            let allowing = rule.replace("\"ask\"", "\"allow\"").replace("\"deny\"", "\"allow\"");
            format!("[[rule]]\nid = \"r{index}\"\n{allowing}")
        }).collect();
        let policy = Policy::parse(&format!("default = \"deny\"\n{text}"), "p").unwrap();
        if bare.decision == Decision::Hardline {
            prop_assert_eq!(judge(&policy, &line).decision, Decision::Hardline);
        }
    }

    #[test]
    fn wrappers_lift_nothing(wrappers in prop::collection::vec(prop::sample::select(WRAPPERS.to_vec()), 0..5), blocked in prop::sample::select(BLOCKED.to_vec())) {
        let text = wrappers.iter().fold(blocked.to_owned(), |inner, wrapper| match wrapper.split_once("{}") {
            Some((before, after)) => format!("{before}{}{after}", inner.replace('\'', "'\\''")),
            None => format!("{wrapper} {inner}"),
        });
        let facts = example_facts(None, &BTreeMap::new());
        let judgement = Policy::builtin().judge(&Command::Shell(text.clone()), &facts);
        prop_assert_eq!(judgement.decision, Decision::Hardline, "{}", text);
    }

    #[test]
    fn any_text_is_judged(text in "\\PC*|[-a-z$(){}\\[\\]'\"`;&|<>*?~\\\\ /\n=!#]{0,80}") {
        let judgement = Policy::builtin().judge(&Command::Shell(text.clone()), &example_facts(None, &BTreeMap::new()));
        prop_assert_eq!(judgement.decision, judgement.findings.iter().map(|finding| finding.decision).max().unwrap_or(Decision::Allow));
        let _ = gate::render(&text);
    }

    #[test]
    fn any_policy_text_is_read_or_refused(text in "\\PC*|(\\[\\[rule\\]\\]|id|=|\"|[a-z{}\\[\\],\n. ]){0,60}") {
        let _ = Policy::parse(&text, "p.toml").map_err(|error| error.to_string());
    }
}
