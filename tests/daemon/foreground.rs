//! `execward run` by way of a daemon that goes while its command runs, and the one that comes after it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::channel;
use std::thread;

use serde_json::{Value, json};

use super::people::agent;
use super::restart::start;
use super::*;

/// `execward run` in a workspace, by way of the daemon.
fn run(daemon: &Daemon, name: &str, arguments: &[&str]) -> Command {
    let mut command = owners(ground::execward());
    command.args(["run", "--socket"]).arg(daemon.socket("agent")).args(arguments);
    command.current_dir(daemon.workspace(me(), name)).stdin(Stdio::null());
    command
}

#[test]
fn a_client_in_the_foreground_goes_on_and_shows_each_byte_once() {
    as_both(|| {
        let Some(mut daemon) = start("") else { return };
        let text = "echo begun >> runs; for i in $(seq 1 400); do echo line $i; sleep 0.005; done; exit 7";
        let expected: String = (1..=400).map(|n| format!("line {n}\n")).collect();
        let workspace = PathBuf::from(daemon.workspace(me(), "w"));
        let runs = workspace.join("runs");
        // Collected, and by way of a terminal: what goes through the protocol outlives the daemon.
        let command = run(&daemon, "w", &["--json", "-c", text]).stdout(Stdio::piped()).spawn().unwrap();
        until("it runs", || runs.exists());
        daemon.crash();
        thread::sleep(Duration::from_millis(300));
        daemon.crash();
        let output = command.wait_with_output().unwrap();
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(7), "{result}");
        assert!(result["stdout"]["text"] == expected, "{result}");
        assert_eq!(fs::read_to_string(&runs).unwrap(), "begun\n", "it ran twice");
        fs::remove_file(&runs).unwrap();

        let line = format!(
            "{} run --socket {} -t -c '{text}'",
            ground::execward().display(),
            daemon.socket("agent").display()
        );
        if crate::support::tool("script") {
            let mut script = owners("script");
            script.args(["-q", "-e", "-c", &line, "/dev/null"]).current_dir(&workspace);
            let command =
                script.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            until("it runs", || runs.exists());
            daemon.crash();
            let output = command.wait_with_output().unwrap();
            let shown = String::from_utf8_lossy(&output.stdout).replace('\r', "");
            // What a terminal echoes of the end of its input stands before the first of them.
            let lines: Vec<&str> =
                shown.lines().filter_map(|line| Some(&line[line.find("line ")?..])).collect();
            assert!(lines == expected.lines().collect::<Vec<_>>(), "{shown}");
            assert!(shown.contains("the daemon has gone"), "{shown}");
            assert_eq!(output.status.code(), Some(7), "{shown}");
            assert_eq!(fs::read_to_string(&runs).unwrap(), "begun\n", "it ran twice");
        } else {
            skip("script", "there is none");
        }
        // Each end is on record once.
        until("the ends are on record", || daemon.records("end").len() >= 2);
        daemon.verify_log();
    });
}

#[test]
fn a_client_whose_descriptors_ended_with_the_daemon_is_told_how_its_command_ended() {
    as_both(|| {
        let Some(mut daemon) = start("") else { return };
        let text = "echo begun > runs; sleep 600";
        let mut command = run(&daemon, "w", &["-c", text]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        until("it runs", || Path::new(&daemon.workspace(me(), "w")).join("runs").exists());
        daemon.crash();
        let output = child.wait_with_output().unwrap();
        assert_ne!(output.status.code(), Some(0), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("a daemon is there again"), "{output:?}");
    });
}

#[test]
fn a_client_goes_to_no_daemon_of_somebody_else() {
    as_root(|| {
        let Some(mut daemon) = start("") else { return };
        let mut command = run(&daemon, "w", &["--json", "-c", "echo begun > runs; sleep 600"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        until("it runs", || Path::new(&daemon.workspace(me(), "w")).join("runs").exists());
        daemon.kill();
        let path = daemon.socket("agent");
        fs::remove_file(&path).unwrap();
        let run = daemon.path().join("run");
        chown(&run, Some(agent()), Some(agent())).unwrap();
        // Whoever could put a socket there would be asked for the session, and be told what it is called.
        let text = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\ns.listen()\nwhile True:\n c=s.accept()[0]\n f=c.makefile('rw')\n f.readline()\n f.write(sys.argv[2]+'\\n')\n f.flush()\n print(repr(f.read()), flush=True)";
        let welcome = json!({"jsonrpc": "2.0", "id": 0, "result": {"protocol": 1, "server": {"name": "x", "version": "1"},
            "principal": {"uid": 0, "gid": 0, "name": ""}, "role": "agent", "separation": "none", "limits": {"frame": 1, "depth": 1,
            "command": 1, "sessions": 1, "execs": 1, "requests": 1, "output": 1}, "methods": []}});
        let mut other = Command::new("python3");
        other.args(["-c", text]).arg(&path).arg(welcome.to_string()).uid(agent()).gid(agent());
        let mut other = other.stdout(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("uid") && output.status.code() == Some(125), "{output:?}");
        let mut first = String::new();
        BufReader::new(other.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(!first.contains("exec") && !first.contains("session"), "{first}");
        other.kill().unwrap();
        other.wait().unwrap();
        fs::remove_file(&path).unwrap();
        chown(&run, Some(0), Some(0)).unwrap();
        daemon.start_again();
    });
}

#[test]
fn a_client_whose_daemon_goes_before_it_says_that_the_command_runs_follows_it_by_the_next() {
    as_root(|| {
        let Some(mut daemon) = start("") else { return };
        let workspace = PathBuf::from(daemon.workspace(me(), "w"));
        let (socket, between) = (daemon.socket("agent"), daemon.path().join("between.sock"));
        let listener = UnixListener::bind(&between).unwrap();
        let mut command = owners(ground::execward());
        command.args(["run", "--json", "--socket"]).arg(&between);
        command
            .args(["-c", "echo begun >> runs; echo one; sleep 1; echo two; exit 7"])
            .current_dir(&workspace);
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();

        // What stands between lets everything through but the reply to the start: there the daemon goes.
        let client = accept(&listener);
        let server = UnixStream::connect(&socket).unwrap();
        let asked = pass_on(client.try_clone().unwrap(), server.try_clone().unwrap());
        for line in BufReader::new(&server).lines() {
            let line = line.unwrap();
            if line.contains("request_id") {
                break;
            }
            (&client).write_all(format!("{line}\n").as_bytes()).unwrap();
        }
        until("it runs", || workspace.join("runs").exists());
        daemon.crash();
        client.shutdown(std::net::Shutdown::Both).unwrap();
        asked.join().unwrap();
        let client = accept(&listener);
        let server = UnixStream::connect(&socket).unwrap();
        let asked = pass_on(client.try_clone().unwrap(), server.try_clone().unwrap());
        let answered = pass_on(server, client);

        let (told, result) = channel();
        thread::spawn(move || told.send(child.wait_with_output().unwrap()));
        let output = result.recv_timeout(PATIENCE).expect("it ends when its command has");
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(7), "{result}");
        assert_eq!(result["stdout"]["text"], "one\ntwo\n", "{result}");
        assert_eq!(fs::read_to_string(workspace.join("runs")).unwrap(), "begun\n", "it ran twice");
        asked.join().unwrap();
        answered.join().unwrap();
        until("its end is on record", || daemon.records("end").len() == 1);
    });
}

/// The next client, if one comes in time.
fn accept(listener: &UnixListener) -> UnixStream {
    listener.set_nonblocking(true).unwrap();
    let mut came = None;
    until("a client comes", || {
        came = listener.accept().ok();
        came.is_some()
    });
    let (client, _) = came.unwrap();
    client.set_nonblocking(false).unwrap();
    client
}

/// Passes everything on, one way, until either side has gone.
fn pass_on(mut from: UnixStream, mut to: UnixStream) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Both);
    })
}
