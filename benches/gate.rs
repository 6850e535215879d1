//! How long a verdict takes: single commands, the whole committed corpus, and texts of growing size.
//!
//! The commands are judged and never run.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench that cannot read its corpus has nothing to measure"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use execward::gate::{Command, Facts};
use execward::policy::{Loader, Policy, Role};
use execward::shell::Dialect;

fn facts() -> Facts {
    let environment =
        [("HOME", "/home/user"), ("USER", "user"), ("SHELL", "/bin/bash"), ("PATH", "/usr/bin:/bin")];
    Facts {
        cwd: "/home/user/project".to_owned(),
        home: "/home/user".to_owned(),
        user: "user".to_owned(),
        uid: 1000,
        workspaces: vec!["/home/user/project".to_owned()],
        homes: BTreeMap::from([("root".to_owned(), "/root".to_owned())]),
        environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        dialect: Dialect::Bash,
        backend: "jail".to_owned(),
        profile: String::new(),
    }
}

fn corpus() -> Vec<Command> {
    commands(include_str!("../tests/corpus/gate.jsonl"))
}

fn commands(text: &str) -> Vec<Command> {
    let command = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["command"].as_str().unwrap().to_owned()
    };
    text.lines().map(|line| Command::Shell(command(line))).collect()
}

fn single(criterion: &mut Criterion) {
    let (policy, facts) = (Policy::builtin(), facts());
    let mut group = criterion.benchmark_group("judge");
    for (name, text) in [
        ("ls", "ls -la"),
        ("pipe", "make test 2>&1 | tail -n 20"),
        ("commit", "git add -A && git commit -m 'fix: a message of some length'"),
        ("rm-root", "sudo nice -n 5 rm -rf /usr"),
        ("nested", "bash -c \"sh -c 'find . -name x -exec rm {} +'\""),
    ] {
        let command = Command::Shell(text.to_owned());
        group.bench_function(name, |bencher| bencher.iter(|| policy.judge(black_box(&command), &facts)));
    }
    let commands = corpus();
    group.throughput(Throughput::Elements(u64::try_from(commands.len()).unwrap()));
    group.bench_function("corpus", |bencher| {
        bencher.iter(|| {
            commands.iter().map(|command| policy.judge(command, &facts).findings.len()).sum::<usize>()
        });
    });
    group.finish();
}

fn growth(criterion: &mut Criterion) {
    let (policy, facts) = (Policy::builtin(), facts());
    let mut group = criterion.benchmark_group("growth");
    group.sample_size(10);
    for kib in [8usize, 32, 128] {
        let text = "echo x && ".repeat(kib * 1024 / 10) + "true";
        group.throughput(Throughput::Bytes(u64::try_from(text.len()).unwrap()));
        let command = Command::Shell(text);
        group.bench_with_input(BenchmarkId::new("list", kib), &command, |bencher, command| {
            bencher.iter(|| policy.judge(command, &facts));
        });
    }
    for depth in [100usize, 10_000] {
        for (name, open, close) in [
            ("subshell", "(", ")"),
            ("substitution", "$(", ")"),
            ("brace", "{a,", "}"),
            ("quote", "\"$(", ")\""),
        ] {
            let text = format!("echo {}x{}", open.repeat(depth), close.repeat(depth));
            let command = Command::Shell(text);
            group.bench_with_input(BenchmarkId::new(name, depth), &command, |bencher, command| {
                bencher.iter(|| policy.judge(command, &facts));
            });
        }
    }
    group.finish();
}

fn load(criterion: &mut Criterion) {
    let text = include_str!("../policies/default.toml");
    criterion.bench_function("policy/load", |bencher| {
        bencher.iter(|| Policy::parse(black_box(text), "default.toml").unwrap());
    });
}

/// What the layer that execward replaces takes for a command, in nanoseconds: the figure that ratios are given to.
const PEER: u128 = 290_000;

/// What the variable `EXECWARD_CORPUS_FILE` names, a file of JSON lines with `command` or a directory of such files, or the
/// committed corpus.
fn given() -> Vec<Command> {
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    let text = match std::env::var_os("EXECWARD_CORPUS_FILE").map(std::path::PathBuf::from) {
        Some(path) if path.is_dir() => {
            let entries = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
            let files = entries.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
            files.map(|path| read(&path)).collect()
        }
        Some(path) => read(&path),
        None => include_str!("../tests/corpus/gate.jsonl").to_owned(),
    };
    commands(&text)
}

/// The fastest of several runs of each command, in nanoseconds, sorted.
fn fastest(policy: &Policy, commands: &[Command]) -> Vec<u128> {
    let facts = facts();
    let fastest = |command: &Command| {
        let run = |_| {
            let start = Instant::now();
            black_box(policy.judge(black_box(command), &facts));
            start.elapsed().as_nanos()
        };
        (0..20).map(run).min().unwrap_or_default()
    };
    let mut times: Vec<u128> = commands.iter().map(fastest).collect();
    times.sort_unstable();
    times
}

fn at(times: &[u128], percent: usize) -> u128 {
    times.get((times.len().saturating_sub(1)) * percent / 100).copied().unwrap_or(0)
}

fn percentiles(_: &mut Criterion) {
    let times = fastest(Policy::builtin(), &given());
    println!(
        "{} commands: min {} ns, median {} ns, p99 {} ns, max {} ns; the median is {:.3} of the {} us of the layer it replaces",
        times.len(),
        at(&times, 0),
        at(&times, 50),
        at(&times, 99),
        at(&times, 100),
        at(&times, 50) as f64 / PEER as f64,
        PEER / 1000
    );
}

/// A policy of a thousand rules: how long it takes to load, and what it costs for each command.
fn thousand(criterion: &mut Criterion) {
    let mut text = include_str!("../policies/default.toml").to_owned();
    for number in 0..1000 {
        let (rule, example) = match number % 3 {
            0 => (format!("program = \"tool{number}\""), format!("tool{number} x")),
            1 => (
                format!("effect = {{ delete = {{ path = \"/srv/data{number}/**\" }} }}"),
                format!("rm /srv/data{number}/a/b"),
            ),
            _ => (
                format!("program = \"tool{number}\"\narguments = {{ first = [\"drop\"] }}"),
                format!("tool{number} drop it"),
            ),
        };
        text.push_str(&format!(
            "\n[[rule]]\nid = \"made.rule-{number}\"\n{rule}\ndecision = \"ask\"\nreason = \"made\"\n\
             examples = [{{ command = \"{example}\", expect = \"ask\" }}]\n"
        ));
    }
    criterion.bench_function("policy/load-1000", |bencher| {
        bencher.iter(|| Policy::parse(black_box(&text), "large.toml").unwrap());
    });
    // As it is loaded when its examples were tried before.
    let tried = |_: &[u8; 32]| true;
    criterion.bench_function("policy/load-1000-tried", |bencher| {
        bencher.iter(|| {
            let loader = Loader { examples_hold: Some(&tried), ..Loader::new(Role::System) };
            loader.load(black_box(&text), "large.toml").unwrap()
        });
    });
    let (policy, facts, commands) = (Policy::parse(&text, "large.toml").unwrap(), facts(), corpus());
    let (small, large) = (fastest(Policy::builtin(), &given()), fastest(&policy, &given()));
    println!(
        "1,000 rules more: median {} ns, p99 {} ns, max {} ns; {:.2}, {:.2} and {:.2} times those of the default policy",
        at(&large, 50),
        at(&large, 99),
        at(&large, 100),
        at(&large, 50) as f64 / at(&small, 50) as f64,
        at(&large, 99) as f64 / at(&small, 99) as f64,
        at(&large, 100) as f64 / at(&small, 100) as f64
    );
    criterion.bench_function("judge/corpus-1000-rules", |bencher| {
        bencher.iter(|| {
            commands.iter().map(|command| policy.judge(command, &facts).findings.len()).sum::<usize>()
        });
    });
}

criterion_group!(benches, percentiles, single, growth, load, thousand);
criterion_main!(benches);
