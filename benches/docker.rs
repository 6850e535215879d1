//! What a command in a container costs: in a warm session beside `docker exec` and `docker run`, and what opening a session
//! costs beside `docker run -d`.
//!
//! `cargo bench --bench docker [-- ROUNDS]`, as root with an engine and a static busybox. All take turns within each round, so
//! that a change of the machine's load hits them alike; compare ratios, not absolute figures. See benches/README.md.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, reason = "a report for a person")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const IMAGE: &str = "execward-bench/busybox:1";

fn main() {
    // cargo passes `--bench`.
    let rounds: usize = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(30);
    if let Err(why) = make_image() {
        eprintln!("nothing is measured: {why}");
        return;
    }
    let daemon = Daemon::start();
    let mut client = Client::connect(&daemon.directory);
    client.open(&daemon.directory.join("work"));
    let mut jail = Client::connect(&daemon.directory);
    jail.call("session/open", &json!({"workspace": daemon.directory.join("work")}));
    let peer = docker(&["run", "--detach", "--network", "none", IMAGE, "sleep", "100000"]);
    let rows: [(&str, &mut dyn FnMut()); 4] = [
        ("execward, a command in a warm session", &mut || client.run_true()),
        ("the same in the jail", &mut || jail.run_true()),
        ("docker exec", &mut || drop(docker(&["exec", &peer, "true"]))),
        ("docker run --rm", &mut || drop(docker(&["run", "--rm", "--network", "none", IMAGE, "true"]))),
    ];
    compare("a command", rows, rounds);
    docker(&["rm", "--force", &peer]);

    let mut other = Client::connect(&daemon.directory);
    let workspace = daemon.directory.join("work");
    let rows: [(&str, &mut dyn FnMut()); 2] = [
        ("execward, session/open and session/close", &mut || {
            other.open(&workspace);
            other.call("session/close", &json!({}));
        }),
        ("docker run -d and docker rm -f", &mut || {
            let id = docker(&["run", "--detach", "--network", "none", IMAGE, "sleep", "100000"]);
            docker(&["rm", "--force", &id]);
        }),
    ];
    compare("a session", rows, rounds.div_ceil(2));
    docker(&["image", "rm", "--force", IMAGE]);
}

/// Has each take its turn in each round, and prints medians and how many times the first fits into them.
fn compare<const N: usize>(what: &str, mut rows: [(&str, &mut dyn FnMut()); N], rounds: usize) {
    let mut times = vec![Vec::new(); N];
    for round in 0..=rounds {
        for (row, times) in rows.iter_mut().zip(&mut times) {
            let start = Instant::now();
            (row.1)();
            // The first round warms up.
            if round > 0 {
                times.push(start.elapsed());
            }
        }
    }
    println!("{what}, {rounds} rounds: median, 90 %, ratio of the medians");
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let first = median(&mut times[0]);
    for (row, times) in rows.iter().zip(&mut times) {
        let (middle, late) = (median(times), times[times.len() * 9 / 10]);
        let ratio = middle.as_secs_f64() / first.as_secs_f64();
        println!("  {:<42} {middle:>12.2?} {late:>12.2?} {ratio:>8.1}", row.0);
    }
}

/// Runs the engine's client, which must succeed; what it printed.
fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// An image of a static busybox.
fn make_image() -> Result<(), String> {
    let version = Command::new("docker").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        return Err("no Docker engine answers".to_owned());
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let busybox = busybox.ok_or("no static busybox is installed")?;
    let tree = tempfile::tempdir().unwrap();
    let bin = tree.path().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::copy(busybox, bin.join("busybox")).unwrap();
    for applet in ["true", "sleep", "sh"] {
        std::os::unix::fs::symlink("busybox", bin.join(applet)).unwrap();
    }
    let tar = Command::new("tar").arg("-C").arg(tree.path()).args(["-c", "."]).output().unwrap();
    let mut import = Command::new("docker")
        .args(["import", "-", IMAGE])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    import.stdin.take().unwrap().write_all(&tar.stdout).unwrap();
    import.wait().unwrap().success().then_some(()).ok_or("the image cannot be made".to_owned())
}

struct Daemon {
    directory: PathBuf,
    child: Child,
}

impl Daemon {
    fn start() -> Self {
        let directory = PathBuf::from(format!("/var/tmp/execward-bench-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(directory.join("work")).unwrap();
        fs::write(directory.join("execward.toml"), "").unwrap();
        let policy = format!("default = \"allow\"\n[sandbox]\nimages = [{IMAGE:?}]\n");
        fs::write(directory.join("policy.toml"), policy).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_execward"))
            .arg("serve")
            .args(["--socket-dir".into(), directory.join("run")])
            .args(["--state".into(), directory.join("state")])
            .args(["--config".into(), directory.join("execward.toml")])
            .args(["--policy".into(), directory.join("policy.toml")])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Self { directory, child };
        while UnixStream::connect(daemon.directory.join("run/agent.sock")).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // SAFETY: plain numbers; the child has not been waited for.
        #[allow(unsafe_code)]
        unsafe {
            libc::kill(self.child.id().cast_signed(), libc::SIGTERM)
        };
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

struct Client {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
    last: u64,
}

impl Client {
    fn connect(directory: &Path) -> Self {
        let stream = UnixStream::connect(directory.join("run/agent.sock")).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        let mut client = Self { stream, reader, last: 0 };
        client.call("hello", &json!({"protocol": 1}));
        client
    }

    fn open(&mut self, workspace: &Path) {
        let asked = json!({"workspace": workspace, "backend": "docker", "image": IMAGE});
        assert!(self.call("session/open", &asked)["session"].is_string());
    }

    fn run_true(&mut self) {
        let id = format!("c{}", self.last);
        self.call("exec/start", &json!({"id": id, "command": {"argv": ["true"]}}));
        let ended = self.call("exec/wait", &json!({ "id": id }));
        assert_eq!(ended["report"]["code"], 0, "{ended}");
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.last += 1;
        let request = json!({"jsonrpc": "2.0", "id": self.last, "method": method, "params": params});
        self.stream.write_all(format!("{request}\n").as_bytes()).unwrap();
        loop {
            let mut line = String::new();
            assert!(self.reader.read_line(&mut line).unwrap() > 0, "the daemon has gone");
            let mut message: Value = serde_json::from_str(&line).unwrap();
            if message["id"] == self.last {
                assert!(message.get("error").is_none(), "{message}");
                return message["result"].take();
            }
        }
    }
}
