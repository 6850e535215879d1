//! What starting a confined command costs: `execward run -- true` beside a bare spawn and bubblewrap, interleaved.
//!
//! `cargo bench --bench launch [-- ROUNDS]`. The launchers take turns within each round, so that a change of the
//! machine's load hits all of them alike; compare ratios, not absolute figures. See benches/README.md.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    clippy::unwrap_used,
    reason = "a report for a person"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[path = "support/daemon.rs"]
#[allow(dead_code, reason = "other benches use more of it")]
mod daemon;

use daemon::Daemon;

const BWRAP: &str = "bwrap --unshare-all";

/// One way to start `true`.
struct Launcher {
    name: &'static str,
    argv: Vec<String>,
    times: Vec<Duration>,
}

impl Launcher {
    fn new(name: &'static str, argv: &[&str]) -> Self {
        Self { name, argv: argv.iter().map(|word| (*word).to_owned()).collect(), times: Vec::new() }
    }

    /// From spawn to reaped; `None` where it fails.
    fn once(&self) -> Option<Duration> {
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        let status = command.status().ok()?;
        let took = start.elapsed();
        status.success().then_some(took)
    }

    /// The time below which this share of the runs lies.
    fn quantile(&self, share: f64) -> Duration {
        let last = self.times.len() - 1;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index within the times"
        )]
        let index = (last as f64 * share).round() as usize;
        self.times[index.min(last)]
    }
}

fn main() {
    // cargo passes `--bench`.
    let rounds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(300);
    let workspace = workspace();
    std::env::set_current_dir(&workspace).expect("the workspace can be entered");
    let execward = env!("CARGO_BIN_EXE_execward");
    let daemon = Daemon::start("launch", "", None);
    let socket = daemon.socket().to_string_lossy().into_owned();
    let mut launchers = vec![
        Launcher::new("bare spawn", &["/bin/true"]),
        Launcher::new(BWRAP, &["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]),
        Launcher::new("execward run -- true", &[execward, "run", "--no-daemon", "--", "true"]),
        Launcher::new("execward run -c true", &[execward, "run", "--no-daemon", "-c", "true"]),
        Launcher::new("the same, with a daemon", &[execward, "run", "--socket", &socket, "--", "true"]),
    ];
    launchers.retain(|launcher| {
        let works = launcher.once().is_some();
        if !works {
            println!("left out, because it does not run here: {}", launcher.argv.join(" "));
        }
        works
    });
    for round in 0..rounds + 10 {
        for launcher in &mut launchers {
            let took = launcher.once().unwrap_or_else(|| panic!("{} failed once in a while", launcher.name));
            // The first rounds warm caches up.
            if round >= 10 {
                launcher.times.push(took);
            }
        }
    }
    for launcher in &mut launchers {
        launcher.times.sort_unstable();
    }
    report(&launchers, rounds);
    let _ = std::fs::remove_dir_all(workspace);
}

/// A directory that execward takes as a workspace without being told to.
fn workspace() -> std::path::PathBuf {
    let path = Path::new("/var/tmp").join(format!("execward-bench-{}", std::process::id()));
    std::fs::create_dir(&path).expect("/var/tmp is writable");
    path
}

fn report(launchers: &[Launcher], rounds: usize) {
    let Some(base) = launchers.first() else { return eprintln!("nothing runs here, not even /bin/true") };
    let bwrap = launchers.iter().find(|launcher| launcher.name == BWRAP);
    println!(
        "{rounds} rounds, spawn to reaped, milliseconds; ratios to the bare spawn, and of the medians to bubblewrap"
    );
    println!(
        "{:24} {:>8} {:>8} {:>8}   {:>7} {:>7} {:>7}   {:>7}",
        "", "min", "median", "p99", "min", "median", "p99", "bwrap"
    );
    for launcher in launchers {
        let shares = [0.0, 0.5, 0.99];
        let [min, median, p99] = shares.map(|share| launcher.quantile(share).as_secs_f64() * 1e3);
        let [rmin, rmedian, rp99] =
            shares.map(|share| launcher.quantile(share).as_secs_f64() / base.quantile(share).as_secs_f64());
        let to_bwrap = bwrap.map_or(f64::NAN, |bwrap| median / (bwrap.quantile(0.5).as_secs_f64() * 1e3));
        println!(
            "{:24} {min:8.2} {median:8.2} {p99:8.2}   {rmin:6.1}x {rmedian:6.1}x {rp99:6.1}x   {to_bwrap:6.2}x",
            launcher.name
        );
    }
}
