//! Commands elsewhere, from request to receipt.

use std::fs;

use serde_json::json;

use super::*;
use crate::daemon::{as_both, code, until};

#[test]
fn a_command_there_has_its_streams_its_code_its_directory_its_jail_and_its_record() {
    as_both(|| {
        let there = There::new();
        let Some(daemon) = there.daemon("") else { return };
        let mut agent = client(&daemon);
        let work = there.work();
        let opened = open(&mut agent, &work);
        assert_eq!(opened["workspace"], work.as_str());
        assert_eq!(opened["receipt"]["backend"], "launcher", "{opened}");
        for name in ["launcher", "private-root", "network-namespace", "landlock", "seccomp", "ids"] {
            assert_eq!(layer(&opened["receipt"], name), Some(true), "{name}: {opened}");
        }
        let token = format!("ghp_{}", "Zk3vQ9xT7mB2wR5nL8cY1fH6jD4sG0pAqWeU");
        let text = format!("pwd; echo err >&2; touch made; echo \"$HOME\"; id -u; echo {token}; exit 7");
        let done = shell(&mut agent, "a", &text);
        let lines: Vec<&str> = out(&done).lines().collect();
        assert_eq!(lines[..2], [work.as_str(), "/home/agent"], "{done}");
        assert_ne!(lines[2], "0");
        assert!(!lines[3].contains(&token) && done["report"]["masked"].as_u64() >= Some(1), "{done}");
        assert_eq!(done["stderr"]["text"], "err\n");
        assert_eq!(done["report"]["code"], 7, "{done}");
        assert_eq!(owner(&there.path("work/w/made")), me());
        let decisions = daemon.records("decision");
        assert!(
            decisions.iter().any(|record| record.to_string().contains("launcher:there")),
            "{decisions:?}"
        );
    });
}

#[test]
fn what_is_not_the_workspace_is_not_there() {
    as_both(|| {
        let there = There::new();
        let Some(daemon) = there.daemon("") else { return };
        fs::write(there.path("private/key"), "CANARY").unwrap();
        fs::create_dir(there.path("work/other")).unwrap();
        let mut agent = client(&daemon);
        open(&mut agent, &there.work());
        let text = format!(
            "cat {p}/private/key; ls {p}/work/other {p}/home; cat /proc/1/environ; env; kill -9 2 3 4 5 6 7; echo there",
            p = there.path("").display()
        );
        let done = shell(&mut agent, "a", &text);
        let said = done.to_string();
        assert!(!said.contains("CANARY") && !said.contains(there.path("bin").to_str().unwrap()), "{said}");
        // The session goes on, whatever was killed.
        assert_eq!(out(&shell(&mut agent, "b", "echo again")), "again");
    });
}

#[test]
fn the_binary_is_sent_once_and_one_that_was_tampered_with_is_sent_again() {
    as_both(|| {
        let there = There::new();
        let Some(daemon) = there.daemon("") else { return };
        let mut agent = client(&daemon);
        open(&mut agent, &there.work());
        let sent = there.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        let mode = fs::metadata(there.path("home/.cache/execward")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let stamp = fs::metadata(&sent[0]).unwrap().modified().unwrap();
        let mut second = client(&daemon);
        open(&mut second, &there.work());
        assert_eq!(fs::metadata(&sent[0]).unwrap().modified().unwrap(), stamp);
        // Another file under its name, of the same length.
        let length = fs::metadata(&sent[0]).unwrap().len();
        fs::remove_file(&sent[0]).unwrap();
        fs::write(&sent[0], "#!/bin/sh\necho evil\n").unwrap();
        fs::set_permissions(&sent[0], Permissions::from_mode(0o755)).unwrap();
        give(&sent[0]);
        let mut third = client(&daemon);
        open(&mut third, &there.work());
        assert_eq!(there.sent(), sent);
        assert_eq!(fs::metadata(&sent[0]).unwrap().len(), length);
    });
}

#[test]
fn a_directory_for_the_binary_that_leads_elsewhere_is_refused() {
    as_both(|| {
        let there = There::new();
        let Some(daemon) = there.daemon("") else { return };
        fs::create_dir(there.path("home/.cache")).unwrap();
        give(&there.path("home/.cache"));
        std::os::unix::fs::symlink(there.path("private"), there.path("home/.cache/execward")).unwrap();
        let (code, message) = refused(try_open(&mut client(&daemon), "there", &there.work()));
        assert!(code == 1500 && message.contains("is a link"), "{message}");
        assert_eq!(fs::read_dir(there.path("private")).unwrap().count(), 0);
    });
}

#[test]
fn only_what_the_policy_names_can_be_asked_for_and_no_word_of_it_is_the_requesters() {
    as_both(|| {
        let there = There::new();
        let written = there.path("work/arguments");
        there.program(
            "note",
            &format!("#!/bin/sh\nprintf '%s\\n' \"$@\" >> {}\nexec sh -c \"$1\"\n", written.display()),
        );
        let lines = "command = [\"note\", \"{remote}\", \"--at={workspace}\"]";
        let config = there.section("there", lines) + &there.section("other", lines);
        let Some(daemon) = there.daemon_with(&config, POLICY) else { return };
        let mut agent = client(&daemon);
        let work = there.work();
        for name in ["other", "missing", "there;id", "../there", "THERE", ""] {
            let asked = json!({"workspace": work, "launcher": name});
            assert!(agent.call("session/open", asked).is_err(), "{name:?}");
        }
        for more in [json!({"backend": "jail"}), json!({"backend": "docker"}), json!({"image": "x"})] {
            let mut asked = json!({"workspace": work, "launcher": "there"});
            asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            assert_eq!(code(agent.call("session/open", asked)), 1305);
        }
        let root = there.path("work").to_str().unwrap().to_owned();
        for workspace in [
            "/etc".to_owned(),
            format!("{root}/../home"),
            format!("{root}/w --evil"),
            format!("{root}/$(touch x)"),
            format!("{root}/w\n--evil"),
            format!("{root}/';id;'"),
            format!("{root}/{{name}}"),
            format!("{root}x"),
        ] {
            assert!(try_open(&mut agent, "there", &workspace).is_err(), "{workspace:?}");
        }
        assert!(!written.exists(), "nothing was started for any of them");
        open(&mut agent, &work);
        let text = fs::read_to_string(&written).unwrap();
        assert_eq!(text.lines().nth(1), Some(format!("--at={work}").as_str()), "{text}");
    });
}

#[test]
fn a_workspace_or_directory_that_is_a_link_there_is_refused_there() {
    as_both(|| {
        let there = There::new();
        let Some(daemon) = there.daemon("") else { return };
        std::os::unix::fs::symlink(there.path("private"), there.path("work/link")).unwrap();
        std::os::unix::fs::symlink(there.path("private"), there.path("work/w/out")).unwrap();
        fs::create_dir(there.path("work/w/in")).unwrap();
        give(&there.path("work/w/in"));
        let mut agent = client(&daemon);
        let link = there.path("work/link").to_str().unwrap().to_owned();
        let (code, message) = refused(try_open(&mut agent, "there", &link));
        assert!(code == 1500 && message.contains("open the workspace"), "{message}");
        let missing = there.path("work/none").to_str().unwrap().to_owned();
        assert!(try_open(&mut agent, "there", &missing).is_err());
        open(&mut agent, &there.work());
        let mut run = |id: &str, cwd: &str| {
            agent.call("exec/start", json!({"id": id, "cwd": cwd, "command": {"argv": ["pwd"]}}))?;
            agent.call("exec/wait", json!({ "id": id }))
        };
        assert_eq!(out(&run("in", "in").unwrap()), format!("{}/in", there.work()));
        for (id, cwd) in [("up", "in/../.."), ("up2", "/etc"), ("abs", &link)] {
            assert!(run(id, cwd).is_err(), "{cwd}");
        }
        for (id, cwd) in [("out", "out"), ("none", "none")] {
            let ended = run(id, cwd);
            let ran = ended.as_ref().is_ok_and(|done| done["report"]["code"] == 0);
            assert!(!ran, "{cwd}: {ended:?}");
        }
    });
}

#[test]
fn a_workspace_is_made_where_the_configuration_says_so() {
    as_both(|| {
        let there = There::new();
        let Some(daemon) = there.daemon("make = true") else { return };
        let mut agent = client(&daemon);
        let new = there.path("work/new/deep").to_str().unwrap().to_owned();
        open(&mut agent, &new);
        assert_eq!(out(&shell(&mut agent, "a", "touch x; pwd")), new);
        assert!(there.path("work/new/deep/x").exists());
    });
}

#[test]
fn shells_terminals_input_and_limits_are_as_in_the_jail() {
    as_both(|| {
        let there = There::new();
        let Some(daemon) = there.daemon("") else { return };
        let mut agent = client(&daemon);
        open(&mut agent, &there.work());
        let persist = |agent: &mut Client, id: &str, text: &str| {
            let command = json!({"id": id, "command": {"shell": text}, "persist": true});
            agent.call("exec/start", command).unwrap();
            agent.call("exec/wait", json!({ "id": id })).unwrap()
        };
        persist(&mut agent, "p1", "mkdir -p sub; cd sub; export KEPT=yes");
        let done = persist(&mut agent, "p2", "pwd; echo $KEPT");
        assert_eq!(out(&done), format!("{}/sub\nyes", there.work()));

        let tty = json!({"id": "t", "command": {"shell": "test -t 1 && stty size"}, "pty": {"rows": 30, "cols": 99}});
        agent.call("exec/start", tty).unwrap();
        let done = agent.call("exec/wait", json!({"id": "t"})).unwrap();
        assert_eq!(out(&done), "30 99", "{done}");

        let mark = format!("31{}", std::process::id());
        let slow = format!("setsid sleep {mark} & sleep {mark}");
        agent
            .call("exec/start", json!({"id": "slow", "command": {"shell": slow}, "timeout_ms": 300}))
            .unwrap();
        let done = agent.call("exec/wait", json!({"id": "slow"})).unwrap();
        assert!(done["report"]["outcome"].to_string().contains("time"), "{done}");
        assert_eq!(processes(&mark), Vec::<i32>::new());

        let many =
            json!({"id": "many", "command": {"shell": "head -c 3000000 /dev/zero | tr '\\0' x | wc -c"}});
        agent.call("exec/start", many).unwrap();
        assert_eq!(out(&agent.call("exec/wait", json!({"id": "many"})).unwrap()), "3000000");
    });
}

#[test]
fn everything_there_ends_with_the_session_and_with_the_daemon() {
    as_both(|| {
        let there = There::new();
        let Some(mut daemon) = there.daemon("") else { return };
        let mark = |which: u32| format!("4{which}{}", std::process::id());
        let mut agent = client(&daemon);
        let session = open(&mut agent, &there.work())["session"].clone();
        let start = |agent: &mut Client, id: &str, mark: &str| {
            let text = format!("(setsid sleep {mark} &) ; sleep {mark}");
            agent
                .call("exec/start", json!({"id": id, "command": {"shell": text}, "background": true}))
                .unwrap();
            until("it runs", || processes(mark).len() >= 2);
        };
        start(&mut agent, "a", &mark(1));
        agent.call("session/close", json!({ "session": session })).unwrap();
        until("it has ended with its session", || processes(&mark(1)).is_empty());
        let mut agent = client(&daemon);
        open(&mut agent, &there.work());
        start(&mut agent, "b", &mark(2));
        daemon.crash();
        until("it has ended with the daemon", || processes(&mark(2)).is_empty());
    });
}

#[test]
fn less_than_a_jail_is_refused_unless_the_policy_takes_it_and_says_what_is_missing() {
    as_both(|| {
        let there = There::new();
        // A place where nobody makes namespaces: as many as there may be have been made, and the last has an ordinary user.
        let Some(user) = crate::support::account::Account::user() else { return };
        let root = crate::daemon::is_root();
        let becomes = format!("setpriv --reuid {} --regid {} --clear-groups", user.uid, user.gid);
        let limited = format!(
            "echo 1 > /proc/sys/user/max_user_namespaces; exec unshare --user --map-user={} --map-group={} sh -c \"$1\"",
            user.uid, user.gid
        );
        let becomes = if root { becomes.as_str() } else { "" };
        there.program(
            "poor",
            &format!(
                "#!/bin/sh\nexec {becomes} unshare --user --map-root-user sh -c '{limited}' sh \"$1\"\n"
            ),
        );
        for name in ["home", "work", "work/w"].iter().filter(|_| root) {
            std::os::unix::fs::chown(there.path(name), Some(user.uid), Some(user.gid)).unwrap();
        }
        let config = there.section("there", "command = [\"poor\", \"{remote}\"]");
        let policy = format!("{POLICY}[profile.less]\nselectable = true\nminimum = \"landlock-seccomp\"\n");
        let Some(daemon) = there.daemon_with(&config, &policy) else { return };
        fs::write(there.path("private/key"), "CANARY").unwrap();
        fs::set_permissions(there.path("private"), Permissions::from_mode(0o755)).unwrap();
        let mut agent = client(&daemon);
        let (code, message) = refused(try_open(&mut agent, "there", &there.work()));
        assert!(code == 1500 && message.contains("namespace"), "{message}");
        let asked = json!({"workspace": there.work(), "launcher": "there", "profile": "less"});
        let opened = agent.call("session/open", asked).unwrap_or_else(|error| panic!("{error}"));
        for (name, enforced) in [
            ("landlock", true),
            ("seccomp", true),
            ("tree", true),
            ("pid-namespace", false),
            ("private-root", false),
        ] {
            assert_eq!(layer(&opened["receipt"], name), Some(enforced), "{name}: {opened}");
        }
        let p = there.path("").display().to_string();
        let text = format!(
            "cat {p}/private/key; ls {p}/home; touch {p}/work/escaped; pwd; touch made \"$HOME/x\" \"$TMPDIR/y\" && echo good"
        );
        let done = shell(&mut agent, "a", &text);
        assert_eq!(out(&done), format!("{}\ngood", there.work()), "{done}");
        assert!(!done.to_string().contains("CANARY") && !there.path("work/escaped").exists());
        let done = shell(&mut agent, "net", "exec 3<>/dev/tcp/127.0.0.1/22 && echo connected");
        let error = done["stderr"]["text"].as_str().unwrap();
        assert!(!error.is_empty() && !error.contains("refused"), "a socket was made: {done}");
        let mark = format!("51{}", std::process::id());
        let text = format!("setsid sleep {mark} >/dev/null 2>&1 & sleep {mark}");
        agent.call("exec/start", json!({"id": "b", "command": {"shell": text}, "timeout_ms": 500})).unwrap();
        agent.call("exec/wait", json!({"id": "b"})).unwrap();
        assert_eq!(processes(&mark), Vec::<i32>::new());
    });
}
