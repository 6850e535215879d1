//! What a command in a container costs: in a warm session beside `docker exec` and `docker run`, and what opening a session
//! costs beside `docker run -d`; what ten sessions do in a second, and how fast 1 GiB of output comes, beside the jail.
//!
//! `cargo bench --bench docker [-- ROUNDS]`, as root with an engine and a static busybox. All take turns within each round, so
//! that a change of the machine's load hits them alike; compare ratios, not absolute figures. See benches/README.md.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, reason = "a report for a person")]

#[path = "support/daemon.rs"]
mod daemon;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use daemon::{Client, Daemon};

const IMAGE: &str = "execward-bench/busybox:1";

/// Sessions at once, for how long they run commands, how often, and what one writes.
const SESSIONS: usize = 10;
const SPELL: Duration = Duration::from_secs(3);
const TURNS: usize = 3;
const OUTPUT: usize = 1 << 30;

fn main() {
    // cargo passes `--bench`.
    let rounds: usize = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(30);
    if let Err(why) = make_image() {
        eprintln!("nothing is measured: {why}");
        return;
    }
    let policy = format!("default = \"allow\"\n[sandbox]\nimages = [{IMAGE:?}]\n");
    let daemon = Daemon::start("bench", "", Some(&policy));
    let workspace = daemon.workspace();
    let contained = || json!({"backend": "docker", "image": IMAGE});
    let (mut client, mut jail) = (daemon.client(), daemon.client());
    client.open(&workspace, contained());
    jail.open(&workspace, json!({}));
    let peer = docker(&["run", "--detach", "--network", "none", IMAGE, "sleep", "100000"]);
    let rows: [(&str, &mut dyn FnMut()); 4] = [
        ("execward, a command in a warm session", &mut || {
            client.run_true();
        }),
        ("the same in the jail", &mut || {
            jail.run_true();
        }),
        ("docker exec", &mut || drop(docker(&["exec", &peer, "true"]))),
        ("docker run --rm", &mut || drop(docker(&["run", "--rm", "--network", "none", IMAGE, "true"]))),
    ];
    compare("a command", rows, rounds);
    docker(&["rm", "--force", &peer]);

    let mut other = daemon.client();
    let rows: [(&str, &mut dyn FnMut()); 2] = [
        ("execward, session/open and session/close", &mut || {
            other.open(&workspace, contained());
            other.call("session/close", &json!({}));
        }),
        ("docker run -d and docker rm -f", &mut || {
            let id = docker(&["run", "--detach", "--network", "none", IMAGE, "sleep", "100000"]);
            docker(&["rm", "--force", &id]);
        }),
    ];
    compare("a session", rows, rounds.div_ceil(2));
    drop(daemon);
    beside_the_jail(&policy);

    let daemon = Daemon::start("pool", "[docker]\npool = 1\n", Some(&policy));
    let (workspace, mut client) = (daemon.workspace(), daemon.client());
    let mut times = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        client.open(&workspace, contained());
        times.push(start.elapsed());
        client.call("session/close", &json!({}));
        // Until the next one waits.
        std::thread::sleep(Duration::from_secs(2));
    }
    // The first had none to take.
    let mut times = times.split_off(1);
    times.sort();
    println!(
        "session/open from the pool: median {:.2?}, 90 % {:.2?}",
        times[times.len() / 2],
        times[times.len() * 9 / 10]
    );
    drop(daemon);
    docker(&["image", "rm", "--force", IMAGE]);
}

/// What containers do beside the jail, in turn: commands a second of several sessions at once, and the output of one command.
fn beside_the_jail(policy: &str) {
    let limits = format!("[limits]\nsessions = {}\n", 4 * SESSIONS);
    let daemon = Daemon::start("beside", &limits, Some(policy));
    let workspace = daemon.workspace();
    let sessions = |more: serde_json::Value| -> Vec<Client> {
        let one = |_| {
            let mut client = daemon.client();
            client.open(&workspace, more.clone());
            client
        };
        (0..SESSIONS).map(one).collect()
    };
    let mut contained = sessions(json!({"backend": "docker", "image": IMAGE}));
    let mut jailed = sessions(json!({}));
    let (mut rates, mut flows) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for round in 0..TURNS {
        for (clients, rates) in [&mut contained, &mut jailed].into_iter().zip(&mut rates) {
            rates.push(daemon::throughput(clients, SPELL, |client| _ = client.run_true()));
        }
        // Of one program that both have, so that nothing but the way out differs.
        let text = format!("head -c {OUTPUT} /dev/zero");
        for (clients, flows) in [&mut contained, &mut jailed].into_iter().zip(&mut flows) {
            let (took, _) = clients[0].stream(&format!("flow{round}"), &["/bin/sh", "-c", &text]);
            flows.push(OUTPUT as f64 / took.as_secs_f64() / 1e6);
        }
    }
    let median = |figures: &mut Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    println!("beside the jail, {TURNS} turns: medians, and the ratio");
    for (what, [ours, theirs]) in [
        (format!("commands a second over {SESSIONS} sessions"), &mut rates),
        (format!("MB/s of {} MiB of output", OUTPUT >> 20), &mut flows),
    ] {
        let (ours, theirs) = (median(ours), median(theirs));
        println!("  {what:<42} {ours:>9.0} {theirs:>9.0} {:>8.2}", ours / theirs);
    }
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
    for applet in ["true", "sleep", "sh", "head"] {
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
