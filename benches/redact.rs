//! Redaction speed on a synthetic build log, in bytes per second: `cargo bench --bench redact`.
//!
//! `ordinary`: lines of compilers, package managers and test runners, a secret in every half mebibyte. `hostile`: nearly
//! every line has a literal that finds a candidate, and most of them are secrets.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use execward::redact::{Redactor, Rules, Secret};

const MIB: usize = 1 << 20;

const ORDINARY: &[&str] = &[
    "   Compiling serde_json v1.0.140 (https://github.com/serde-rs/json#7f0c5b1a)\n",
    "[ 42%] Building CXX object src/core/CMakeFiles/core.dir/tokenizer.cpp.o\n",
    "gcc -Wall -Wextra -O2 -g -fPIC -I../include -DHAVE_CONFIG_H -MT parse.lo -MD -MP -MF .deps/parse.Tpo -c parse.c -o parse.o\n",
    "test storage::tests::writes_are_visible_after_reopen ... ok\n",
    "Downloading https://files.pythonhosted.org/packages/2b/ab/numpy-2.1.0-cp312-cp312-manylinux_2_17_x86_64.whl (16.3 MB)\n",
    "warning: unused variable: `index`\n  --> src/lib/parser/expression.rs:412:13\n   |\n412 |         let index = self.position;\n",
    "npm warn deprecated glob@7.2.3: Glob versions prior to v9 are no longer supported\n",
    "2026-11-23T12:00:01.123456Z  INFO request{method=GET path=/api/v1/items}: finished status=200 latency_ms=12\n",
    "copying build/lib.linux-x86_64-cpython-312/package/module.py -> build/bdist.linux-x86_64/wheel/package\n",
    "drwxr-xr-x 2 user user 4096 Nov 23 12:00 keyboard-layouts\n",
    "ok  \tgithub.com/example/project/internal/authentication\t0.412s\tcoverage: 81.2% of statements\n",
    "  sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 extracting 28.1MB / 30.2MB\n",
];

fn key(index: usize, length: usize) -> String {
    const ALPHABET: &[u8] = b"k7Qm2ZxV9bTf4RnW8cHs1JpL6dYg3NqX5vKzBtMhDwEaGuCyAoSeFiPjUrOl0I";
    (0..length).map(|at| char::from(ALPHABET[(index * 7 + at * 13 + at * at) % ALPHABET.len()])).collect()
}

fn log(size: usize, secret_every: usize, lines: &[&str]) -> (String, u64) {
    let (mut log, mut secrets, mut line) = (String::with_capacity(size + 256), 0, 0);
    while log.len() < size {
        line += 1;
        log.push_str(lines[(line * 7 + line / 5) % lines.len()]);
        if log.len() / secret_every > secrets {
            secrets += 1;
            match secrets % 4 {
                0 => log.push_str(&format!("remote: https://x:ghp_{}@github.com/o/r\n", key(secrets, 36))),
                1 => log.push_str(&format!("export API_TOKEN={}\n", key(secrets, 24))),
                2 => log.push_str(&format!("Authorization: Bearer {}\n", key(secrets, 40))),
                _ => log.push_str(&format!("aws_access_key_id = AKIA{}\n", key(secrets, 16).to_uppercase())),
            }
        }
    }
    (log, secrets as u64)
}

fn run(redactor: &Redactor, log: &str, out: &mut Vec<u8>) -> u64 {
    let mut stream = redactor.stream();
    for chunk in log.as_bytes().chunks(64 << 10) {
        out.clear();
        stream.push(chunk, out);
        black_box(&out);
    }
    stream.finish(out);
    stream.masked()
}

fn bench(criterion: &mut Criterion) {
    let shapes = Redactor::new(&Rules::builtin(), Vec::new());
    let values = (0..8).map(|index| Secret::new(format!("SECRET_{index}"), key(index + 999, 24))).collect();
    let with_values = Redactor::new(&Rules::builtin(), values);
    let (ordinary, planted) = log(100 * MIB, MIB / 2, ORDINARY);
    let (hostile, _) =
        log(16 * MIB, 1, &["token: abc\n", "password = foo()\n", "https://user:pw\n", "eyJhbGci.x sk-abc\n"]);
    let mut out = Vec::with_capacity(2 * MIB);
    let found = run(&shapes, &ordinary, &mut out);
    assert!(found >= planted, "{found} of {planted} secrets were masked");

    let mut group = criterion.benchmark_group("redact");
    group.sample_size(10);
    for (name, redactor, log) in [
        ("ordinary", &shapes, &ordinary),
        ("ordinary, 8 values", &with_values, &ordinary),
        ("hostile", &shapes, &hostile),
    ] {
        group.throughput(Throughput::Bytes(log.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| run(redactor, log, &mut out));
        });
    }
    group.finish();
    criterion.bench_function("redact/start-up", |bencher| {
        bencher.iter(|| Redactor::new(black_box(&Rules::builtin()), Vec::new()));
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
