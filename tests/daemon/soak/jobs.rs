//! Jobs, each run of which is told to a file: two that run so often, and one that is due by the clock.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::super::*;
use super::length;

/// The jobs, what they run, and how they may come out.
const JOBS: [(&str, &str, &[&str]); 3] = [
    ("well", "date +%s.%N >> ran", &["ok", "missed", "unknown", "failed"]),
    ("fails", "exit 3", &["failed", "missed", "unknown"]),
    ("clocked", "true", &["ok", "missed", "unknown", "failed"]),
];

pub(super) fn put_jobs(daemon: &Daemon) {
    for name in ["jobs", "told"] {
        let path = daemon.path().join(name);
        fs::create_dir(&path).unwrap();
        give(&path);
    }
    let workspace = daemon.workspace(me(), "jobs");
    let told = daemon.path().join("told").display().to_string();
    // The history that can be asked for holds all of them.
    let every = (length().as_secs() / 400).max(1);
    for (name, command, _) in JOBS {
        let when = if name == "clocked" {
            "cron = \"* * * * *\"".to_owned()
        } else {
            format!("every = \"{every}s\"")
        };
        let text = format!(
            "shell = \"{command}\"\nworkspace = \"{workspace}\"\n[schedule]\n{when}\nlate = \"1h\"\ncatch_up = \"once\"\n\
             [[deliver]]\nfile = \"{told}/{name}\"\n"
        );
        let path = daemon.path().join(format!("jobs/{name}.toml"));
        put(&path, &text);
        give(&path);
    }
    daemon.operator().call("policy/reload", json!({})).unwrap();
}

/// What was told of a job.
fn tales(daemon: &Daemon, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(daemon.path().join("told").join(name)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect()
}

/// How often the job has run that leaves a trace.
pub(super) fn runs_of_well(daemon: &Daemon) -> usize {
    let trace = Path::new(&daemon.workspace(me(), "jobs")).join("ran");
    fs::read_to_string(trace).unwrap_or_default().lines().count()
}

/// That somebody was told of what a clock that was set forward has skipped.
pub(super) fn the_step_was_told(daemon: &Daemon) {
    until("what the clock skipped is told", || {
        tales(daemon, "clocked").iter().any(|tale| {
            let reason = tale["reason"].as_str().unwrap_or_default();
            tale["state"] == "missed" && reason.starts_with("the clock was set forward")
        })
    });
}

/// Each run has ended, and has been told of; none has run twice.
pub(super) fn account_for_jobs(daemon: &Daemon) -> usize {
    let mut operator = daemon.operator();
    for (name, ..) in JOBS {
        operator.call("job/switch", json!({"job": name, "on": false})).unwrap();
    }
    let mut runs = Vec::new();
    until("no run is open", || {
        runs.clear();
        for (name, ..) in JOBS {
            let asked = json!({"job": name, "most": 1000});
            let of_it = operator.call("job/history", asked).unwrap()["runs"].take();
            runs.extend(of_it.as_array().unwrap().clone());
        }
        !runs.iter().any(|run| run["state"] == "scheduled" || run["state"] == "running")
    });
    let told = |name: &str| -> HashSet<Value> {
        tales(daemon, name).into_iter().map(|mut tale| tale["run"].take()).collect()
    };
    for run in &runs {
        let name = run["job"].as_str().unwrap();
        let (_, _, may) = JOBS.iter().find(|(job, ..)| *job == name).unwrap();
        assert!(may.contains(&run["state"].as_str().unwrap()), "{run}");
        until(&format!("it is told of {run}"), || told(name).contains(&run["run"]));
    }
    let of_well =
        |state: &str| runs.iter().filter(|run| run["job"] == "well" && run["state"] == state).count();
    let (lines, ok, begun) =
        (runs_of_well(daemon), of_well("ok"), of_well("ok") + of_well("unknown") + of_well("failed"));
    assert!((ok..=begun).contains(&lines), "{lines} lines of {ok} runs that ended well, of {begun}");
    let jobs = operator.call("job/list", json!({})).unwrap();
    assert_eq!(jobs["dead_letters"], 0, "{jobs}");
    runs.len()
}
