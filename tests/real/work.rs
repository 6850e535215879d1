//! What agents do all day: a repository, a compiler, scripts.

use std::fs;

use crate::support::{Ground, as_everyone, tool};

/// Runs `text` bare in one directory and in the jail in a copy of it, and compares exit code and output.
fn same(ground: &Ground, directory: &str, text: &str) {
    let bare = ground
        .bare_shell(&format!("cp -a {directory} {directory}-bare && cd {directory}-bare && {text}"))
        .output();
    let jailed = ground
        .shell(&format!("cp -a {directory} {directory}-jail && cd {directory}-jail && {text}"))
        .output();
    assert_eq!(bare.code, Some(0), "bare: {}", bare.stderr());
    assert_eq!(
        (jailed.code, jailed.stdout().replace("-jail", "")),
        (bare.code, bare.stdout().replace("-bare", "")),
        "in the jail: {}",
        jailed.stderr()
    );
}

#[test]
fn a_repository_is_cloned_edited_and_committed() {
    as_everyone(|ground| {
        if !tool("git") {
            return;
        }
        let identity = "-c user.name=tester -c user.email=tester@example.invalid";
        ground
            .bare_shell(&format!(
                "git init -q -b main origin && cd origin && for n in 1 2 3; do echo $n > file$n; git add .; \
                 git {identity} commit -qm \"commit $n\"; done"
            ))
            .output()
            .expect(0);
        let work = format!(
            "git clone -q ../origin copy && cd copy && echo four >> file1 && mkdir sub && echo new > sub/new && \
             git add -A && git {identity} commit -qm change && git status --short && git log --format=%s && \
             git rev-parse 'HEAD^{{tree}}' && git diff --stat HEAD~1 && git fsck --no-progress"
        );
        ground.bare_shell("mkdir repo").output().expect(0);
        same(ground, "repo", &work);
        // The commit that was made inside is whole outside.
        let log = ground
            .bare_shell("cd repo-jail/copy && git log --format=%s -1 && git status --short")
            .output()
            .expect(0);
        assert_eq!(log.stdout(), "change\n");
    });
}

#[test]
fn a_c_program_is_compiled_and_run() {
    as_everyone(|ground| {
        if !tool("gcc") {
            return;
        }
        ground.write(
            "c/primes.c",
            "#include <stdio.h>\n#include <stdlib.h>\n#include <errno.h>\nint main(int argc, char **argv) {\n  int n = argc > 1 \
             ? atoi(argv[1]) : 10;\n  for (int i = 2; i < n; i++) { int p = 1; for (int j = 2; j * j <= i; j++) if (i % j \
             == 0) p = 0; if (p) printf(\"%d\\n\", i); }\n  fprintf(stderr, \"done\\n\"); return ferror(stdout); }\n",
        );
        same(ground, "c", "gcc -O2 -Wall -o primes primes.c && ./primes 100");
    });
}

#[test]
fn a_python_script_runs() {
    as_everyone(|ground| {
        if !tool("python3") {
            return;
        }
        ground.write(
            "py/script.py",
            "import hashlib, json, os, sqlite3, subprocess, tempfile, threading, multiprocessing\n\
             def work(n):\n    return hashlib.sha256(str(n).encode()).hexdigest()\n\
             if __name__ == '__main__':\n\
             \x20   with multiprocessing.Pool(2) as pool:\n        print(pool.map(work, range(3)))\n\
             \x20   db = sqlite3.connect('data.db'); db.execute('create table t (a)'); db.execute('insert into t values (7)'); db.commit()\n\
             \x20   print(db.execute('select a from t').fetchall())\n\
             \x20   print(subprocess.run(['sh', '-c', 'echo from a child'], capture_output=True, text=True).stdout)\n\
             \x20   with tempfile.NamedTemporaryFile() as file:\n        file.write(b'x'); print(os.path.exists(file.name))\n\
             \x20   t = threading.Thread(target=lambda: print('thread')); t.start(); t.join()\n\
             \x20   json.dump({'b': 1}, open('out.json', 'w'))\n",
        );
        same(ground, "py", "python3 script.py && cat out.json");
    });
}

#[test]
fn a_node_script_runs() {
    as_everyone(|ground| {
        if !tool("node") {
            return;
        }
        ground.write(
            "js/script.js",
            "const fs = require('fs'), os = require('os'), http = require('http'), { Worker } = require('worker_threads');\n\
             const { execFileSync } = require('child_process');\n\
             fs.writeFileSync('out', 'written');\n\
             console.log(fs.readFileSync('out', 'utf8'), execFileSync('echo', ['child']).toString());\n\
             new Worker('require(\"worker_threads\").parentPort.postMessage(42)', { eval: true }).on('message', (m) => {\n\
             console.log('worker', m);\n\
             const server = http.createServer((q, r) => r.end('over loopback')).listen(0, '127.0.0.1', () => {\n\
             http.get({ port: server.address().port, host: '127.0.0.1' }, (r) => r.on('data', (d) => { console.log(String(d)); \
             server.close(); }).resume()); }); });\n",
        );
        same(ground, "js", "node script.js");
    });
}

#[test]
fn a_makefile_with_parallel_jobs_runs() {
    as_everyone(|ground| {
        if !tool("make") {
            return;
        }
        ground.write("mk/Makefile", "all: a b c\n\tcat a b c > all\na b c:\n\techo $@ > $@\n");
        same(ground, "mk", "make -s -j4 && cat all");
    });
}

#[test]
fn archives_and_text_tools_work() {
    as_everyone(|ground| {
        ground.write("ar/one", "alpha\nbeta\ngamma\n");
        ground.write("ar/two", "delta\n");
        same(
            ground,
            "ar",
            "tar czf x.tgz one two && mkdir x && tar xzf x.tgz -C x && diff -r one x/one && sort -r one | sed s/a/A/g | \
             awk '{print NR, $0}' && find . -type f -name 'o*' | sort && grep -c a one && wc -l < one && date -d @0 -u +%F",
        );
    });
}

#[test]
fn what_a_command_leaves_is_the_same_file_by_file() {
    as_everyone(|ground| {
        let text = "mkdir -p d/e && printf 'a\\0b' > d/bin && ln -s e d/link && chmod 700 d/e && touch -d @1000 d/old";
        ground.write("left/.keep", "");
        same(ground, "left", text);
        let list = |name: &str| {
            let text = format!(
                "cd {name} && find . -printf '%p %m %y %l %s\\n' | sort && stat -c %Y d/old && cksum d/bin"
            );
            ground.bare_shell(&text).output().expect(0).stdout()
        };
        assert_eq!(list("left-jail"), list("left-bare"));
        assert!(fs::symlink_metadata(ground.workspace().join("left-jail/d/link")).is_ok());
    });
}
