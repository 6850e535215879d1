//! What the daemon costs: a command in a warm session beside a bare spawn, many clients at once, memory, output, decisions with
//! their durable records, and questions that wait.
//!
//! `cargo bench --bench pipeline [-- ROUNDS]`. Spawn and request take turns, so that a change of the machine's load hits
//! both alike; compare ratios, not absolute figures. See benches/README.md.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, reason = "a report for a person")]

#[path = "support/daemon.rs"]
mod daemon;

use std::fs;
use std::io::{IoSlice, Read};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde_json::json;

use daemon::{Client, Daemon, throughput};

/// How long commands are started for each number of clients.
const SPELL: Duration = Duration::from_secs(4);

/// Sessions that are open at once.
const MANY: usize = 190;

/// Bytes of output that go through the socket.
const OUTPUT: u64 = 1 << 30;

/// A policy that refuses, and asks, at no cost of its own.
const DECIDES: &str = "[[rule]]\nid = \"deny.who\"\nprogram = \"who\"\ndecision = \"deny\"\nreason = \"a bench\"\n\
    examples = [{ command = \"who\", expect = \"deny\" }]\n[[rule]]\nid = \"ask.uname\"\nprogram = \"uname\"\n\
    decision = \"ask\"\nreason = \"a bench\"\nexamples = [{ command = \"uname\", expect = \"ask\" }]\n\
    [approval]\ntimeout = \"10m\"\n";

/// Clients of this user, and their sessions, as many as are measured.
const LIMITS: &str = "[limits]\nsessions = 200\nconnections = 200\n";

/// Questions that wait, and sessions for them: a session has eight places.
const WAITING: usize = 1000;
const SESSIONS: usize = WAITING.div_ceil(8);

/// A client with a session that has run something.
fn session(daemon: &Daemon) -> Client {
    let mut client = daemon.client();
    client.open(&daemon.workspace(), json!({}));
    client.run_true();
    client
}

/// Private memory of a daemon and of everything below it, in KiB.
fn memory(daemon: &Daemon) -> (u64, u64) {
    let own = daemon.child.id();
    let below = descendants(own).into_iter().map(private_kib).sum();
    (private_kib(own), below)
}

impl Client {
    /// From the request to the end of all output, which goes into a pipe that this client has passed.
    fn through_pipe(&mut self, id: &str, text: &str) -> Duration {
        let (reader, writer) = std::io::pipe().unwrap();
        self.last += 1;
        let params = json!({"id": id, "command": {"argv": ["bash", "-c", text]}, "fds": ["stdout"]});
        let line = json!({"jsonrpc": "2.0", "id": self.last, "method": "exec/start", "params": params});
        let line = format!("{line}\n");
        let before = Instant::now();
        let fds = [writer.as_raw_fd()];
        let sent = sendmsg::<()>(
            self.stream.as_raw_fd(),
            &[IoSlice::new(line.as_bytes())],
            &[ControlMessage::ScmRights(&fds)],
            MsgFlags::empty(),
            None,
        );
        assert_eq!(sent, Ok(line.len()));
        drop(writer);
        swallow(reader);
        let took = before.elapsed();
        let end = format!("\"id\":\"{id}\"");
        let mut line = String::new();
        while !(line.contains("\"exec/closed\"") && line.contains(&end)) {
            self.line(&mut line);
        }
        took
    }

    /// From the request to the refusal of a command that nobody else has asked for.
    fn refusal(&mut self) -> Duration {
        let before = Instant::now();
        let own = format!("{}-{}", self.stream.as_raw_fd(), self.last);
        self.send("exec/start", &json!({"id": own, "command": {"argv": ["who", own]}}));
        let mut line = String::new();
        let id = format!("\"id\":{},", self.last);
        while !line.contains(&id) {
            self.line(&mut line);
        }
        assert!(line.contains("1300"), "{line}");
        before.elapsed()
    }
}

fn descendants(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            found.push(child);
            found.extend(descendants(child));
        }
    }
    found
}

fn private_kib(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    text.lines()
        // Clean pages are of the file that is executed; the kernel takes them back when it needs them.
        .filter(|line| line.starts_with("Private_Dirty"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum()
}

fn bare() -> Duration {
    let before = Instant::now();
    assert!(Command::new("/bin/true").stdin(Stdio::null()).status().unwrap().success());
    before.elapsed()
}

/// `true` in a sandbox of its own, where bubblewrap is there and works.
fn bubblewrap() -> Option<Duration> {
    let before = Instant::now();
    let mut bwrap = Command::new("bwrap");
    bwrap.args(["--unshare-all", "--ro-bind", "/", "/", "true"]).stdin(Stdio::null()).stderr(Stdio::null());
    bwrap.status().is_ok_and(|status| status.success()).then(|| before.elapsed())
}

fn report(name: &str, times: &mut [Duration], beside: Option<Duration>) -> Duration {
    times.sort_unstable();
    let at = |per_mille: usize| times[(times.len() - 1) * per_mille / 1000];
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let ratio = beside.map_or(String::new(), |beside| format!("  {:5.2}x", ms(at(500)) / ms(beside)));
    println!(
        "{name:<28} min {:7.3}  median {:7.3}  p99 {:7.3} ms{ratio}",
        ms(at(0)),
        ms(at(500)),
        ms(at(990))
    );
    at(500)
}

fn main() {
    // cargo passes `--bench`.
    let rounds: usize = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(1000);
    if std::env::args().any(|arg| arg == "decisions") {
        return decisions(rounds);
    }
    let daemon = Daemon::start("bench", LIMITS, None);
    std::thread::sleep(Duration::from_millis(300));
    let (idle, _) = memory(&daemon);

    let mut client = session(&daemon);
    let (mut spawns, mut requests, mut wrapped) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds + 20 {
        let (spawn, request) = (bare(), client.run_true());
        let bubble = bubblewrap();
        // The kernel takes its network namespace down by and by, which is not the next round's to pay.
        std::thread::sleep(Duration::from_millis(5));
        // The first rounds warm caches up.
        if round >= 20 {
            spawns.push(spawn);
            requests.push(request);
            wrapped.extend(bubble);
        }
    }
    println!("latency, {rounds} rounds:");
    let beside = report("bare spawn of true", &mut spawns, None);
    report("request -> result of true", &mut requests, Some(beside));
    if !wrapped.is_empty() {
        report("bwrap --unshare-all true", &mut wrapped, Some(beside));
    }
    let mut opened = Vec::new();
    for _ in 0..rounds.min(60) {
        let mut client = daemon.client();
        let before = Instant::now();
        client.open(&daemon.workspace(), json!({}));
        opened.push(before.elapsed());
        client.call("session/close", &json!({}));
    }
    report("session/open", &mut opened, Some(beside));

    println!("throughput:");
    let bare = throughput(&mut [(); 2], SPELL, |()| _ = bare());
    println!("  2 loops of bare spawns: {bare:7.0} commands/s");
    for count in [1, 8, 64] {
        let mut clients: Vec<Client> = (0..count).map(|_| session(&daemon)).collect();
        let rate = throughput(&mut clients, SPELL, |client| _ = client.run_true());
        println!("{count:>3} clients: {rate:7.0} commands/s  {:5.2}x", rate / bare);
        for client in &mut clients {
            client.call("session/close", &json!({}));
        }
    }
    let mut clients: Vec<Client> = (0..MANY).map(|_| session(&daemon)).collect();
    let mut requests: Vec<Duration> = (0..5).flat_map(|_| 0..MANY).map(|it| clients[it].run_true()).collect();
    println!("{MANY} sessions open, each asked in turn:");
    report("request -> result of true", &mut requests, Some(beside));
    for client in &mut clients {
        client.call("session/close", &json!({}));
    }
    drop(clients);

    println!("memory, private and dirty:");
    client.call("session/close", &json!({}));
    std::thread::sleep(Duration::from_millis(300));
    let (empty, _) = memory(&daemon);
    let sessions: Vec<Client> = (0..20).map(|_| session(&daemon)).collect();
    std::thread::sleep(Duration::from_millis(300));
    let (with, runners) = memory(&daemon);
    let each = (with.saturating_sub(empty) + runners) / sessions.len() as u64;
    println!(
        "idle daemon {idle} KiB as started, {empty} KiB after the above; idle session {each} KiB, of which in its"
    );
    println!("runner {} KiB", runners / sessions.len() as u64);
    drop(sessions);

    let mut client = session(&daemon);
    for (name, argv) in [
        ("text", format!("yes '0123456789 some words of output, as programs write them' | head -c {OUTPUT}")),
        ("binary", format!("head -c {OUTPUT} /dev/zero | tr '\\0' '\\377'")),
    ] {
        let (took, received) = client.stream(name, &["bash", "-c", &argv]);
        let took = took.as_secs_f64();
        println!(
            "output, {name}: {:.2} GB/s of the command's bytes, {:.2} GB/s on the socket",
            OUTPUT as f64 / took / 1e9,
            received as f64 / took / 1e9
        );
        let passed = client.through_pipe(&format!("{name}-passed"), &argv);
        let bare = bare_output(&argv);
        let speed = |took: Duration| OUTPUT as f64 / took.as_secs_f64() / 1e9;
        println!(
            "output, {name}: {:.2} GB/s through a passed descriptor, {:.2} GB/s bare  {:5.2}x",
            speed(passed),
            speed(bare),
            passed.as_secs_f64() / bare.as_secs_f64()
        );
    }
}

/// What a decision with its durable record costs. A command that is refused costs these and the protocol, and nothing else;
/// `session/get` costs the protocol alone. Each is refused for another text, so that each has a record of its own.
fn decisions(rounds: usize) {
    let daemon = Daemon::start("decisions", LIMITS, Some(DECIDES));
    let mut client = session(&daemon);
    let (mut asked, mut refused, mut added) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds + 20 {
        let before = Instant::now();
        client.call("session/get", &json!({}));
        let get = before.elapsed();
        let refusal = client.refusal();
        if round >= 20 {
            asked.push(get);
            refused.push(refusal);
            added.push(refusal.saturating_sub(get));
        }
    }
    println!("decision and durable record, {rounds} rounds:");
    let beside = report("session/get", &mut asked, None);
    report("refused exec/start", &mut refused, Some(beside));
    report("the difference", &mut added, None);
    for count in [8, 64] {
        let mut clients: Vec<Client> = (0..count).map(|_| session(&daemon)).collect();
        let rate = throughput(&mut clients, SPELL, |client| _ = client.refusal());
        println!("{count:>3} clients: {rate:7.0} decisions/s");
        for client in &mut clients {
            client.call("session/close", &json!({}));
        }
    }
    let mut sessions: Vec<Client> = (0..SESSIONS).map(|_| session(&daemon)).collect();
    std::thread::sleep(Duration::from_millis(500));
    let (own, below) = memory(&daemon);
    for number in 0..WAITING {
        let client = &mut sessions[number / 8];
        let state = client
            .call("exec/start", &json!({"id": format!("q{number}"), "command": {"argv": ["uname", "-s"]}}));
        assert_eq!(state["state"], "waiting", "{state}");
    }
    std::thread::sleep(Duration::from_millis(500));
    let (with, runners) = memory(&daemon);
    println!(
        "{WAITING} questions wait: {} KiB more in the daemon, {} KiB more in the runners of {SESSIONS} sessions",
        with.saturating_sub(own),
        runners.saturating_sub(below)
    );
}

/// Reads everything, and fails where that is not all of it.
fn swallow(mut from: impl Read) {
    let (mut buffer, mut received) = (vec![0; 256 << 10], 0_u64);
    loop {
        match from.read(&mut buffer).unwrap() {
            0 => break,
            count => received += count as u64,
        }
    }
    assert_eq!(received, OUTPUT);
}

/// The same command without execward.
fn bare_output(text: &str) -> Duration {
    let before = Instant::now();
    let mut child = Command::new("bash").args(["-c", text]).stdout(Stdio::piped()).spawn().unwrap();
    swallow(child.stdout.take().unwrap());
    assert!(child.wait().unwrap().success());
    before.elapsed()
}
