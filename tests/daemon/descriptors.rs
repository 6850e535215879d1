//! Stdio that a client passes by descriptor: relayed and masked all the same, and harmless to everybody else.

use std::fs::File;
use std::io::{IoSlice, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde_json::json;

use super::*;

/// Sends a request with descriptors; its id.
fn send_with(client: &mut Client, method: &str, params: &Value, fds: &[BorrowedFd<'_>]) -> u64 {
    let line = client.line(method, params);
    let numbers: Vec<i32> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let sent = sendmsg::<()>(
        client.stream.as_raw_fd(),
        &[IoSlice::new(line.as_bytes())],
        &rights,
        MsgFlags::empty(),
        None,
    );
    assert_eq!(sent, Ok(line.len()));
    client.last
}

struct Pipes {
    stdin: PipeWriter,
    stdout: PipeReader,
    stderr: PipeReader,
}

/// Starts a command with three pipes.
fn start(client: &mut Client, id: &str, argv: &[&str]) -> Pipes {
    let (command_in, stdin) = std::io::pipe().unwrap();
    let (stdout, command_out) = std::io::pipe().unwrap();
    let (stderr, command_err) = std::io::pipe().unwrap();
    let params = json!({"id": id, "command": {"argv": argv}, "fds": ["stdin", "stdout", "stderr"]});
    let fds = [command_in.as_fd(), command_out.as_fd(), command_err.as_fd()];
    let sent = send_with(client, "exec/start", &params, &fds);
    client.reply(sent).unwrap();
    Pipes { stdin, stdout, stderr }
}

fn all(mut from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    bytes
}

fn null() -> File {
    File::options().read(true).write(true).open("/dev/null").unwrap()
}

#[test]
fn bytes_go_through_exactly_and_secrets_do_not() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let uid = if is_root() { ANN } else { me() };
        let mut client = daemon.client(uid);
        client.open(&daemon.workspace(uid, "w"));
        let before = daemon.descriptors();
        let Pipes { mut stdin, stdout, stderr } =
            start(&mut client, "cat", &["bash", "-c", "cat; echo err >&2; exit 5"]);
        let bytes: Vec<u8> = (0..3 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let sent = bytes.clone();
        let writing = std::thread::spawn(move || stdin.write_all(&sent));
        let received = all(stdout);
        assert!(received == bytes, "{} of {} bytes", received.len(), bytes.len());
        assert_eq!(all(stderr), b"err\n");
        writing.join().unwrap().unwrap();
        let report = client.exited("cat");
        assert_eq!((&report["outcome"], &report["code"]), (&json!("exited"), &json!(5)));
        // It went elsewhere, and is nobody else's to read or write.
        assert_eq!(code(client.call("exec/read", json!({"id": "cat"}))), 1204);
        assert_eq!(code(client.call("exec/write", json!({"id": "cat", "text": "x"}))), 1202);
        assert!(client.call("exec/wait", json!({"id": "cat"})).unwrap()["stdout"].is_null());

        let secret = "printf 'ghp_%s\\n' aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3z56";
        let Pipes { stdin, stdout, .. } = start(&mut client, "secret", &["bash", "-c", secret]);
        drop(stdin);
        let said = String::from_utf8(all(stdout)).unwrap();
        assert!(!said.contains("aB3dE5fG7hJ9") && said.ends_with('\n'), "{said}");
        assert_eq!(client.exited("secret")["masked"], 1);
        until("its descriptors are closed", || daemon.descriptors() <= before);
    });
}

#[test]
fn some_go_by_descriptor_and_the_rest_by_the_protocol() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        client.open(&daemon.workspace(me(), "w"));
        let (stdout, command_out) = std::io::pipe().unwrap();
        let argv = ["bash", "-c", "read -r x; echo out $x; echo err $x >&2"];
        let params = json!({"id": "a", "command": {"argv": argv}, "fds": ["stdout"], "stdin": "pipe"});
        let sent = send_with(&mut client, "exec/start", &params, &[command_out.as_fd()]);
        drop(command_out);
        client.reply(sent).unwrap();
        client.call("exec/write", json!({"id": "a", "text": "this\n", "end": true})).unwrap();
        assert_eq!(all(stdout), b"out this\n");
        let done = client.call("exec/wait", json!({"id": "a"})).unwrap();
        assert_eq!((&done["stderr"]["text"], &done["stdout"]), (&json!("err this\n"), &Value::Null));
    });
}

#[test]
fn descriptors_belong_to_their_line_and_to_no_other() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        client.open(&daemon.workspace(me(), "w"));
        let command = json!({"argv": ["echo", "x"]});
        // Named and not there; there and not named; too many; twice the same; opened for something else.
        let (reader, writer) = std::io::pipe().unwrap();
        let null = null();
        let cases: [(&[&str], &[BorrowedFd<'_>], i64); 6] = [
            (&["stdout"], &[], 1003),
            (&["stdout", "stderr"], &[writer.as_fd()], 1003),
            (&["stdout"], &[reader.as_fd()], 1003),
            (&["stdin"], &[writer.as_fd()], 1003),
            (&["stdout"], &[null.as_fd(); 5], 1003),
            (&["stdout", "stdout"], &[null.as_fd(); 2], -32602),
        ];
        for (names, fds, expected) in cases {
            let params = json!({"id": "x", "command": command, "fds": names});
            let sent = if fds.is_empty() {
                client.send("exec/start", &params)
            } else {
                send_with(&mut client, "exec/start", &params, fds)
            };
            assert_eq!(code(client.reply(sent)), expected, "{names:?}");
        }
        let params = json!({"id": "x", "command": command, "background": true, "fds": ["stdout"]});
        let sent = send_with(&mut client, "exec/start", &params, &[null.as_fd()]);
        assert_eq!(code(client.reply(sent)), -32602);
        for switch in ["/proc/self/oom_score_adj", "/proc/self/comm"] {
            let file = File::options().write(true).open(switch).unwrap();
            let params = json!({"id": "x", "command": command, "fds": ["stdout"]});
            let sent = send_with(&mut client, "exec/start", &params, &[file.as_fd()]);
            assert_eq!(code(client.reply(sent)), 1003, "{switch}");
        }
        // None of that started anything: the id is free.
        client.call("exec/start", json!({"id": "x", "command": command})).unwrap();
        // Three lines at once, the descriptor with the last.
        let first = client.line("session/list", &json!({}));
        let second = client.line("exec/list", &json!({}));
        client.stream.write_all(format!("{first}{second}").as_bytes()).unwrap();
        let params = json!({"id": "y", "command": command, "fds": ["stdout"]});
        let sent = send_with(&mut client, "exec/start", &params, &[writer.as_fd()]);
        drop(writer);
        client.reply(sent).unwrap();
        assert_eq!(all(reader), b"x\n");
    });
}

#[test]
fn a_flood_of_descriptors_is_closed_as_it_comes() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let uid = if is_root() { ANN } else { me() };
        let mut beside = daemon.client(me());
        beside.open(&daemon.workspace(me(), "beside"));
        let null = null();
        let before = daemon.descriptors();
        for round in 0..20 {
            let mut client = daemon.client(uid);
            let mut held = 0;
            for n in 0..1000 {
                let count = if n % 2 == 0 { 3 } else { 200 };
                let fds = vec![null.as_raw_fd(); count];
                // Half of it in a line that never ends.
                let bytes: &[u8] = if round % 2 == 0 {
                    b"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"session/list\"}\n"
                } else {
                    b"{"
                };
                let rights = [ControlMessage::ScmRights(&fds)];
                let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
                if sendmsg::<()>(client.stream.as_raw_fd(), &[IoSlice::new(bytes)], &rights, flags, None)
                    .is_err()
                {
                    break;
                }
                held = held.max(daemon.descriptors());
            }
            assert!(held < before + 40, "{held} descriptors are open, and {before} were");
            if round % 2 == 0 {
                // In the end it is told, and gone.
                let mut last = None;
                while let Some(message) = client.receive() {
                    last = Some(message);
                }
                assert!(last.is_none_or(|last| last["error"]["code"] == 1003 || last["id"] == 7));
            }
            assert_eq!(beside.run(&format!("r{round}"), &["echo", "x"])["stdout"]["text"], "x\n");
        }
        until("all of them are closed", || daemon.descriptors() <= before + 1);
        assert!(daemon.log().contains("descriptors came that nobody asked for"), "{}", daemon.log());
    });
}

#[test]
fn a_descriptor_that_nobody_reads_stops_its_own_command() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let uid = if is_root() { ANN } else { me() };
        let mut client = daemon.client(uid);
        client.open(&daemon.workspace(uid, "w"));
        let mut beside = daemon.client(me());
        beside.open(&daemon.workspace(me(), "beside"));
        let (before, memory) = (daemon.descriptors(), daemon.private_kib());
        let stuck: Vec<Pipes> =
            (0..6).map(|n| start(&mut client, &format!("yes{n}"), &["yes", "some words"])).collect();
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(beside.run("b", &["echo", "x"])["stdout"]["text"], "x\n");
        assert!(daemon.private_kib() < memory + (32 << 10));
        for n in 0..6 {
            let id = format!("yes{n}");
            client.call("exec/kill", json!({ "id": id })).unwrap();
            assert_eq!(client.exited(&id)["outcome"], "cancelled");
        }
        // Threads hang on the pipes still, and only until those are gone.
        drop(stuck);
        until("its descriptors are closed", || daemon.descriptors() <= before);
        // One that is closed ends the command, as it would a bare one.
        let Pipes { stdout, .. } = start(&mut client, "closed", &["yes"]);
        drop(stdout);
        let report = client.exited("closed");
        assert!(report["signal"] == 13, "{report}");
    });
}

#[test]
fn as_many_as_may_be_and_no_more() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut client = daemon.client(me());
        let null = null();
        let mut refused = 0;
        for session in 0..2 {
            let name = client.open(&daemon.workspace(me(), &format!("w{session}")));
            for n in 0..40 {
                let params = json!({"session": name, "id": format!("s{n}"), "command": {"argv": ["sleep", "100"]},
                                "fds": ["stdin", "stdout", "stderr"]});
                let sent = send_with(&mut client, "exec/start", &params, &[null.as_fd(); 3]);
                match client.reply(sent) {
                    Ok(_) => assert_eq!(refused, 0),
                    Err(error) => {
                        assert_eq!(error["code"], 1400, "{error}");
                        refused += 1;
                    }
                }
            }
        }
        assert_eq!(refused, 80 - 192 / 3);
    });
}

#[test]
fn the_command_line_passes_files_and_pipes() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let workspace = daemon.workspace(me(), "w");
        let path = daemon.path().join("in");
        let bytes: Vec<u8> =
            (0..2_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        fs::write(&path, &bytes).unwrap();
        let out = daemon.path().join("out");
        let status = daemon
            .execward(&["run"])
            .args(["--", "bash", "-c", "cat; exit 3"])
            .current_dir(&workspace)
            .stdin(File::open(&path).unwrap())
            .stdout(File::create(&out).unwrap())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(3));
        assert!(fs::read(&out).unwrap() == bytes, "all of it is there when the client has ended");
        let mut child = daemon
            .execward(&["run"])
            .args(["--", "yes"])
            .current_dir(&workspace)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut start = [0; 8];
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut start).unwrap();
        drop(stdout);
        assert_eq!(child.wait().unwrap().code(), Some(128 + 13));
    });
}
