//! How a daemon begins, is told things, and ends.

use std::fs;
use std::time::Duration;

use serde_json::json;

use super::*;

#[test]
fn two_daemons_cannot_have_one_socket() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let second = Daemon::command(daemon.path()).status().unwrap();
        assert_eq!(second.code(), Some(2));
        assert!(daemon.log().contains("another daemon serves"), "{}", daemon.log());
        daemon.client(me()).open(&daemon.workspace(me(), "w"));
    });
}

#[test]
fn told_to_stop_it_lets_end_what_can_and_ends_the_rest() {
    as_both(|| {
        let Some(mut daemon) =
            Daemon::start(Setup { config: "[daemon]\nstop_grace = \"1s\"\n", ..Setup::default() })
        else {
            return;
        };
        let mut client = daemon.client(me());
        client.open(&daemon.workspace(me(), "w"));
        let soon = json!({"id": "soon", "command": {"argv": ["bash", "-c", "sleep 0.4; echo done"]}});
        client.call("exec/start", soon).unwrap();
        client.call("exec/start", json!({"id": "never", "command": {"argv": ["sleep", "1000"]}})).unwrap();
        daemon.signal(libc::SIGTERM);
        std::thread::sleep(Duration::from_millis(100));
        let late = json!({"id": "late", "command": {"argv": ["true"]}});
        assert_eq!(code(client.call("exec/start", late)), 1004);
        assert_eq!(client.exited("soon")["outcome"], "exited");
        assert_eq!(client.exited("never")["outcome"], "cancelled");
        while client.receive().is_some() {}
        assert_eq!(daemon.ended(), Some(0));
        assert!(!daemon.socket("agent").exists() && !daemon.socket("operator").exists());
        // The late one, too, is accounted for.
        let outcomes: Vec<Value> =
            daemon.records("decision").iter().map(|record| record["body"]["outcome"].clone()).collect();
        assert_eq!(outcomes, [json!("run"), json!("run"), json!("failed")]);
        assert_eq!(daemon.records("end").len(), 2);
        daemon.verify_log();
    });
}

#[test]
fn nothing_outlives_a_daemon_that_is_killed() {
    as_both(|| {
        let Some(mut daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        for n in 0..3 {
            client = daemon.client(me());
            client.open(&daemon.workspace(me(), &format!("w{n}")));
            let command = json!({"argv": ["bash", "-c", "trap '' TERM; setsid sleep 1000 & sleep 1000"]});
            client.call("exec/start", json!({"id": "s", "command": command, "background": true})).unwrap();
        }
        // Longer than a pool keeps a thread that has nothing to do: runners must not hang on one of those.
        std::thread::sleep(Duration::from_secs(11));
        assert_eq!(client.run("alive", &["echo", "x"])["stdout"]["text"], "x\n");
        let left = daemon.descendants();
        assert!(left.len() >= 9, "{left:?}");
        daemon.signal(libc::SIGKILL);
        let _ = daemon.ended();
        until("all of it is gone", || !left.iter().any(|pid| is_there(*pid)));
        // And the next one takes the place that it left.
        let mut second = Daemon::command(daemon.path()).spawn().unwrap();
        until("the next one serves", || UnixStream::connect(daemon.socket("agent")).is_ok());
        daemon.client(me()).open(&daemon.workspace(me(), "w0"));
        daemon.verify_log();
        terminate(&second);
        assert!(second.wait().unwrap().success());
    });
}

#[test]
fn what_it_says_is_json_or_has_the_journals_priorities_where_that_is_wanted() {
    use std::os::unix::fs::MetadataExt as _;
    as_both(|| {
        let Some(mut daemon) = Daemon::start(Setup::default()) else { return };
        daemon.signal(libc::SIGINT);
        assert_eq!(daemon.ended(), Some(0));
        let said = |command: &mut Command| {
            let before = daemon.log().len();
            let mut second = command.spawn().unwrap();
            until("it serves", || daemon.log().get(before..).is_some_and(|log| log.contains("serving")));
            terminate(&second);
            assert!(second.wait().unwrap().success());
            daemon.log().split_off(before)
        };
        let json = said(Daemon::command(daemon.path()).args(["--log", "json"]));
        let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        assert!(
            lines.iter().any(|line| line["level"] == "INFO" && line["fields"]["message"] == "serving"),
            "{json}"
        );
        let log = fs::metadata(daemon.path().join("log")).unwrap();
        let stream = format!("{}:{}", log.dev(), log.ino());
        let journal = said(Daemon::command(daemon.path()).env("JOURNAL_STREAM", stream));
        assert!(journal.lines().any(|line| line.starts_with("<6>") && line.contains("serving")), "{journal}");
        assert!(journal.lines().all(|line| line.starts_with('<')), "{journal}");
    });
}

#[test]
fn a_policy_is_read_again_and_a_wrong_one_is_not() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        client.open(&daemon.workspace(me(), "w"));
        let try_it = |client: &mut Client, id: &str| {
            client.call("exec/start", json!({"id": id, "command": {"argv": ["uname", "-a"]}}))
        };
        try_it(&mut client, "before").unwrap();
        let rule = "[[rule]]\nid = \"no.uname\"\nprogram = \"uname\"\ndecision = \"deny\"\nreason = \"not here\"\n\
                examples = [{ command = \"uname -a\", expect = \"deny\" }, { command = \"ls\", expect = \"allow\" }]\n";
        put(&daemon.path().join("policy.toml"), rule);
        daemon.signal(libc::SIGHUP);
        until("the rule holds", || daemon.log().contains("policy read again"));
        let refused = try_it(&mut client, "denied").unwrap_err();
        assert_eq!((&refused["code"], &refused["data"]["rule"]), (&json!(1300), &json!("no.uname")));
        for wrong in ["nonsense", &rule.replace("expect = \"deny\"", "expect = \"allow\"")] {
            put(&daemon.path().join("policy.toml"), wrong);
            let error = daemon.operator().call("policy/reload", json!({})).unwrap_err();
            assert_eq!(error["code"], 1502, "{error}");
        }
        assert_eq!(code(try_it(&mut client, "denied still")), -32602, "an id has no blanks");
        assert_eq!(code(try_it(&mut client, "denied-still")), 1300);
        assert_eq!(daemon.operator().call("policy/show", json!({})).unwrap()["rules"], 1);
        put(&daemon.path().join("policy.toml"), "");
        daemon.operator().call("policy/reload", json!({})).unwrap();
        try_it(&mut client, "allowed").unwrap();
    });
}

#[test]
fn a_configuration_with_a_mistake_starts_nothing() {
    as_both(|| {
        for (config, said) in
            [("[principal]\n", "unknown field"), ("[limits]\nsessions = -1\n", "invalid value")]
        {
            let directory = directory();
            fs::write(directory.path().join("execward.toml"), config).unwrap();
            fs::write(directory.path().join("policy.toml"), "").unwrap();
            assert_eq!(Daemon::command(directory.path()).status().unwrap().code(), Some(2));
            let log = fs::read_to_string(directory.path().join("log")).unwrap();
            assert!(log.contains(said), "{log}");
        }
    });
}

#[test]
fn no_record_no_run() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        let workspace = daemon.workspace(me(), "w");
        client.open(&workspace);
        client.run("before", &["true"]);
        fs::remove_file(daemon.path().join("state/audit/audit.jsonl")).unwrap();
        let start = json!({"id": "after", "command": {"argv": ["touch", "ran"]}});
        let refused = client.call("exec/start", start).unwrap_err();
        assert_eq!(refused["code"], 1501, "{refused}");
        assert!(!Path::new(&workspace).join("ran").exists());
    });
}

#[test]
fn systemd_may_make_the_sockets() {
    as_both(|| {
        let directory = directory();
        let path = directory.path().to_str().unwrap();
        // As systemd does it: descriptors from 3 on, and two variables that name them and the process.
        let socket = |name: &str| {
            let at = directory.path().join(format!("{name}.sock"));
            let socket = std::os::unix::net::UnixListener::bind(&at).unwrap();
            fs::set_permissions(&at, Permissions::from_mode(0o666)).unwrap();
            socket
        };
        let serve = |sockets: &[&std::os::unix::net::UnixListener]| {
            let mut child = owners("bash");
            // By way of descriptors that bash chooses: one of the two may be the number that the other goes to.
            let text = "exec {a}<&$3 {b}<&$4; exec env LISTEN_PID=$$ LISTEN_FDS=$2 \"$0\" serve --state \"$1\" \
                        3<&$a 4<&$b {a}<&- {b}<&- 2>>\"$1.log\"";
            child
                .args(["-c", text])
                .arg(ground::execward())
                .arg(format!("{path}/state"))
                .arg(sockets.len().to_string());
            for socket in sockets {
                use std::os::fd::AsRawFd as _;
                nix::fcntl::fcntl(socket, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))
                    .unwrap();
                child.arg(socket.as_raw_fd().to_string());
            }
            child.spawn().unwrap()
        };
        let (agent, operator, other) = (socket("agent"), socket("operator"), socket("other"));
        // Two of one kind, or one of none, are not the two sockets; and nothing is served by halves.
        for wrong in [[&agent, &agent], [&agent, &other], [&operator, &other]] {
            assert_eq!(serve(&wrong).wait().unwrap().code(), Some(2));
        }
        let log = fs::read_to_string(format!("{path}/state.log")).unwrap();
        assert!(log.contains("socket activation: a socket came twice"), "{log}");
        assert!(log.contains("neither agent.sock nor operator.sock"), "{log}");
        // In whichever order they come.
        for sockets in [[&agent, &operator], [&operator, &agent]] {
            let mut child = serve(&sockets);
            let mut client = Client::new(connect(&directory.path().join("agent.sock"), me()).unwrap());
            let welcome = client.call("hello", json!({"protocol": 1})).unwrap();
            assert_eq!((&welcome["role"], &welcome["principal"]["uid"]), (&json!("agent"), &json!(me())));
            let mut client = Client::new(connect(&directory.path().join("operator.sock"), me()).unwrap());
            assert_eq!(client.call("hello", json!({"protocol": 1})).unwrap()["role"], "operator");
            terminate(&child);
            assert!(child.wait().unwrap().success());
            assert!(directory.path().join("agent.sock").exists(), "it is systemd's");
        }
    });
}

#[test]
fn systemd_is_told_when_it_serves_and_when_it_stops() {
    as_both(|| {
        let directory = directory();
        put(&directory.path().join("execward.toml"), "");
        put(&directory.path().join("policy.toml"), "");
        let notified = directory.path().join("notify.sock");
        let socket = std::os::unix::net::UnixDatagram::bind(&notified).unwrap();
        give(&notified);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut child = Daemon::command(directory.path()).env("NOTIFY_SOCKET", &notified).spawn().unwrap();
        let told = || {
            let mut bytes = [0; 256];
            let count = socket.recv(&mut bytes).expect("it tells");
            String::from_utf8_lossy(&bytes[..count]).into_owned()
        };
        assert!(told().lines().any(|line| line == "READY=1"));
        // Ready is ready: nobody who is told so is turned away.
        UnixStream::connect(directory.path().join("run/agent.sock")).unwrap();
        terminate(&child);
        assert!(told().lines().any(|line| line == "STOPPING=1"));
        assert!(child.wait().unwrap().success());
    });
}

/// Tells a process of the test's own to stop.
fn terminate(child: &Child) {
    // SAFETY: plain numbers; it has not been waited for.
    #[allow(unsafe_code)]
    let sent = unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) };
    assert_eq!(sent, 0);
}
