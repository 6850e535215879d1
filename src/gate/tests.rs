#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on says where")]

use super::*;
use crate::shell::Dialect;

pub(super) fn facts() -> Facts {
    Facts {
        cwd: "/home/user/project".to_owned(),
        home: "/home/user".to_owned(),
        user: "user".to_owned(),
        uid: 1000,
        workspaces: vec!["/home/user/project".to_owned()],
        homes: [("root".to_owned(), "/root".to_owned()), ("bob".to_owned(), "/data/homes/bob".to_owned())]
            .into(),
        environment: [("HOME".to_owned(), "/home/user".to_owned())].into(),
        dialect: Dialect::Bash,
        backend: "jail".to_owned(),
        profile: String::new(),
    }
}

/// Words by blanks; no shell reads them.
fn judge(line: &str) -> Judgement {
    let argv: Vec<String> = line.split(' ').map(str::to_owned).collect();
    survey(&Command::Argv(argv), &facts()).conclude(Vec::new())
}

#[test]
fn ruin_is_hardline_however_the_path_is_spelled() {
    for target in [
        "/",
        "//",
        "/.",
        "/./././",
        "/..",
        "/../..",
        "/tmp/..",
        "/usr",
        "/usr/",
        "/usr/.",
        "//usr",
        "/usr/../etc",
        "/home",
        "/home/user",
        "/home/user/",
        "/home/other",
        "/root",
        "/boot",
        "/proc/self/root",
        "/proc/self/root/etc",
        "/proc/1/root/usr",
        "/proc/self/task/1/root",
        "/proc/self/cwd/../../..",
        "..",
        "../",
        "../..",
        "../../../..",
        "/data/homes/bob",
        "/data/homes",
        "/data",
        "/usr/bin",
        "/lib/modules",
        "/var/lib",
    ] {
        let judgement = judge(&format!("rm -rf {target}"));
        assert_eq!(judgement.decision, Decision::Hardline, "{target}");
    }
}

#[test]
fn what_is_no_ruin_is_not_hardline() {
    for line in [
        "rm -rf build",
        "rm -rf .",
        "rm -rf ./src",
        "rm -rf /home/user/project",
        "rm -rf /home/user/other",
        "rm -rf /tmp",
        "rm -rf /tmp/x",
        "rm -rf /opt/app/cache",
        "rm -rf /etc/nginx/sites-enabled/x",
        "rm -r /*",
        "rm /usr",
        "rm -rf /usr/local/share/x",
        "chmod -R 755 /home/user/project",
        "kill 4321",
        "kill -0 1",
        "cp a /etc/hosts",
    ] {
        // no shell expands `/*` here: it is a file of that name
        let judgement = judge(line);
        assert!(judgement.decision < Decision::Hardline, "{line}: {judgement:?}");
    }
}

#[test]
fn a_command_that_is_none_is_refused() {
    let refused = |argv: &[&str]| {
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        survey(&Command::Argv(argv), &facts()).conclude(Vec::new()).decision
    };
    assert_eq!(refused(&[]), Decision::Deny);
    assert_eq!(refused(&[""]), Decision::Deny);
    assert_eq!(refused(&["ls", "a\0b"]), Decision::Deny);
    assert_eq!(refused(&["ls", &"x".repeat(2 << 20)]), Decision::Deny);
    assert_eq!(refused(&["ls"]), Decision::Allow);
}

#[test]
fn wrappers_change_nothing() {
    for wrapper in ["sudo", "env", "nice -n 5", "timeout 5", "sudo nice env A=1", "setsid", "nohup"] {
        let judgement = judge(&format!("{wrapper} rm -rf /"));
        assert_eq!(judgement.decision, Decision::Hardline, "{wrapper}");
    }
    let deep = format!("{}rm -rf /", "env ".repeat(500));
    assert!(judge(&deep).decision >= Decision::Deny);
}

#[test]
fn conclude_only_adds() {
    let argv = vec!["rm".to_owned(), "-rf".to_owned(), "/".to_owned()];
    let survey = survey(&Command::Argv(argv), &facts());
    let judgement = survey.conclude(Vec::new());
    assert_eq!(judgement.decision, Decision::Hardline);
    assert_eq!(
        judgement.findings.first().map(|finding| finding.rule.as_str()),
        Some("hardline.delete-system")
    );
}

mod places {
    use std::sync::Arc;

    use super::super::classify::Ground;
    use super::super::{Base, PathClass, Place};
    use super::facts;
    use crate::shell::{Piece, Unknown, Value};

    fn base(cwd: &str) -> Base {
        let ground = Arc::new(Ground::new(&facts()));
        Base { cwd: Some(super::super::Path::literal(cwd)), ground, links: Vec::new() }
    }

    fn place(text: &str) -> Place {
        Place::resolve(&Value::known(text), &base("/home/user/project"))
    }

    fn hole(source: &str, may_be_empty: bool, below: Option<&str>) -> Piece {
        Piece::from(Unknown {
            source: source.to_owned(),
            may_be_empty,
            below: below.map(|path| path.as_bytes().to_vec()),
            ..Unknown::default()
        })
    }

    fn known(text: &str) -> Piece {
        Piece::known(text.as_bytes())
    }

    #[test]
    fn paths_are_walked_as_the_kernel_does() {
        for (text, path) in [
            ("x", "/home/user/project/x"),
            ("./a/../b", "/home/user/project/b"),
            ("../../..", "/"),
            ("../../../../../..", "/"),
            ("/usr//bin/./x/", "/usr/bin/x"),
            ("/proc/self/root/etc", "/etc"),
            ("/proc/self/cwd/x", "/home/user/project/x"),
            ("/proc/77/root/proc/1/root/etc", "/etc"),
            ("/proc/self/task/9/root/etc", "/etc"),
            ("/proc/self/fd/3", "/proc/self/fd/3"),
            ("/proc/root", "/proc/root"),
            ("/", "/"),
        ] {
            assert_eq!(place(text).readings[0].path.to_string(), path, "{text}");
        }
    }

    #[test]
    fn places_have_classes() {
        use PathClass::*;
        for (text, has, lacks) in [
            ("src/main.rs", vec![Workspace], vec![Home, Build, System]),
            ("target/debug/x", vec![Workspace, Build], vec![]),
            ("a.o", vec![Workspace, Build], vec![]),
            (".", vec![Workspace, WorkspaceRoot], vec![Build]),
            ("..", vec![Home, WorkspaceRoot], vec![Workspace]),
            (".git/hooks/pre-commit", vec![Workspace, Repository, Startup], vec![]),
            (".env", vec![Workspace, Credential], vec![]),
            (".env.example", vec![Workspace], vec![Credential]),
            ("/home/user/.ssh/id_rsa", vec![Home, Credential], vec![Workspace]),
            ("/home/bob/.ssh/id_rsa", vec![OtherHome, Credential], vec![Home]),
            ("/data/homes/bob/.bashrc", vec![OtherHome, Startup], vec![]),
            ("/home/user/.bashrc", vec![Home, Startup], vec![]),
            ("/home/user/.claude/settings.json", vec![Home, AgentConfig], vec![]),
            ("/etc/shadow", vec![System, Credential], vec![]),
            ("/etc/cron.d/x", vec![System, Startup], vec![]),
            ("/usr/bin/x", vec![System], vec![]),
            ("/tmp/x", vec![Temp], vec![System]),
            ("/tmp", vec![Temp, System], vec![]),
            ("/mnt/x", vec![Mounted], vec![System]),
            ("/dev/sda1", vec![Device], vec![Stream]),
            ("/dev/null", vec![Stream], vec![Device, System]),
            ("/dev/fd/3", vec![Stream], vec![Device]),
            ("/dev/shm/x", vec![Temp], vec![Device]),
            ("/proc/sys/kernel/sysrq", vec![Kernel], vec![]),
            ("/var/lib/execward/state.db", vec![Execward, System], vec![]),
            ("/", vec![Root], vec![Workspace]),
            ("/elsewhere/x", vec![Elsewhere], vec![System]),
            ("", vec![Empty], vec![Workspace]),
        ] {
            let classes = place(text).may_be();
            for class in has {
                assert!(classes.has(class), "{text} is {class}: {:?}", classes.iter().collect::<Vec<_>>());
            }
            for class in lacks {
                assert!(
                    !classes.has(class),
                    "{text} is not {class}: {:?}",
                    classes.iter().collect::<Vec<_>>()
                );
            }
        }
    }

    #[test]
    fn a_hole_that_may_be_empty_has_two_readings() {
        let value = Value::from([hole("$DIR", true, None), known("/etc")]);
        let place = Place::resolve(&value, &base("/home/user/project"));
        assert_eq!(place.readings.len(), 2);
        assert!(place.readings[0].classes.has(PathClass::Unknown));
        assert_eq!(place.readings[1].path.to_string(), "/etc");
        assert!(place.readings[1].assumes_empty);
    }

    #[test]
    fn a_path_made_below_a_directory_stays_there() {
        let value = Value::from([hole("$(mktemp -d)", false, Some("/tmp")), known("/x")]);
        let classes = Place::resolve(&value, &base("/home/user/project")).may_be();
        assert!(classes.has(PathClass::Temp) && !classes.has(PathClass::Unknown));
    }

    #[test]
    fn a_hole_with_text_around_it_is_a_name() {
        let value = Value::from([known("/tmp/build-"), hole("$USER", false, None), known("-out")]);
        let classes = Place::resolve(&value, &base("/home/user/project")).may_be();
        assert!(classes.has(PathClass::Temp) && !classes.has(PathClass::Unknown));
    }

    #[test]
    fn an_unknown_directory_makes_an_unknown_place() {
        let mut base = base("/");
        base.cwd = None;
        assert!(Place::resolve(&Value::known("x"), &base).may_be().has(PathClass::Unknown));
        assert!(!Place::resolve(&Value::known("/tmp/x"), &base).may_be().has(PathClass::Unknown));
        let key = Value::from([hole("$H", false, None), known("/.ssh/id_rsa")]);
        assert!(Place::resolve(&key, &base).may_be().has(PathClass::Credential));
    }

    #[test]
    fn links_of_the_text_are_followed() {
        let mut base = base("/home/user/project");
        base.links.push((super::super::Path::literal("/tmp/r"), super::super::Path::literal("/")));
        let place = Place::resolve(&Value::known("/tmp/r/usr"), &base);
        assert_eq!(place.readings[0].path.to_string(), "/usr");
    }
}

#[test]
fn what_is_followed_is_bounded_by_its_words_and_not_only_by_its_number() {
    let starters = "php -S l -exec rm -host:8 -rf {} +:8000 ".repeat(80);
    let operands = format!("rm -rf /etc{}", " /srv/file".repeat(4000));
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let code = "unlink '/etc/passwd'; ".repeat(2000);
    for argv in [words(&starters), words(&operands), vec!["perl".into(), "-e".into(), code]] {
        let judgement = survey(&Command::Argv(argv), &facts()).conclude(Vec::new());
        assert_ne!(judgement.decision, Decision::Allow);
        // Many findings of many words would be words without a bound.
        let small = |finding: &Finding| finding.argv.len() < 40 && finding.argv.concat().len() < 10_000;
        assert!(judgement.findings.iter().all(small));
        assert!(judgement.findings.len() < 5000, "{}", judgement.findings.len());
    }
}
