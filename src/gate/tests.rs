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
