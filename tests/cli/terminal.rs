//! `execward run -t`: a terminal for the command, behind the one that a person sits at.

use std::process::Child;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Ground, as_everyone, person::Person};

/// Starts a command with `-t` and a private supervisor, under a policy that asks nothing.
fn start(ground: &Ground, person: &Person, argv: &[&str]) -> Child {
    let policy = ground.put(&ground.root().join("open.toml"), b"", 0o644).display().to_string();
    let mut run = ground.execward(["run", "--policy", &policy, "-t", "--"]);
    run.args(argv);
    person.starts(run)
}

/// An interactive shell whose prompt is known.
fn shell(ground: &Ground, person: &mut Person) -> Child {
    let child = start(ground, person, &["bash", "--norc", "--noprofile", "-i"]);
    // What a person will type is not known before, and so is asked about.
    person.sees("is a no) ");
    person.types("y\n");
    person.sees("$ ");
    person.types("PS1='at''work> '; bind 'set enable-bracketed-paste off'\n");
    person.sees("atwork> ");
    child
}

#[test]
fn a_shell_has_job_control_and_follows_the_window() {
    as_everyone(|ground| {
        let mut person = Person::new(37, 91);
        let mut child = shell(ground, &mut person);
        assert!(!person.is_cooked(), "the terminal behind has the echo");
        person.types("stty size; tty; ls /dev/pts | tr '\\n' ' '; echo; test -t 2 && echo all''three\n");
        person.sees("37 91\r\n");
        assert!(person.sees("allthree").contains("/dev/pts/0\r\n0 ptmx"), "{}", person.all());
        person.resizes(50, 120);
        person.types("until [ \"$(stty size)\" = '50 120' ]; do sleep 0.1; done; echo re''sized\n");
        person.sees("resized");
        person.sees("atwork> ");
        // Ctrl-C ends what is in the foreground, and nothing else. A subshell of an interactive bash would not do: until
        // its exec it only notes the signal, and forgets it.
        person.types("sh -c \"echo up''1; exec sleep 1000\"\n");
        person.sees("up1");
        person.types("\x03");
        person.sees("atwork> ");
        person.types("echo code $?\n");
        person.sees("code 130");
        person.sees("atwork> ");
        person.types("(trap 'echo re''sumed' CONT; echo up''2; while :; do :; done)\n");
        person.sees("up2");
        person.types("\x1a");
        person.sees("Stopped");
        person.sees("atwork> ");
        person.types("fg\n");
        person.sees("\r\nresumed");
        person.types("\x03");
        person.sees("atwork> ");
        person.types("jobs; echo no''jobs; exit 7\n");
        assert!(!person.sees("nojobs").contains("Running"));
        assert_eq!(person.waits(&mut child), Some(7), "{}", person.all());
        assert!(person.is_cooked(), "the terminal is given back");
    });
}

#[test]
fn a_password_is_not_echoed_and_a_secret_is_masked() {
    as_everyone(|ground| {
        let mut person = Person::new(24, 80);
        let text = "read -rsp 'pass: ' x; printf '%s' ${#x}; echo; printf 'ghp_%s\\n' aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3z56";
        let mut child = start(ground, &person, &["bash", "-c", text]);
        // The prompt has no end of line, and comes all the same.
        person.sees("pass: ");
        person.types("hunter22\n");
        person.sees("8\r\n");
        assert_eq!(person.waits(&mut child), Some(0));
        assert!(!person.all().contains("hunter22"), "{}", person.all());
        assert!(!person.all().contains("aB3dE5fG7hJ9"), "{}", person.all());
    });
}

#[test]
fn the_terminal_is_given_back_whatever_ends_the_run() {
    as_everyone(|ground| {
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            let mut person = Person::new(24, 80);
            let mut child = start(
                ground,
                &person,
                &["bash", "-c", "trap '' INT TERM HUP; echo up; while :; do sleep 1; done"],
            );
            person.sees("up");
            assert!(!person.is_cooked());
            let pid = Pid::from_raw(child.id().cast_signed());
            kill(pid, signal).expect("it is sent");
            if signal == Signal::SIGHUP {
                kill(pid, Signal::SIGTERM).expect("it is sent");
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
            kill(pid, Signal::SIGTERM).expect("it is sent");
            assert_ne!(person.waits(&mut child), Some(0));
            assert!(person.is_cooked(), "{signal}: {}", person.all());
        }
        let mut person = Person::new(24, 80);
        let mut child = start(ground, &person, &["no-such-program"]);
        assert_eq!(person.waits(&mut child), Some(127));
        assert!(person.is_cooked());
    });
}

#[test]
fn the_end_of_input_is_the_end() {
    as_everyone(|ground| {
        let mut person = Person::new(24, 80);
        let mut child = start(ground, &person, &["cat"]);
        person.types("one\n");
        person.sees("one\r\none\r\n");
        person.types("\x04");
        assert_eq!(person.waits(&mut child), Some(0));
    });
}

#[test]
fn the_persons_own_terminal_stays_out_of_reach() {
    as_everyone(|ground| {
        ground.bring_probe();
        // T1 pushes input, T2 and T2b take a console: none of them into the command's own terminal, either.
        for id in ["T1", "T2", "T2b"] {
            let mut person = Person::new(24, 80);
            let mut child = start(ground, &person, &["./execward-probe", id]);
            person.sees("HELD");
            person.waits(&mut child);
        }
        // T3, T9: /dev/tty is the terminal behind, and what is done to its size stays there.
        let mut person = Person::new(24, 80);
        let text = "echo here > /dev/tty; stty rows 65535 cols 65535; stty size; stty -echo raw; echo done";
        let mut child = start(ground, &person, &["bash", "-c", text]);
        person.sees("here");
        person.sees("65535 65535");
        person.sees("done");
        assert_eq!(person.waits(&mut child), Some(0));
        assert_eq!(person.window(), (24, 80));
        assert!(person.is_cooked());
        // T5: no terminal of anybody else has a name inside.
        let mut person = Person::new(24, 80);
        let mut child = start(ground, &person, &["bash", "-c", "ls -1 /dev/pts; tty; ps -eo tty= | sort -u"]);
        let code = person.waits(&mut child);
        assert_eq!((code, person.all().as_str()), (Some(0), "0\r\nptmx\r\n/dev/pts/0\r\npts/0\r\n"));
    });
}

#[test]
fn without_a_terminal_there_is_none_to_give() {
    as_everyone(|ground| {
        let output = ground.execward(["run", "--no-daemon", "-t", "--", "true"]).output();
        output.expect(125).complains(&["-t needs a terminal"]);
    });
}
