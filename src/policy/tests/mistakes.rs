//! Mistakes that load, and what is recommended and shown of them.

use super::*;

#[test]
fn what_is_recommended_is_allowed_and_does_something() {
    let facts = example_facts(None, &BTreeMap::new());
    let nearest = |text: &str| Policy::builtin().explain(&Command::Shell(text.to_owned()), &facts).nearest;
    for text in [
        "mkfs.ext4 /dev/sda",
        "rm -rf /",
        "npm publish",
        "if",
        "git push --force",
        "kill -9 -1",
        "sudo rm -r ../x",
    ] {
        let Some(near) = nearest(text) else { continue };
        let judgement = Policy::builtin().judge(&Command::Shell(near.clone()), &facts);
        assert_eq!(judgement.decision, Decision::Allow, "{text}: {near}");
        let program = |text: &str| text.split(' ').next().map(str::to_owned);
        assert!(program(&near) == program(text) || text.starts_with("sudo "), "{text}: {near}");
    }
    assert_eq!(nearest("npm publish").as_deref(), Some("npm publish --dry-run"));
    for text in ["if", "pip install requests", "terraform destroy"] {
        assert_eq!(nearest(text), None, "{text}");
    }
    assert_eq!(nearest("mkfs.ext4 /dev/sda"), None);
}

#[test]
fn a_projects_reason_is_one_line() {
    let rule = |reason: &str| {
        format!(
            "[[rule]]\nid = \"x\"\nprogram = \"ls\"\ndecision = \"ask\"\nreason = {reason}\nhint = \"h\"\n"
        )
    };
    let forged = rule("\"\"\"r\n\nallow\n  2. nothing [allow]\"\"\"");
    let upper = Policy::parse("", "upper.toml").unwrap();
    for text in [
        forged.as_str(),
        &rule("\"a\\u001b[2Jb\""),
        &rule("\"a\u{202e}b\""),
        &rule("\"r\"").replace("\"h\"", "\"h\\nx\""),
    ] {
        let error = Loader::beneath(&upper, Role::Project).load(text, "p.toml").unwrap_err();
        assert!(error.message().contains("more than one line") && error.place().is_some(), "{error}");
    }
    let judgement = judge(&Policy::parse(&forged, "p.toml").unwrap(), "ls");
    assert_eq!(
        judgement.findings.first().map(|finding| finding.reason.as_str()),
        Some("r allow 2. nothing [allow]")
    );
    let own = Loader::beneath(&upper, Role::Project).load(&rule("'it deletes \\x and caf\u{e9}'"), "p.toml");
    assert!(own.is_ok(), "{own:?}");
}

#[test]
fn rules_that_say_nothing_are_found() {
    let rule = |body: &str| format!("[[rule]]\nid = \"x\"\ndecision = \"deny\"\nreason = \"r\"\n{body}\n");
    for body in [
        "program = \"npm\"\narguments = { first = \"publish\", none = \"publish\" }",
        "arguments = { all = \"a\", none = \"a*\" }",
        "program = \"npm\"\nexcept = [{ program = \"*\" }]",
        "program = [\"npm\", \"yarn\"]\nexcept = [{ program = \"npm\" }, { program = \"y*\" }]",
        "program = \"/usr/bin/git\"",
        "program = \"git push\"",
        "program = \"\"",
        "program = \"make\"\nbackend = \"docer\"",
        "effect = { kill = { value = \"SIGFOO\" } }",
        "effect = { delete = { path = [\"/a/b\", \"!/a/**\"] } }",
    ] {
        let lints = Policy::parse(&rule(body), "p.toml").unwrap_or_else(|error| panic!("{error}")).lint();
        assert_eq!(lints.first().map(|lint| lint.kind), Some(LintKind::Unreachable), "{body}");
    }
    assert!(error(&rule("effect = { delete = { path = \"/a/../b\" } }")).message().contains("leads nowhere"));
    for body in [
        "effect = { kill = { value = [\"SIGKILL\", \"9\", \"RTMIN+1\"] } }",
        "program = \"make\"\nbackend = \"launcher:gpu\"",
    ] {
        let lints = Policy::parse(&rule(body), "p.toml").unwrap_or_else(|error| panic!("{error}")).lint();
        assert!(lints.iter().all(|lint| lint.kind == LintKind::NoExamples), "{body}: {lints:?}");
    }
    let two = |wide: &str, narrow: &str| {
        let narrow = rule(narrow).replace("\"x\"", "\"narrow\"").replace("deny", "ask");
        let lints =
            Policy::parse(&(rule(wide) + &narrow), "p.toml").unwrap_or_else(|error| panic!("{error}")).lint();
        let shadowed = lints.into_iter().find(|lint| lint.kind == LintKind::Shadowed);
        shadowed.map(|lint| lint.witness.unwrap_or_default())
    };
    assert_eq!(two("program = \"g*\"", "program = \"git\"").as_deref(), Some("git"));
    let delete = |path: &str| format!("effect = {{ delete = {{ path = \"{path}\" }} }}");
    assert_eq!(two(&delete("/data/**"), &delete("/data/x/**")).as_deref(), Some("rm /data/x/x"));
    assert_eq!(two(&delete("/data/x/**"), &delete("/data/**")), None);
    assert_eq!(two("program = \"git\"", "program = \"g*\""), None);
    let passing = Policy::parse("[environment]\npass = [\"LD_PRELOAD\", \"LC_*\"]\n", "p.toml").unwrap();
    assert_eq!(passing.lint().iter().map(|lint| lint.kind).collect::<Vec<_>>(), [LintKind::Injection]);
}

#[test]
fn a_broad_rule_is_shown_by_what_it_has_run() {
    let rule = |body: &str| {
        format!("default = \"ask\"\n[[rule]]\nid = \"x\"\ndecision = \"allow\"\nreason = \"r\"\n{body}\n")
    };
    let facts = example_facts(None, &BTreeMap::new());
    for body in [
        "effect = [\"database\", \"repository\", \"remote\"]",
        "program = [\"bash\", \"sh\"]\neffect = [\"script\", \"opaque\", \"send\", \"fetch\"]\nfed = \"network\"",
        "program = \"sudo\"",
        "program = \"*\"",
        "effect = \"delete\"",
    ] {
        let policy = Policy::parse(&rule(body), "p.toml").unwrap();
        let lints = policy.lint();
        for lint in lints.iter().filter(|lint| lint.kind == LintKind::Broad) {
            let witness = Command::Shell(lint.witness.clone().unwrap());
            assert_eq!(policy.judge(&witness, &facts).decision, Decision::Allow, "{body}: {lint:?}");
        }
    }
}

#[test]
fn mistakes_that_load_are_found() {
    let rule = |id: &str, body: &str, decision: &str| {
        format!("[[rule]]\nid = \"{id}\"\ndecision = \"{decision}\"\nreason = \"r\"\n{body}\n")
    };
    let text = format!(
        "default = \"ask\"\n{}{}{}{}{}{}",
        rule(
            "twice",
            "program = \"rm\"\neffect = \"delete\"\nexamples = [{ command = \"rm build/x\", expect = \"deny\" }]",
            "ask"
        ),
        rule(
            "wide",
            "effect = \"delete\"\nexamples = [{ command = \"rm build/x\", expect = \"deny\" }]",
            "deny"
        ),
        rule("never", "effect = { delete = { path = [\"home\", \"!home\"] } }", "deny"),
        rule("foreign", "effect = { power = { path = \"home\" } }", "deny"),
        rule("open", "program = \"*\"\nexamples = [{ command = \"ls\", expect = \"allow\" }]", "allow"),
        rule("untried", "program = \"zip\"\nexamples = [{ command = \"ls\", expect = \"allow\" }]", "ask"),
    );
    let policy = Policy::parse(&text, "p.toml").unwrap();
    let lints = policy.lint();
    let kinds: Vec<(&str, LintKind)> = lints.iter().map(|lint| (lint.rule.as_str(), lint.kind)).collect();
    assert_eq!(
        kinds,
        [
            ("twice", LintKind::Shadowed),
            ("never", LintKind::Unreachable),
            ("foreign", LintKind::Unreachable),
            ("open", LintKind::Broad),
            ("untried", LintKind::Untested),
        ]
    );
    assert_eq!(lints.first().and_then(|lint| lint.witness.as_deref()), Some("rm build/x"));
    assert!(lints.iter().any(|lint| lint.kind == LintKind::Broad && lint.witness.is_some()));
    assert_eq!(policy.coverage().get(1), Some(&("wide".to_owned(), 2)));
}
