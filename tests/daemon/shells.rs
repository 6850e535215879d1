//! What a session keeps between shell commands, what goes on in its background, and what another session has of either.

use serde_json::{Value, json};

use super::*;
use crate::support::tool;

/// Runs shell text that goes on where the last one ended.
fn persist(client: &mut Client, text: &str) -> Value {
    try_persist(client, text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn try_persist(client: &mut Client, text: &str) -> Result<Value, Value> {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let id = format!("p{}", NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    client.call("exec/start", json!({"id": id, "command": {"shell": text}, "persist": true}))?;
    client.call("exec/wait", json!({ "id": id }))
}

fn said(client: &mut Client, text: &str) -> String {
    let done = persist(client, text);
    done["stdout"]["text"].as_str().unwrap_or_else(|| panic!("{done}")).trim_end().to_owned()
}

const ALLOW: &str = "default = \"allow\"\n";

#[test]
fn directory_and_exported_variables_are_kept_when_asked() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup { policy: ALLOW, ..Setup::default() }) else { return };
        let mut client = daemon.client(me());
        let workspace = daemon.workspace(me(), "w");
        client.open(&workspace);
        let first = persist(
            &mut client,
            "mkdir -p 'a b/c'; cd 'a b/c'; export X=\"it's\n two\" Y=1; Z=3; f() { echo no; }; exit 7",
        );
        assert_eq!((&first["report"]["code"], first["report"].get("notes")), (&json!(7), None), "{first}");
        assert_eq!(
            said(&mut client, "pwd; printf '%s|' \"$X\" \"$Y\" \"$Z\" \"$(type -t f)\""),
            format!("{workspace}/a b/c\nit's\n two|1|||")
        );
        // A text with quotes, a comment and nothing else at its end, and messages that name its own lines.
        let failed = persist(&mut client, "true\nno-such-'quoted program' # it's");
        assert_eq!(failed["report"]["code"], 127);
        let message = failed["stderr"]["text"].as_str().unwrap();
        assert!(message.contains("line 2: no-such-quoted program"), "{message}");
        // Not asked for: nothing is used, and nothing is left.
        client
            .call("exec/start", json!({"id": "n", "command": {"shell": "pwd; echo $X; cd /; export Y=2"}}))
            .unwrap();
        assert_eq!(
            client.call("exec/wait", json!({"id": "n"})).unwrap()["stdout"]["text"],
            format!("{workspace}\n\n")
        );
        assert_eq!(said(&mut client, "echo $Y; unset Y; cd .."), "1");
        assert_eq!(said(&mut client, "pwd; echo ${Y-unset}"), format!("{workspace}/a b\nunset"));
        // An argv command begins there too; this command's own word stands over what was kept.
        let start = json!({"id": "argv", "command": {"argv": ["bash", "-c", "pwd; echo $X"]}, "persist": true, "env": {"X": "own"}});
        client.call("exec/start", start).unwrap();
        let done = client.call("exec/wait", json!({"id": "argv"})).unwrap();
        assert_eq!(done["stdout"]["text"], format!("{workspace}/a b\nown\n"));
        // A trap of its own, a command in place of the shell: said, and nothing changes but by an end that is reached.
        assert_eq!(said(&mut client, "trap 'echo bye' EXIT; cd c"), "bye");
        assert_eq!(said(&mut client, "pwd"), format!("{workspace}/a b/c"));
        for text in ["cd /; exec true", "cd /; kill -9 $$", "trap '' EXIT; cd /; exit"] {
            let done = persist(&mut client, text);
            assert!(
                done["report"]["notes"][0]
                    .as_str()
                    .is_some_and(|note| note.contains("keeps those from before")),
                "{done}"
            );
        }
        assert_eq!(said(&mut client, "pwd"), format!("{workspace}/a b/c"));
        // `set -e`, `set -u` and noise on the descriptor.
        persist(&mut client, "set -eu; export W=5; false; export W=6");
        assert_eq!(said(&mut client, "echo $W; printf 'noise' >&7 || true"), "5");
        assert_eq!(said(&mut client, "echo $W"), "5");
    });
}

#[test]
fn what_is_kept_is_filtered_and_is_what_the_gate_judges_by() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup { policy: ALLOW, ..Setup::default() }) else { return };
        let mut client = daemon.client(me());
        let workspace = daemon.workspace(me(), "w");
        client.open(&workspace);
        let evil = "mkdir -p bin; export PATH=$PWD/bin:/tmp:$PATH LD_PRELOAD=./x.so BASH_ENV=./rc ENV=./rc PYTHONPATH=. GIT_SSH_COMMAND=x \
                    API_TOKEN=abcdefghij0123456789 KEPT=1; f() { :; }; export -f f";
        persist(&mut client, evil);
        let environment = said(&mut client, "/usr/bin/env");
        let names: Vec<&str> = environment.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        for gone in ["LD_PRELOAD", "BASH_ENV", "ENV", "PYTHONPATH", "GIT_SSH_COMMAND", "API_TOKEN"] {
            assert!(!names.contains(&gone), "{gone} came through: {environment}");
        }
        assert!(!environment.contains("BASH_FUNC"), "{environment}");
        assert!(names.contains(&"KEPT"));
        let path = environment.lines().find_map(|line| line.strip_prefix("PATH=")).unwrap();
        assert!(
            path.split(':').all(|entry| entry.starts_with("/usr")
                || entry.starts_with("/bin")
                || entry.starts_with("/sbin")),
            "{path}"
        );
        // The gate knows them.
        persist(&mut client, "export TARGET=/ DEEP=/etc");
        for text in ["rm -rf $TARGET", "rm -rf \"$TARGET\"*"] {
            let refused = try_persist(&mut client, text).expect_err(text);
            assert_eq!(
                (&refused["code"], &refused["data"]["rule"]),
                (&json!(1300), &json!("hardline.delete-system")),
                "{text}: {refused}"
            );
        }
        // A directory outside is not kept, whoever names it.
        for text in ["cd /tmp", "cd /", "PWD=/etc; export PWD", "printf 'PWD=/etc\\0A=1\\0' >&7; exec true"] {
            let done = persist(&mut client, text);
            let note = done["report"]["notes"][0].as_str().unwrap_or_else(|| panic!("{text}: {done}"));
            assert!(note.contains("outside of the workspace"), "{text}: {note}");
            assert_eq!(said(&mut client, "pwd"), workspace, "{text}");
        }
        // One that is gone is an error with a way on; the session goes on.
        persist(&mut client, "mkdir gone; cd gone; rmdir ../gone");
        if let Err(error) = try_persist(&mut client, "pwd") {
            assert_eq!(error["code"], 1303, "{error}");
        }
        let start = json!({"id": "back", "command": {"shell": "pwd"}, "persist": true, "cwd": "."});
        client.call("exec/start", start).unwrap();
        assert_eq!(
            client.call("exec/wait", json!({"id": "back"})).unwrap()["stdout"]["text"],
            format!("{workspace}\n")
        );
        assert_eq!(said(&mut client, "pwd"), workspace);
        // More than there is room for is not kept in part.
        persist(&mut client, "export KEPT=1");
        let much = "for n in {1..9}; do export BIG$n=$(printf '%040000d' 0); done";
        assert!(
            persist(&mut client, much)["report"]["notes"][0]
                .as_str()
                .is_some_and(|note| note.contains("exports too much"))
        );
        assert_eq!(said(&mut client, "echo ${BIG1-none} $KEPT"), "none 1");
        // Another session knows nothing of it.
        let mut other = daemon.client(me());
        other.open(&daemon.workspace(me(), "v"));
        assert_eq!(said(&mut other, "echo ${KEPT-none}"), "none");
    });
}

/// Listens on a port of its session until it is ended.
const SERVER: &str = "import socket\ns = socket.create_server(('127.0.0.1', 8080))\nprint('up', flush=True)\nwhile True:\n    c, _ = s.accept()\n    c.sendall(b'hello')\n    c.close()\n";

fn start_server(client: &mut Client, workspace: &str) {
    fs::write(format!("{workspace}/server.py"), SERVER).unwrap();
    let start = json!({"id": "server", "command": {"argv": ["python3", "server.py"]}, "background": true, "output": {"mode": "poll"}});
    client.call("exec/start", start).unwrap();
    let read = client.call("exec/read", json!({"id": "server", "wait_ms": 60_000})).unwrap();
    assert_eq!(read["chunks"][0]["text"], "up\n", "{read}");
}

const ASK: &str = "exec 3<>/dev/tcp/127.0.0.1/8080 && cat <&3";

#[test]
fn a_background_command_serves_a_port_to_later_commands_of_its_session() {
    if !tool("python3") {
        return;
    }
    as_both(|| {
        let config = "[daemon]\nbackground = \"3s\"\n";
        let policy = "default = \"allow\"\n[limits]\ntime = \"3s\"\n";
        let Some(daemon) = Daemon::start(Setup { policy, config }) else { return };
        let mut client = daemon.client(me());
        let workspace = daemon.workspace(me(), "w");
        client.open(&workspace);
        start_server(&mut client, &workspace);
        for id in ["first", "second"] {
            assert_eq!(client.run(id, &["bash", "-c", ASK])["stdout"]["text"], "hello");
        }
        let listed = client.call("exec/list", json!({})).unwrap();
        assert!(
            listed["execs"]
                .as_array()
                .unwrap()
                .iter()
                .any(|it| it["id"] == "server" && it["state"] == "running"),
            "{listed}"
        );
        // Its lifetime is over by itself, and the port with it.
        let ended = client.call("exec/wait", json!({"id": "server", "wait_ms": 60_000})).unwrap();
        assert_eq!(ended["report"]["outcome"], "timed-out", "{ended}");
        assert_ne!(client.run("third", &["bash", "-c", ASK])["report"]["code"], 0);
    });
}

/// Each puts something up that a command of another session must not find, and how it is looked for: (name, what the one does
/// in the background, what the other does, whether a later command of the same session finds it).
const REACHES: &[(&str, &str, bool)] = &[
    ("port", "import socket; socket.create_connection(('127.0.0.1', 8080), 5); print('REACHED')", true),
    (
        "abstract",
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('\\0canary'); print('REACHED')",
        false,
    ),
    (
        "path",
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/tmp/canary.sock'); print('REACHED')",
        false,
    ),
    ("tmp", "print('REACHED' if open('/tmp/canary').read() else '')", true),
    ("home", "import os; print('REACHED' if open(os.environ['HOME'] + '/canary').read() else '')", true),
    ("shm", "print('REACHED' if open('/dev/shm/canary').read() else '')", true),
    ("workspace", "print('REACHED' if open(WORKSPACE + '/canary').read() else '')", true),
    ("write", "open(WORKSPACE + '/written', 'w').write('x'); print('REACHED')", true),
    (
        "sysv",
        "import ctypes; print('REACHED' if ctypes.CDLL(None).shmget(0x65786563, 0, 0) >= 0 else '')",
        true,
    ),
];

/// What a command of the session that is attacked puts up.
const PUT_UP: &str = "import ctypes, os, socket, time\nlibc = ctypes.CDLL(None)\nfor place in ('/tmp', os.environ['HOME'], '/dev/shm', '.'):\n    open(place + '/canary', 'w').write('secret')\nlibc.shmget(0x65786563, 4096, 0o1666)\na = socket.socket(socket.AF_UNIX); a.bind('\\0canary'); a.listen()\np = socket.socket(socket.AF_UNIX); p.bind('/tmp/canary.sock'); p.listen()\ns = socket.create_server(('127.0.0.1', 8080))\nprint('up', os.getpid(), flush=True)\ntime.sleep(600)\n";

#[test]
fn sessions_with_other_workspaces_reach_nothing_of_each_other() {
    if !tool("python3") {
        return;
    }
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup { policy: ALLOW, ..Setup::default() }) else { return };
        // The same user's: nothing but the sandbox stands between them.
        let [mut one, mut other] = [daemon.client(me()), daemon.client(me())];
        let workspaces = [daemon.workspace(me(), "one"), daemon.workspace(me(), "other")];
        one.open(&workspaces[0]);
        other.open(&workspaces[1]);
        fs::write(format!("{}/up.py", workspaces[0]), PUT_UP).unwrap();
        let start = json!({"id": "up", "command": {"argv": ["python3", "up.py"]}, "background": true, "output": {"mode": "poll"}});
        one.call("exec/start", start).unwrap();
        let up = one.call("exec/read", json!({"id": "up", "wait_ms": 60_000})).unwrap();
        assert!(up["chunks"][0]["text"].as_str().is_some_and(|text| text.starts_with("up ")), "{up}");
        for (name, attempt, shared) in REACHES {
            let attempt = format!("WORKSPACE = {:?}\n{attempt}", workspaces[0]);
            let reached = |client: &mut Client| {
                let done = client.run(name, &["python3", "-c", &attempt]);
                (done["stdout"]["text"].as_str().is_some_and(|text| text.contains("REACHED")), done)
            };
            // The control: what commands of one session share is found by the same attempt.
            if *shared {
                let (found, done) = reached(&mut one);
                assert!(found, "{name}: the attempt finds nothing where there is something: {done}");
            }
            let (found, done) = reached(&mut other);
            assert!(!found, "{name}: {done}");
        }
        assert!(!Path::new(&workspaces[0]).join("written-by-other").exists());
        // Processes: every number is tried, which is all that can be guessed.
        let count = "n=0\nfor p in $(seq 5000); do kill -0 $p 2>/dev/null && n=$((n+1)); [ -r /proc/$p/environ ] && n=$((n+1)); done\necho $n\n";
        fs::write(format!("{}/count.sh", workspaces[1]), count).unwrap();
        let alone = other.run("alone", &["bash", "count.sh"]);
        // Itself, by signal and by /proc; its init it may not signal.
        assert_eq!(alone["stdout"]["text"], "2\n", "{alone}");
        let ended = one.call("exec/wait", json!({"id": "up", "wait_ms": 0})).unwrap();
        assert!(ended.get("report").is_none_or(Value::is_null), "the victim has ended: {ended}");
        // Nor has one a command of the other by its name, whatever session it says it is in.
        assert_eq!(code(other.call("exec/kill", json!({"id": "up"}))), 1101);
    });
}
