//! Every example of every data file, and what the examples cannot say.

use super::knowledge::Knowledge;
use super::notation::brief;
use super::{Effect, effects};
use crate::shell::{Input, Invocation, Origin, Redirect, RedirectKind, Span, Value};

/// An invocation of known words. `< x`, `> x`, `>> x` and `<<< x` as words of their own are redirections.
pub(super) fn invocation(command: &str) -> Invocation {
    let words = shell_words::split(command).unwrap();
    let mut argv = Vec::new();
    let mut redirects = Vec::new();
    let mut assignments = Vec::new();
    let mut stdin = Input::Inherited;
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let kind = match word.as_str() {
            "<" => RedirectKind::Read,
            ">" => RedirectKind::Write,
            ">>" => RedirectKind::Append,
            "<<<" => RedirectKind::Here,
            _ => {
                let assignment = word.split_once('=').filter(|(name, _)| {
                    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                });
                match assignment {
                    Some((name, value)) if argv.is_empty() => {
                        assignments.push((name.to_owned(), Value::known(value)));
                    }
                    _ => argv.push(value(&word)),
                }
                continue;
            }
        };
        let target = Value::known(words.next().unwrap());
        match kind {
            RedirectKind::Here => stdin = Input::Known(target.as_known().unwrap().to_vec()),
            RedirectKind::Read => stdin = Input::File(target.clone()),
            _ => {}
        }
        redirects.push(Redirect { kind, fd: None, target, span: Span::default() });
    }
    Invocation {
        argv: argv.into(),
        span: Span::default(),
        assignments,
        exported: Vec::new(),
        redirects,
        stdin,
        cwd: Value::known("/home/user/project").into(),
        background: false,
        origin: Origin::Plain,
        files: Vec::new(),
    }
}

/// `%GLOB` stands for an active `*`, `%HOLE` for an unquoted unknown.
fn value(word: &str) -> Value {
    use crate::shell::{Piece, Unknown};
    let mut value = Value::default();
    let mut rest = word;
    while let Some(at) = rest.find('%') {
        let (before, after) = rest.split_at(at);
        let piece = if let Some(tail) = after.strip_prefix("%GLOB") {
            rest = tail;
            Piece::glob(b"*")
        } else if let Some(tail) = after.strip_prefix("%HOLE") {
            rest = tail;
            Piece::from(Unknown {
                source: "$X".to_owned(),
                may_be_empty: true,
                splits: true,
                ..Unknown::default()
            })
        } else {
            rest = after.get(1..).unwrap();
            Piece::known(b"%")
        };
        value.push(Piece::known(before.as_bytes()));
        value.push(piece);
    }
    value.push(Piece::known(rest.as_bytes()));
    value
}

pub(super) fn briefly(command: &str) -> String {
    effects(&invocation(command), Knowledge::shipped()).iter().map(brief).collect::<Vec<_>>().join("; ")
}

#[test]
fn every_table_can_be_read() {
    let mistakes = Knowledge::shipped().mistakes();
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn no_name_is_described_twice() {
    let mut twice = Vec::new();
    let mut seen = std::collections::BTreeMap::new();
    for (file, text) in super::knowledge::SHIPPED {
        let names: Vec<String> = super::knowledge::names_of(text);
        for name in names {
            if let Some(other) = seen.insert(name.clone(), file) {
                twice.push(format!("`{name}` in {other} and in {file}"));
            }
        }
    }
    assert!(twice.is_empty(), "{}", twice.join("\n"));
}

#[test]
fn the_index_sees_what_a_toml_reader_sees() {
    for (file, text) in super::knowledge::SHIPPED {
        let whole: toml::Table = toml::from_str(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut expected: Vec<String> = Vec::new();
        for (name, table) in &whole {
            expected.push(name.clone());
            let aliases = table.get("aliases").and_then(|aliases| aliases.as_str()).unwrap_or_default();
            expected.extend(aliases.split_whitespace().map(str::to_owned));
        }
        let mut found = super::knowledge::names_of(text);
        expected.sort();
        found.sort();
        assert_eq!(expected, found, "in {file}");
    }
}

#[test]
fn examples_hold() {
    let examples = Knowledge::shipped().examples();
    let count = examples.len();
    let mut failures = Vec::new();
    for (program, command, expected) in examples {
        let found = briefly(command);
        if found != expected {
            failures.push(format!("{program}: `{command}`\n   expected: {expected}\n   found:    {found}"));
        }
    }
    assert!(failures.is_empty(), "{} of {count} examples fail:\n{}", failures.len(), failures.join("\n"));
    assert!(count > 400);
}

#[test]
fn unknown_programs_do_not_hide_commands() {
    assert_eq!(briefly("frobnicate --fast rm -rf /"), "opaque [frobnicate --fast rm -rf /]; exec [rm -rf /]");
    let found = effects(&invocation("frobnicate rm -rf /"), Knowledge::shipped());
    assert!(found.iter().any(super::is_guess));
    assert_eq!(briefly("frobnicate rm"), "opaque [frobnicate rm]");
}

#[test]
fn a_program_is_known_by_its_place() {
    assert_eq!(briefly("/bin/rm x"), "delete x");
    assert_eq!(briefly("/usr/bin/../bin/rm x"), "delete x");
    assert_eq!(briefly("//bin//rm x"), "delete x");
    assert_eq!(briefly("/proc/self/root/bin/rm x"), "delete x");
    assert_eq!(briefly("./rm x"), "run ./rm; delete x");
    assert_eq!(briefly("/tmp/rm x"), "run /tmp/rm; delete x");
    assert_eq!(briefly("RM x"), "opaque [RM x]");
    assert_eq!(briefly("/%GLOB/rm x"), "run /*/rm; delete x");
}

#[test]
fn redirections_are_effects() {
    assert_eq!(briefly("echo x > a >> b"), "write a; append b");
    assert_eq!(briefly("> data.db"), "truncate data.db");
    assert_eq!(briefly(": > data.db"), "truncate data.db");
    assert_eq!(briefly("echo x > /dev/null"), "");
    assert_eq!(briefly("echo x > /dev/tcp/h/80"), "fetch /dev/tcp/h/80; send to /dev/tcp/h/80");
}

#[test]
fn an_unquoted_hole_may_be_any_flag() {
    let found = effects(&invocation("rm %HOLE /etc"), Knowledge::shipped());
    assert!(found.iter().any(|effect| matches!(effect, Effect::Delete { recursive: true, .. })));
}

#[test]
fn what_a_program_prints_reaches_xargs() {
    let output = |command: &str| super::output(&invocation(command)).unwrap();
    let fed = |command: &str, input: &str| {
        let mut invocation = invocation(command);
        invocation.stdin = Input::Text(output(input).names.remove(0));
        effects(&invocation, Knowledge::shipped()).iter().map(brief).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(fed("xargs rm -rf", "find / -type f"), "exec [rm -rf /]");
    assert_eq!(fed("xargs rm -rf", "find . -name x"), "exec [rm -rf ./x]");
    assert_eq!(fed("xargs rm -rf", "find . -mtime 3"), "exec [rm -rf {}]");
    assert_eq!(fed("xargs rm", "fd -e o . src"), "exec [rm src/{}/*.o]");
    assert_eq!(output("find a -name x").names.len(), 2);
    let exact = |command: &str| output(command).exact;
    assert!(exact("find . -name x -print0") && exact("fd -e pyc"));
    assert!(!exact("find . -name x -printf %h") && !exact("find . -exec cat {} +") && !exact("fd x -x echo"));
    assert_eq!(fed("xargs -n1 mkfs.ext4 -F", "lsblk -dpno NAME"), "exec [mkfs.ext4 -F /dev/*]");
    assert_eq!(
        fed("xargs -P0 -n1 sleep", "seq 1 999999"),
        "flood xargs -P 0; exec [sleep words without end]"
    );
    assert!(super::output(&invocation("cat x")).is_none());
}

#[test]
fn inert_code_only_computes_and_prints() {
    use super::Language::{Awk, JavaScript, Perl, Php, Python, Ruby, Sed};
    let inert = |language, text: &str| super::code::is_inert(language, &Value::known(text));
    for (language, text) in [
        (Python, "print(1+1)"),
        (Python, "import json,sys; print(json.load(sys.stdin)['a'])"),
        (Python, "import json; print(json.load(open('x.json')))"),
        (Python, "import os; print(os.listdir('.'))"),
        (Python, "import torch; print(torch.cuda.is_available())"),
        (Python, "from app.parse import parse; print(parse('a'))"),
        (Python, "p = 'src/a.py'\ns = open(p).read().replace('a', 'b')\nopen(p, 'w').write(s)"),
        (Python, "from pathlib import Path\np = Path('a.py')\np.write_text(p.read_text().replace('a', 'b'))"),
        (Python, "with open('a.txt', 'w', encoding='utf-8') as f:\n    f.write('x')"),
        (Python, "for name in sorted(open('n.txt')):\n    print(name)"),
        (Python, "from pathlib import Path; print(Path('a').open().read())"),
        (Python, "s = \"subprocess.run('rm -rf x')\"; print(s)"),
        (JavaScript, "console.log('rm -rf /')"),
        (JavaScript, "const fs = require('fs'); console.log(JSON.parse(fs.readFileSync('a.json')).x)"),
        (
            JavaScript,
            "import { readFileSync } from 'node:fs'; console.log(readFileSync(process.argv[2], 'utf8'))",
        ),
        (JavaScript, "const {add} = require('./dist/index.js'); console.log(add(1, 2))"),
        (Python, "import subprocess\nprint(subprocess.run(['git', 'log'], capture_output=True).stdout)"),
        (Python, "import shutil\nshutil.rmtree('build', ignore_errors=True)"),
        (Python, "class A:\n    def __init__(self, x):\n        self.x = x\nprint(A(1).x)"),
        (JavaScript, "// execSync('x')\nconsole.log(1)"),
        (Perl, "print if /rm -rf/"),
        (Perl, "use strict; # system\nprint if /system\\(/"),
        (Php, "echo strlen(\"system('x')\");"),
        (Ruby, "# `reboot`\nputs 1"),
        (Ruby, "puts \"rm -rf /\""),
        (Awk, "$3 == 0 {print $1}"),
        (Awk, "{print > \"x\"; print $1 | \"sort -u\"}"),
        (Awk, "{printf(\"%s\", ($2 > 3) ? \"system\" : \"b\")}"),
        (Sed, "s/a/b/g"),
    ] {
        assert!(inert(language, text), "{language:?} {text}");
    }
    for (language, text) in [
        (Python, "import os; os.remove('x')"),
        (Python, "__import__('os').system('x')"),
        (Python, "open(p,'w').write('y')"),
        (Python, "open('x','w')"),
        (Python, "open(p, mode='w').write('y')"),
        (Python, "open('x','w').write('')"),
        (Python, "m='w'; open(p, m).write('y')"),
        (Python, "from pathlib import Path; p = Path('a'); p.unlink()"),
        (Python, "from pathlib import Path; p = Path('a'); p.replace('b')"),
        (Python, "from pathlib import Path; q.write_text('x')"),
        (Python, "from app import db; db.drop_all()"),
        (Python, "from app import User; User.objects.all().delete()"),
        (Python, "import numpy as np; np.os.system('x')"),
        (Python, "import sqlite3; sqlite3.connect('a').execute('drop table t')"),
        (Python, "import requests; requests.get('http://169.254.169.254/')"),
        (Python, "import shutil as s; s.rmtree('x')"),
        (Python, "from os import remove; remove('x')"),
        (Python, "if 1: import posix; posix.unlink('x')"),
        (Python, "from pathlib import Path; q.open('w').write('x')"),
        (Python, "p = 'a'\np = input()\nopen(p, 'w').write('x')"),
        (Python, "def f(): open(p, 'w').write('x')\np = 'a'\np = 'b' + c\nf()"),
        (Python, "p = 'a'\nfor p in names: open(p, 'w').write('x')"),
        (Python, "import os\nfor p in os.listdir(d): open(p, 'w').write('x')"),
        (Python, "p = 'a'\na, p = b\nopen(p, 'w').write('x')"),
        (Python, "p = 'a'\ndef f(p): open(p, 'w').write('x')"),
        (JavaScript, "const fs = require('fs'); let p = 'a'; p = process.argv[2]; fs.writeFileSync(p, 'x')"),
        (Python, "import gzip; gzip.GzipFile('x', 'w').write(b'y')"),
        (Python, "import logging; logging.basicConfig(filename='x')"),
        (Python, "import xml.etree.ElementTree as E; E.parse('a').write('b')"),
        (Python, "import zipfile; zipfile.ZipFile('x', 'w').close()"),
        (Python, "import sqlite3; sqlite3.connect('a').execute('DR' + 'OP TABLE t')"),
        (Python, "import sh; sh.rm('x')"),
        (Python, "import urllib.request as u; print(u.urlopen('file:///etc/shadow').read())"),
        (Python, "import os; os.path.os.remove('x')"),
        (Python, "import inspect; inspect.os.remove('x')"),
        (Python, "f'{__import__(0)}'"),
        (Python, "print('x' ''); import subprocess"),
        (Python, "\u{ff4f}\u{ff53}.system('x')"),
        (Python, "o=open; o('x', chr(119))"),
        (Python, "from json import os"),
        (Python, "exec('pri'+'nt(1)')"),
        (Python, "import json.os"),
        (JavaScript, "require('fs')"),
        (JavaScript, "const f = require('fs'); f.rmSync('x')"),
        (JavaScript, "const {rmSync} = require('fs'); rmSync('x')"),
        (JavaScript, "const {readFileSync: r, rmSync: d} = require('fs'); d('x')"),
        (JavaScript, "const fs = require('fs'); const g = fs; g.rmSync('x')"),
        (JavaScript, "const fs = require('fs'); fs.writeFileSync(p, 'y')"),
        (JavaScript, "import * as f from 'fs'; f.unlinkSync('x')"),
        (JavaScript, "require('child_' + 'process')"),
        (JavaScript, "require(x)"),
        (JavaScript, "const k = 'constr' + 'uctor'; ''[k][k]('x')()"),
        (JavaScript, "require('./db').dropAll()"),
        (JavaScript, "\\u0065val('x')"),
        (JavaScript, "[]['con'+'structor']"),
        (JavaScript, "process.binding('fs')"),
        (Perl, "/'/; system(q(x)); /'/"),
        (Ruby, "`ls`"),
        (Php, "\"system\"(\"x\");"),
        (Python, "import subprocess\nc = ['git']\nc[0] = 'rm'\nsubprocess.run(c)"),
        (Python, "import subprocess\nsubprocess.run(['bash'], input=x)"),
        (Python, "import shutil\nshutil.rmtree('src')"),
        (Awk, "{print > x}"),
        (Awk, "{print | \"sh\"}"),
        (Awk, "BEGIN{system(\"x\")}"),
        (Awk, "\"x\" | getline"),
        (Sed, "1e x"),
    ] {
        assert!(!inert(language, text), "{language:?} {text}");
    }
}

#[test]
fn the_work_is_linear_in_what_an_agent_sends() {
    let time = |command: &str, argument: String| {
        let mut invocation = invocation(command);
        std::sync::Arc::make_mut(&mut invocation.argv).push(Value::known(argument));
        effects(&invocation, Knowledge::shipped()).len()
    };
    // a bound that is reached says so; the text is never taken for less than it is
    assert!(time("python3 -c", "system(".repeat(20_000)) > 1);
    assert!(time("perl -e", "system 'x';".repeat(2_000)) > 1);
    // what names stand for does not double without a bound
    assert!(time("python3 -c", format!("x = 'rm'\n{}run(x)", "x = x + x\n".repeat(60))) >= 1);
    assert!(time("python3 -c", format!("x = 'rm'\n{}os.system(x)", "x = f'{x}{x}'\n".repeat(60))) >= 1);
    assert!(time("perl -e", format!("$x = '{}'; {}", "y".repeat(1_000), "qx{$x$x$x};".repeat(2_000))) > 1);
    assert!(time("sed", "s/a/b/;".repeat(20_000)) < 3);
    assert!(time("psql -c", "drop table x;".repeat(2_000)) > 1);
    let many = invocation(&format!("unknown {}", "rm x ".repeat(2_000)));
    assert!(effects(&many, Knowledge::shipped()).len() < 20);
}

/// Follows starters as the gate does, and says whether `rm -rf /` is reached.
fn reaches_rm(command: &str) -> bool {
    let mut pending = vec![(invocation(command), 0)];
    while let Some((current, depth)) = pending.pop() {
        for effect in effects(&current, Knowledge::shipped()) {
            match effect {
                Effect::Delete { path, recursive: true, .. } if path == Value::known("/") => return true,
                Effect::Exec { argv, .. } if depth < 8 => {
                    let mut inner = invocation("x");
                    inner.argv = argv;
                    pending.push((inner, depth + 1));
                }
                Effect::Script { text, .. } if depth < 8 => {
                    let words = shell_words::split(&text.to_string()).ok();
                    if let Some(words) = words.filter(|words| !words.is_empty()) {
                        let mut inner = invocation("x");
                        inner.argv = std::sync::Arc::new(
                            words.iter().map(|word| Value::known(word.as_str())).collect(),
                        );
                        pending.push((inner, depth + 1));
                    }
                }
                _ => {}
            }
        }
    }
    false
}

#[test]
fn every_starter_is_followed() {
    let starters = [
        "env -i A=1",
        "env -S",
        "env - A=1",
        "nice -n5",
        "nice -19",
        "timeout -k 1 5",
        "timeout -s KILL 5",
        "stdbuf -oL",
        "setsid",
        "ionice -c2 -n7",
        "chrt -f 5",
        "taskset -c 1",
        "taskset 1",
        "nohup",
        "time -p",
        "flock /tmp/l",
        "flock -n /tmp/l -c",
        "unshare -r",
        "unshare --mount --",
        "watch -n1",
        "watch -x",
        "parallel",
        "doas",
        "doas -u bob",
        "sudo -u x",
        "sudo -HE -g x --",
        "sudo A=b",
        "strace -f -o /tmp/x",
        "ltrace -f",
        "gdb --args",
        "valgrind --tool=x",
        "systemd-run --scope",
        "chroot /mnt",
        "nsenter -t 1 -a",
        "ssh localhost",
        "ssh -p 22 -l x h --",
        "xargs",
        "xargs -n1 -P4",
        "find . -exec",
        "find . -execdir",
        "entr -r",
        "dbus-run-session --",
        "firejail --private",
        "proot -r /",
        "fakeroot",
        "/lib64/ld-linux-x86-64.so.2 /bin/env",
        "busybox",
        "toybox",
        "setarch x86_64",
        "linux64",
        "chpst -u x",
        "s6-setuidgid x",
        "prlimit --nofile=1",
        "numactl -N 0",
        "cgexec -g cpu:x",
        "docker run --rm -v a:/b alpine",
        "podman exec -it web",
        "kubectl exec -it pod --",
        "kubectl exec pod -n x --",
        "git bisect run",
        "git submodule foreach",
        "uv run --with x",
        "poetry run",
        "pipenv run",
        "bundle exec",
        "tmux new-session -d",
        "screen -dmS x",
        "exec -a x",
        "command",
        "builtin",
        "sshpass -p x",
        "unbuffer -p",
        "rlwrap",
        "hyperfine",
        "perf stat -e x",
        "perf record -g --",
        "catchsegv",
        "cpulimit -l 1",
        "torsocks",
        "proxychains4 -q",
        "dumb-init",
        "tini -g --",
        "gosu root",
        "su-exec root",
        "setpriv --reuid=1",
        "capsh -- -c",
        "bwrap --bind / / --",
        "pkexec --user x",
        "su -c",
        "su - x -c",
        "runuser -u x --",
        "run0",
        "script -qc",
        "sg x -c",
        "at now <<<",
        "bash -c",
        "zsh -lc",
        "dash -ec",
        "fish -c",
        "sh -s <<<",
        "nix-shell --run",
        "npx -c",
        "npm exec -c",
        "eatmydata",
        "faketime 1d",
        "xvfb-run -a",
        "start-stop-daemon -S -x /usr/bin/env --",
        "conda run -n x",
        "rustup run stable",
        "ip netns exec x",
        "machinectl shell x",
        "docker compose exec web",
        "srun -n 1",
        "direnv exec .",
        "rtk",
        "some-new-launcher --fast",
        "aa-exec -p x",
        "choom -n 1",
        "systemd-inhibit --what=x",
        "eval",
        "coproc",
        "docker-compose run --rm web",
        "lvm env",
        "rvm exec",
        "doas -n env",
        "chronic",
        "once",
        "nocorrect",
        "cgexec --sticky -g x",
    ];
    let text = [
        "env -S",
        "flock -n /tmp/l -c",
        "capsh -- -c",
        "su -c",
        "su - x -c",
        "script -qc",
        "sg x -c",
        "at now <<<",
        "bash -c",
        "zsh -lc",
        "dash -ec",
        "fish -c",
        "sh -s <<<",
        "nix-shell --run",
        "npx -c",
        "npm exec -c",
        "hyperfine",
    ];
    let missed: Vec<&str> = starters
        .into_iter()
        .filter(|starter| {
            let command = if text.contains(starter) { "'rm -rf /'" } else { "rm -rf /" };
            !reaches_rm(&format!("{starter} {command}"))
        })
        .collect();
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn an_option_that_cannot_be_read_stops_a_starter() {
    for starter in [
        "timeout",
        "nice",
        "sudo",
        "env",
        "flock",
        "strace",
        "unshare",
        "nsenter",
        "xargs",
        "chroot /x",
        "taskset",
    ] {
        let starter = starter.split(' ').next().unwrap();
        let found = effects(&invocation(&format!("{starter} --frobnicate 5 rm -rf /")), Knowledge::shipped());
        assert!(found.iter().any(|effect| matches!(effect, Effect::Unreadable { .. })), "{starter}");
        assert!(reaches_rm(&format!("{starter} --frobnicate 5 rm -rf /")), "{starter}");
    }
}

#[test]
fn help_does_nothing() {
    for command in [
        "mkfs.ext4 --help",
        "shutdown --help",
        "rm --version",
        "sudo -V",
        "dd --help",
        "docker run --help",
        "git push --help",
        "systemctl --version",
        "man rm",
        "type rm",
        "which shutdown",
        "command -v rm",
        "cryptsetup --help",
        "terraform --version",
        "kubectl delete --help",
    ] {
        let found = briefly(command);
        assert!(found.is_empty() || found == "privilege sudo", "{command}: {found}");
    }
}
