//! What work costs inside: a compiler that runs for seconds, and output that flows by the gibibyte, beside the same outside.
//!
//! `cargo bench --bench work [-- ROUNDS]`. Inside and outside take turns. The compiler is the host's `cc`, its source a program that
//! is written here, of many functions; output is read through a pipe as a client would. See benches/README.md.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a report for a person")]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Functions of the source that is compiled.
const FUNCTIONS: usize = 3000;

/// Bytes of output.
const OUTPUT: usize = 1 << 30;

fn main() {
    let rounds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(5);
    let place = Place::make();
    println!("{rounds} rounds, inside and outside in turn");
    compile(&place, rounds);
    flow(&place, rounds, "1 GiB by cat", OUTPUT, &["cat", "output"]);
    // What a program writes that flushes each line.
    flow(
        &place,
        rounds,
        "128 MiB, each line written",
        OUTPUT / 8,
        &["dd", "if=output", "bs=200", "status=none"],
    );
}

/// A workspace of the bench's own.
struct Place(PathBuf);

impl Place {
    fn make() -> Self {
        let path = Path::new("/var/tmp").join(format!("execward-work-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Runs it, inside or outside, and has `read` take its output; seconds from spawn to the end.
    fn time(&self, inside: bool, argv: &[&str], mut read: impl FnMut(&mut dyn Read)) -> f64 {
        let execward = [env!("CARGO_BIN_EXE_execward"), "run", "--no-daemon", "--"];
        let argv: Vec<&str> =
            execward.into_iter().take(4 * usize::from(inside)).chain(argv.iter().copied()).collect();
        let mut command = Command::new(argv[0]);
        command.args(&argv[1..]).current_dir(&self.0).stdin(Stdio::null()).stdout(Stdio::piped());
        let begun = Instant::now();
        let mut child = command.spawn().unwrap();
        read(child.stdout.as_mut().unwrap());
        assert!(child.wait().unwrap().success(), "{argv:?}");
        begun.elapsed().as_secs_f64()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn compile(place: &Place, rounds: usize) {
    let mut source = String::from("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n");
    for number in 0..FUNCTIONS {
        writeln!(
            source,
            "static int f{number}(int n, char *s) {{ char b[64]; int i, t = n; for (i = 0; i < n; i++) {{ t = t * 31 + s[i % 7]; \
             if (t % {}) snprintf(b, sizeof b, \"%d %s\", t, s); else memset(b, t, sizeof b); t ^= b[i % 64]; }} return t; }}",
            number % 97 + 2
        )
        .unwrap();
    }
    source.push_str("int main(int c, char **v) { int t = 0;\n");
    (0..FUNCTIONS).for_each(|number| writeln!(source, "t += f{number}(c, v[0]);").unwrap());
    source.push_str("return t & 1; }\n");
    fs::write(place.0.join("work.c"), source).unwrap();
    let times =
        turns(rounds, |inside| place.time(inside, &["cc", "-O1", "-c", "work.c", "-o", "work.o"], drain));
    report("cc -O1, seconds", &times);
}

fn flow(place: &Place, rounds: usize, name: &str, most: usize, argv: &[&str]) {
    const LINE: usize = 200;
    let mut file = File::create(place.0.join("output")).unwrap();
    let mut text = b"compiling module number 1234 of the project, nothing to see here ".repeat(4);
    text.truncate(LINE - 1);
    text.push(b'\n');
    let block = text.repeat((1 << 20) / LINE);
    let whole = most / block.len();
    (0..whole).for_each(|_| file.write_all(&block).unwrap());
    let bytes = whole * block.len();
    let rates = turns(rounds, |inside| {
        let mut came = 0;
        let took = place.time(inside, argv, |from| came = count(from));
        assert_eq!(came, bytes);
        bytes as f64 / took / 1e9
    });
    report(&format!("{name}, GB/s"), &rates);
}

fn drain(from: &mut dyn Read) {
    count(from);
}

fn count(from: &mut dyn Read) -> usize {
    let mut buffer = vec![0; 1 << 16];
    std::iter::from_fn(|| Some(from.read(&mut buffer).unwrap()).filter(|count| *count > 0)).sum()
}

/// What it measures outside and inside, sorted.
fn turns(rounds: usize, mut once: impl FnMut(bool) -> f64) -> [Vec<f64>; 2] {
    // These warm caches up.
    let _ = [false, true].map(&mut once);
    let mut found = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (inside, found) in [false, true].into_iter().zip(&mut found) {
            found.push(once(inside));
        }
    }
    found.iter_mut().for_each(|found| found.sort_by(f64::total_cmp));
    found
}

fn report(name: &str, [outside, inside]: &[Vec<f64>; 2]) {
    let shares = |found: &[f64]| [found[0], found[found.len() / 2], found[found.len() - 1]];
    let ([low, median, high], [in_low, in_median, in_high]) = (shares(outside), shares(inside));
    println!(
        "{name:32} outside {low:.3} {median:.3} {high:.3}   inside {in_low:.3} {in_median:.3} {in_high:.3}   \
         ratio {:.3}x {:.3}x",
        in_low / low,
        in_median / median
    );
}
