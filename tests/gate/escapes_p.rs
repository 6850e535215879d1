//! Ways round a command gate, row by row (P1 to P55): text that hides a command from who judges it.
//!
//! `rm -rf /` stands for any command of the hardline list; it is judged and never run. Rows that other layers answer are not
//! here: P23 and P25's environment (`real::everyday`, `prepare`), P46, P47 and P49 (`stage`, `bad_input::place`), P50
//! (`daemon::grants`) and P52 (`proxy`, `network`). P44 and P53, too:
//! a request with a field for either is refused.

use execward::gate::Decision;

use super::{judge, meets};

/// Row, what is expected of each command, and the commands.
const ROWS: &[(&str, &str, &[&str])] = &[
    (
        "P1",
        "hardline",
        &["true; rm -rf /", "true && rm -rf /", "true | rm -rf /", "true & rm -rf /", "false || rm -rf /"],
    ),
    ("P2", "hardline", &["true #x\nrm -rf /", "true\nrm -rf /"]),
    ("P4", "hardline", &["echo \"$(rm -rf /)\"", "echo `rm -rf /`", "echo $(($(rm -rf /)))"]),
    ("P5", "hardline", &["cat <(rm -rf /)", ". <(echo rm -rf /)", "echo x > >(rm -rf /)"]),
    (
        "P7",
        "hardline",
        &[
            "test -v 'a[$(rm -rf /)]'",
            "printf -v 'a[$(rm -rf /)]' x",
            "read 'a[$(rm -rf /)]' <<<1",
            "x='a[$(rm -rf /)]'; ((x))",
            "unset 'a[$(rm -rf /)]'",
            "[[ 'a[$(rm -rf /)]' -eq 0 ]]",
        ],
    ),
    ("P8", "hardline", &["x='$(rm -rf /)'; echo ${x@P}"]),
    ("P10", "hardline", &["eval \"r\"\"m -rf /\""]),
    ("P10", "dangerous", &[". <(curl -s u)", "source /tmp/x", "eval \"$UNKNOWN\""]),
    ("P11", "hardline", &["r\"m\" -rf /", "r\\m -rf /", "$'\\x72m' -rf /", "$\"rm\" -rf /", "r\\\nm -rf /"]),
    (
        "P13",
        "hardline",
        &["c=rm; $c -rf /", "c=xrm; ${c#x} -rf /", "v=c c=rm; ${!v} -rf /", "za=rm; {$z,}a -rf /"],
    ),
    ("P13", "dangerous", &["$UNKNOWN -rf /"]),
    ("P14", "hardline", &["IFS=,; c=rm,-rf,/; $c"]),
    (
        "P16",
        "hardline",
        &[
            "echo cm0gLXJmIC8K | base64 -d | sh",
            "echo 726d202d7266202f | xxd -r -p | sh",
            "echo '/ fr- mr' | rev | bash",
            "echo 'sn -sg /' | tr sng rmf | tr g f | sh",
        ],
    ),
    ("P17", "hardline", &["bash <<<'rm -rf /'", "sh <<E\nrm -rf /\nE"]),
    (
        "P19",
        "hardline",
        &[
            "env -i A=1 rm -rf /",
            "nice -n5 rm -rf /",
            "timeout -k 1 5 rm -rf /",
            "stdbuf -oL rm -rf /",
            "setsid rm -rf /",
            "ionice -c3 rm -rf /",
            "chrt 1 rm -rf /",
            "taskset 1 rm -rf /",
            "nohup rm -rf /",
            "time -p rm -rf /",
            "flock f rm -rf /",
            "unshare -m rm -rf /",
            "watch rm -rf /",
            "doas rm -rf /",
            "sudo -u x rm -rf /",
            "strace rm -rf /",
            "ltrace rm -rf /",
            "gdb --args rm -rf /",
            "valgrind rm -rf /",
            "systemd-run rm -rf /",
            "chroot / rm -rf /",
            "nsenter -t 1 rm -rf /",
            "xargs rm -rf /",
            "dbus-run-session rm -rf /",
            "firejail rm -rf /",
            "proot rm -rf /",
            "fakeroot rm -rf /",
            "/lib64/ld-linux-x86-64.so.2 /bin/rm; rm -rf /",
            "parallel rm -rf /",
            "env -S 'rm -rf /'",
            "script -c 'rm -rf /'",
            "su -c 'rm -rf /'",
            "runuser -c 'rm -rf /' x",
            "find . -exec rm -rf / \\;",
            "echo 'rm -rf /' | at now",
            "echo 'rm -rf /' | batch",
            "ls | entr rm -rf /",
        ],
    ),
    ("P20", "dangerous", &["timeout --weird 5 rm -rf /", "nice --odd rm -rf /", "sudo --what rm -rf /"]),
    (
        "P22",
        "hardline",
        &[
            "shopt -s expand_aliases; alias ls='rm -rf /'\nls",
            "ls(){ rm -rf /; }; ls",
            "function ls { rm -rf /; }\nls",
        ],
    ),
    (
        "P25",
        "dangerous",
        &["LD_PRELOAD=/tmp/x.so ls", "export LD_AUDIT=/tmp/x.so; ls", "LD_LIBRARY_PATH=/tmp ls"],
    ),
    (
        "P26",
        "dangerous",
        &[
            "export PAGER='rm -rf /'; git log",
            "typeset -x GIT_PAGER='rm -rf /'; git log",
            "declare -x PAGER='rm -rf /'; git log",
        ],
    ),
    ("P28", "dangerous", &["cp /bin/sh ./ls; ./ls -c 'rm -rf /'"]),
    (
        "P29",
        "hardline",
        &[
            "/proc/self/root/usr/bin/rm -rf /",
            "/usr/bin/../bin/rm -rf /",
            "//usr//bin/rm -rf /",
            "/lib64/ld-linux-x86-64.so.2 /bin/rm -rf /",
        ],
    ),
    (
        "P31",
        "dangerous",
        &[
            "python3 -c \"import os; os.system('rm -rf /')\"",
            "perl -e 'system(\"rm -rf /\")'",
            "node -e 'require(\"child_process\").execSync(\"rm -rf /\")'",
            "ruby -e 'system(\"rm -rf /\")'",
            "awk 'BEGIN{system(\"rm -rf /\")}'",
            "lua -e 'os.execute(\"rm -rf /\")'",
            "php -r 'system(\"rm -rf /\");'",
            "sqlite3 x '.shell rm -rf /'",
            "psql -c '\\! rm -rf /'",
            "gdb -ex 'shell rm -rf /'",
        ],
    ),
    (
        "P32",
        "dangerous",
        &[
            "find . -delete",
            "find . -ok rm -rf / \\;",
            "find . -fprint /etc/x",
            "sed '1e rm -rf /' f",
            "sed -i 's/x/y/w /etc/x' f",
            "sort -o /etc/x f",
            "sort --compress-program='rm -rf /' f",
            "rg --pre 'rm -rf /' y",
            "fd -x rm -rf /",
            "tar cf x . --checkpoint=1 --checkpoint-action=exec='rm -rf /'",
            "tar --to-command='rm -rf /' -xf x",
            "tar -I 'rm -rf /' -cf y .",
            "rsync -e 'rm -rf /' a b:",
            "ssh -o ProxyCommand='rm -rf /' h",
            "man -P 'rm -rf /' ls",
            "vim -c ':!rm -rf /'",
            "git grep -O'rm -rf /' y",
            "split --filter='rm -rf /' f",
            "tee /etc/x",
            "dd of=/etc/x",
            "uniq in /etc/x",
            "curl -o /etc/x u",
            "date -s 2020-01-01",
            "tcpdump -z ./x -w f -G 1",
            "zip x.zip f -TT 'rm -rf /'",
        ],
    ),
    (
        "P34",
        "dangerous",
        &[
            "git -c core.fsmonitor='rm -rf /' status",
            "git config core.hooksPath /tmp/x",
            "git -c core.sshCommand='rm -rf /' fetch",
            "echo 'rm -rf /' > .git/hooks/pre-commit",
        ],
    ),
    ("P35", "dangerous", &["touch -- '--checkpoint-action=exec=./x'; tar cf x *"]),
    (
        "P37",
        "hardline",
        &[
            "true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; true; rm -rf /",
        ],
    ),
    ("P40", "deny", &["echo\0rm -rf /"]),
    ("P41", "dangerous", &["echo ok \u{202e} rm", "\u{455}udo ls", "ls \u{e0041}\u{e0042}", "r\u{200b}m x"]),
    ("P55", "dangerous", &["bash", "bash -s", "sh -i", "python3", "env -i bash"]),
];

#[test]
fn no_row_slips_past() {
    let mut wrong = Vec::new();
    for (row, expect, commands) in ROWS {
        for command in *commands {
            let judgement = judge(command);
            if !meets(expect, judgement.decision) {
                wrong.push(format!("{row}: {command:?} is {:?}, not {expect}", judgement.decision));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// P37, P38, P43: a command behind so many others, so deep, or so far to the right that a reader gives up.
#[test]
fn size_and_depth_never_downgrade() {
    assert_eq!(judge(&format!("{}rm -rf /", "true; ".repeat(5000))).decision, Decision::Hardline);
    assert_eq!(judge(&format!("echo{}; rm -rf /", " ".repeat(10_000))).decision, Decision::Hardline);
    for open in ["(", "$(", "{a,", "\"$(", "${x:-", "$((", "`", "{ "] {
        let text = format!("echo {}; rm -rf /", open.repeat(100_000 / open.len()));
        assert!(judge(&text).decision >= Decision::Deny, "{open}");
    }
    assert!(judge(&"x".repeat(2 << 20)).decision >= Decision::Deny);
}
