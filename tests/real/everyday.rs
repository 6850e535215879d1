//! `execward run` behaves like the command it runs: streams, exit codes, environment, directory.

use std::fs;

use crate::support::{Leg, as_everyone, as_leg};

#[test]
fn streams_stay_apart_and_in_order() {
    as_everyone(|ground| {
        let output = ground.shell("echo one; echo two >&2; echo three").output().expect(0);
        assert_eq!(output.stdout(), "one\nthree\n");
        assert!(output.stderr().contains("two\n"));
    });
}

#[test]
fn standard_input_reaches_the_command_and_ends() {
    as_everyone(|ground| {
        let output = ground.run(["wc", "-c"]).stdin("x".repeat(300_000)).output().expect(0);
        assert_eq!(output.stdout().trim(), "300000");
        let output = ground.run(["cat"]).output().expect(0);
        assert_eq!(output.stdout(), "");
    });
}

#[test]
fn a_command_that_does_not_read_its_input_does_not_hang() {
    as_everyone(|ground| {
        let output = ground.run(["true"]).stdin(vec![b'x'; 4 << 20]).output();
        output.expect(0);
    });
}

#[test]
fn exit_codes_are_the_commands_own() {
    as_everyone(|ground| {
        for code in [0, 1, 7, 126, 127, 255] {
            ground.shell(&format!("exit {code}")).output().expect(code);
        }
    });
}

#[test]
fn a_program_that_is_not_there_is_127_and_one_that_cannot_run_is_126() {
    as_everyone(|ground| {
        ground
            .run(["no-such-program-anywhere"])
            .output()
            .expect(127)
            .complains(&["no-such-program-anywhere"]);
        ground.write("plain-text", "not a program\n");
        ground.run(["./plain-text"]).output().expect(126).complains(&["plain-text"]);
        let json =
            ground.execward(["run", "--json", "--", "no-such-program-anywhere"]).output().expect(127).json();
        assert_eq!(json["outcome"], "not-found");
    });
}

#[test]
fn binary_output_passes_unchanged() {
    as_everyone(|ground| {
        let bytes: Vec<u8> = (0..=255u8).cycle().take(100_000).collect();
        ground.write("bytes", &bytes);
        assert_eq!(ground.run(["cat", "bytes"]).output().expect(0).stdout, bytes);
    });
}

#[test]
fn arguments_reach_the_program_as_they_were_given() {
    as_everyone(|ground| {
        let odd = ["", " ", "a b", "$HOME", "`id`", "*", "'", "\"", "\\", "-n", "--", "é", "\n"];
        ground.write("args.sh", "for a; do printf '<%s>' \"$a\"; done\n");
        let mut argv = vec!["sh", "args.sh"];
        argv.extend(odd);
        let bare = ground.bare(&argv).output().expect(0);
        assert_eq!(ground.run(&argv).output().expect(0).stdout(), bare.stdout());
    });
}

#[test]
fn credentials_and_injection_variables_do_not_pass() {
    as_everyone(|ground| {
        let mut command = ground.run(["env"]);
        let never = [
            ("AWS_SECRET_ACCESS_KEY", "CANARY"),
            ("GITHUB_TOKEN", "CANARY"),
            ("MY_API_KEY", "CANARY"),
            ("DB_PASSWORD", "CANARY"),
            ("SOME_UNKNOWN_NAME", "CANARY"),
            ("LD_LIBRARY_PATH", "/CANARY"),
            ("LD_AUDIT", "/CANARY"),
            ("BASH_ENV", "/CANARY"),
            ("ENV", "/CANARY"),
            ("PYTHONSTARTUP", "/CANARY"),
            ("PYTHONPATH", "/CANARY"),
            ("NODE_OPTIONS", "--require=/CANARY"),
            ("PERL5OPT", "-MCANARY"),
            ("GIT_SSH_COMMAND", "CANARY"),
            ("PROMPT_COMMAND", "CANARY"),
            ("SHELLOPTS", "CANARY"),
            ("BASH_FUNC_ls%%", "() { CANARY; }"),
            ("SSH_AUTH_SOCK", "/CANARY"),
            ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/CANARY"),
        ];
        for (name, value) in never {
            command = command.env(name, value);
        }
        let output = command.env("LANG", "C.UTF-8").output().expect(0).stdout();
        assert!(!output.contains("CANARY"), "{output}");
        assert!(output.contains("HOME=") && output.contains("PATH="), "{output}");
    });
}

#[test]
fn the_current_directory_below_the_workspace_is_kept() {
    as_everyone(|ground| {
        ground.write("deep/er/file", "");
        let workspace = ground.workspace().display().to_string();
        let mut command = ground.execward([
            "run",
            "--workspace",
            &workspace,
            "--cwd",
            &format!("{workspace}/deep/er"),
            "--",
        ]);
        command.args(["pwd"]);
        assert_eq!(command.output().expect(0).stdout().trim(), format!("{workspace}/deep/er"));
    });
}

#[test]
fn a_question_without_a_terminal_is_a_denial() {
    as_everyone(|ground| {
        let precious = ground.workspace().join("precious/file");
        ground.put(&precious, b"keep", 0o644);
        let text =
            format!("rm -rf {} /srv/no-such-canary", precious.parent().expect("a directory").display());
        let verdict = ground.execward(["check", "--json", "-c", &text]).output().json();
        assert_eq!(verdict["decision"], "ask", "{verdict}");
        ground.shell(&text).output().expect(126).complains(&[]);
        assert!(precious.exists());
    });
}

#[test]
fn hardline_commands_are_refused_by_check() {
    as_everyone(|ground| {
        for text in
            ["rm -rf /", "rm -rf --no-preserve-root /*", "dd if=/dev/zero of=/dev/sda", ":(){ :|:& };:"]
        {
            let verdict = ground.execward(["check", "--json", "-c", text]).output().json();
            assert_eq!(verdict["decision"], "hardline", "{text}: {verdict}");
        }
    });
}

#[test]
fn a_tampered_workspace_path_is_not_followed() {
    as_leg(Leg::User, |ground| {
        std::os::unix::fs::symlink("/etc", ground.workspace().join("etc")).expect("a link");
        let workspace = ground.workspace().display().to_string();
        let mut command =
            ground.execward(["run", "--workspace", &workspace, "--cwd", &format!("{workspace}/etc"), "--"]);
        command.args(["pwd"]);
        command.output().expect(125).complains(&["etc"]);
        assert!(fs::symlink_metadata(ground.workspace().join("etc")).is_ok());
    });
}
