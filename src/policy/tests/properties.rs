//! What holds for every policy and every command.

use proptest::prelude::*;

use super::*;

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

/// Rules of every decision.
fn any_rule() -> impl Strategy<Value = String> {
    (tightening(), prop::sample::select(vec!["allow", "ask", "deny"]), any::<bool>()).prop_map(
        |(rule, decision, confines)| {
            let rule = rule
                .replace("\"ask\"", "\"x\"")
                .replace("\"deny\"", "\"x\"")
                .replace("\"x\"", &format!("\"{decision}\""));
            if confines { format!("{rule}run-under = \"default\"\n") } else { rule }
        },
    )
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
    fn layering_is_monotone(upper in prop::collection::vec(any_rule(), 0..4), lower in prop::collection::vec(any_rule(), 0..4), more in prop::collection::vec(any_rule(), 0..3), line in commands()) {
        let text = |rules: &[String]| -> String {
            rules.iter().enumerate().map(|(index, rule)| format!("[[rule]]\nid = \"r{index}\"\n{rule}")).collect()
        };
        let upper = format!("default = \"ask\"\n{}", text(&upper));
        let alone = judge(&Policy::parse(&upper, "p").unwrap(), &line);
        let layered = judge(&beneath(&upper, &text(&lower)), &line);
        // Whatever the lower layer says, allowances included.
        prop_assert!(layered.decision >= alone.decision);
        prop_assert!(alone.run_under.iter().all(|name| layered.run_under.contains(name)));
        let bare = judge(&Policy::parse("", "p").unwrap(), &line);
        prop_assert!(bare.decision != Decision::Hardline || layered.decision == Decision::Hardline);
        // More rules in the lower layer, its default being to allow, take nothing back.
        let both: Vec<String> = lower.iter().chain(&more).cloned().collect();
        prop_assert!(judge(&beneath(&upper, &text(&both)), &line).decision >= layered.decision);
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
