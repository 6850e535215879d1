//! Terminals of commands in a session.

use serde_json::{Value, json};

use super::{Daemon, Setup, as_both, code, me, until};
use crate::support::person::Person;

/// What a command has written so far.
fn text(client: &mut super::Client, id: &str) -> String {
    let read = client.call("exec/read", json!({"id": id, "max_bytes": 500_000})).unwrap();
    let chunks = read["chunks"].as_array().unwrap().iter();
    chunks
        .map(|chunk| {
            assert_eq!(chunk["stream"], "pty", "{chunk}");
            chunk["text"].as_str().unwrap_or_default().to_owned()
        })
        .collect()
}

fn write(client: &mut super::Client, id: &str, text: &str) {
    client.call("exec/write", json!({"id": id, "text": text})).unwrap();
}

#[test]
fn a_terminal_has_a_size_keys_and_one_stream() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        client.open(&daemon.workspace(me(), "w"));
        let script = "stty size; echo err >&2; trap 'stty size' WINCH; trap 'echo caught; exit 3' INT; echo up; while :; do sleep 0.1; done";
        client
        .call(
            "exec/start",
            json!({"id": "t", "command": {"argv": ["bash", "-c", script]}, "pty": {"rows": 31, "cols": 101},
                   "stdin": "pipe", "output": {"mode": "poll"}}),
        )
        .unwrap();
        until("it is up", || text(&mut client, "t").contains("31 101\r\nerr\r\nup\r\n"));
        client.call("exec/resize", json!({"id": "t", "rows": 4096, "cols": 1})).unwrap();
        until("it follows", || text(&mut client, "t").contains("4096 1\r\n"));
        write(&mut client, "t", "\u{3}");
        let report = client.exited("t");
        assert_eq!((&report["outcome"], &report["code"]), (&json!("exited"), &json!(3)));
        assert!(text(&mut client, "t").contains("^Ccaught\r\n"));
        assert_eq!(code(client.call("exec/resize", json!({"id": "t", "rows": 2, "cols": 2}))), 1201);
    });
}

#[test]
fn sizes_out_of_bounds_and_commands_without_a_terminal_are_refused() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        client.open(&daemon.workspace(me(), "w"));
        client.call("exec/start", json!({"id": "plain", "command": {"argv": ["sleep", "60"]}})).unwrap();
        assert_eq!(code(client.call("exec/resize", json!({"id": "plain", "rows": 2, "cols": 2}))), 1203);
        for (rows, cols) in [(0, 80), (24, 0), (4097, 80), (24, 65535), (-1, 80)] {
            let size = json!({"rows": rows, "cols": cols});
            let start = json!({"id": "x", "command": {"argv": ["true"]}, "pty": size});
            assert_eq!(code(client.call("exec/start", start)), -32602);
            assert_eq!(
                code(client.call("exec/resize", json!({"id": "plain", "rows": rows, "cols": cols}))),
                -32602
            );
        }
        client.call("exec/kill", json!({"id": "plain"})).unwrap();
    });
}

#[test]
fn two_terminals_of_a_session_do_not_see_each_other() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        client.open(&daemon.workspace(me(), "w"));
        let start = |id: &str, script: &str| {
            json!({"id": id, "command": {"argv": ["bash", "-c", script]}, "pty": {"rows": 24, "cols": 80},
               "stdin": "pipe", "output": {"mode": "poll"}})
        };
        client.call("exec/start", start("one", "tty; read -r x; echo got $x")).unwrap();
        until("one is up", || text(&mut client, "one").contains("/dev/pts/0\r\n"));
        client.call("exec/start", start("two", "tty; echo leak > /dev/pts/0; ls /dev/pts | wc -l")).unwrap();
        client.exited("two");
        assert_eq!(text(&mut client, "two"), "/dev/pts/0\r\nleak\r\n2\r\n");
        // One without a terminal has none to open.
        let done: Value =
            client.run("three", &["bash", "-c", "echo leak > /dev/pts/0; echo leak > /dev/tty; ls /dev/pts"]);
        assert_eq!(done["stdout"]["text"], "ptmx\n", "{done}");
        write(&mut client, "one", "this\n");
        client.exited("one");
        assert_eq!(text(&mut client, "one"), "/dev/pts/0\r\nthis\r\ngot this\r\n");
    });
}

#[test]
fn nothing_to_read_is_an_end_and_secrets_are_masked() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        client.open(&daemon.workspace(me(), "w"));
        let script = "cat; printf 'ghp_%s\\n' aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3z56";
        let start =
            json!({"id": "t", "command": {"argv": ["bash", "-c", script]}, "pty": {"rows": 24, "cols": 80}});
        client.call("exec/start", start).unwrap();
        let done = client.call("exec/wait", json!({"id": "t"})).unwrap();
        assert_eq!((&done["report"]["code"], &done["report"]["masked"]), (&json!(0), &json!(1)), "{done}");
        assert!(!done["stdout"]["text"].as_str().unwrap().contains("aB3dE5fG7hJ9"));
    });
}

#[test]
fn a_person_runs_a_shell_through_the_daemon() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let workspace = daemon.workspace(me(), "w");
        let mut client = daemon.client(me());
        let session = client.open(&workspace);
        for in_session in [false, true] {
            let mut person = Person::new(33, 99);
            let mut command = if in_session {
                daemon.execward(&["exec", "run", "--session", &session, "-t", "shell"])
            } else {
                daemon.execward(&["run", "-t"])
            };
            command.args(["--", "bash", "--norc", "--noprofile", "-i"]).current_dir(&workspace);
            let mut child = person.start(command);
            // What a person will type is not known before, and so is asked about.
            person.sees("an operator is being asked");
            assert!(person.is_cooked(), "Ctrl-C is still the person's own");
            let mut operator = daemon.operator();
            let waiting =
                operator.call("approval/list", json!({})).unwrap()["approvals"][0]["approval"].take();
            operator.call("approval/answer", json!({"approval": waiting, "answer": "once"})).unwrap();
            person.sees("$ ");
            assert!(!person.is_cooked());
            person.types("PS1='at''work> '; bind 'set enable-bracketed-paste off'\n");
            person.sees("atwork> ");
            person.types("stty size\n");
            person.sees("33 99");
            person.resizes(44, 111);
            person.types("until [ \"$(stty size)\" = '44 111' ]; do sleep 0.1; done; echo re''sized\n");
            person.sees("resized");
            person.sees("atwork> ");
            person.types("(trap 'echo re''sumed' CONT; echo up''1; while :; do :; done)\n");
            person.sees("up1");
            person.types("\x1a");
            person.sees("Stopped");
            person.sees("atwork> ");
            person.types("fg\n");
            person.sees("\r\nresumed");
            person.types("\x03");
            person.sees("atwork> ");
            person.types("exit 9\n");
            assert_eq!(person.waits(&mut child), Some(9), "{}", person.all());
            assert!(person.is_cooked());
        }
    });
}

#[test]
fn a_terminal_is_given_back_when_the_daemon_goes() {
    as_both(|| {
        let Some(mut daemon) = Daemon::start(Setup::default()) else { return };
        let mut person = Person::new(24, 80);
        let mut command = daemon.execward(&["run", "-t"]);
        command.args(["--", "bash", "-c", "echo up; sleep 1000"]).current_dir(daemon.workspace(me(), "w"));
        let mut child = person.start(command);
        person.sees("up");
        daemon.signal(libc::SIGKILL);
        daemon.ended();
        assert_eq!(person.waits(&mut child), Some(125), "{}", person.all());
        assert!(person.is_cooked());
    });
}
