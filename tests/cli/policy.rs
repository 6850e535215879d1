//! `execward policy`, and policies in their layers.

use std::fs;

use crate::support::{Ground, Leg, as_everyone, as_leg};

const NO_TOUCH: &str = "[[rule]]\nid = \"no-touch\"\nprogram = \"touch\"\ndecision = \"deny\"\nreason = \"a test\"\n\
                        hint = \"do not\"\nexamples = [{ command = \"touch x\", expect = \"deny\" }]\n";

fn policy(ground: &Ground, name: &str, text: &str) -> String {
    ground.put(&ground.root().join(name), text.as_bytes(), 0o644).display().to_string()
}

#[test]
fn the_policy_of_a_project_tightens_and_never_loosens() {
    as_everyone(|ground| {
        let upper = policy(ground, "upper.toml", NO_TOUCH);
        ground.write(
            ".execward/policy.toml",
            "[[rule]]\nid = \"no-mkdir\"\nprogram = \"mkdir\"\ndecision = \"deny\"\nreason = \"a test\"\n\
             [[rule]]\nid = \"touch\"\nprogram = \"*\"\ndecision = \"allow\"\nreason = \"a test\"\n",
        );
        let run = |words: &[&str]| {
            let mut command = ground.execward(["run", "--policy", &upper, "--"]);
            command.args(words);
            command.output()
        };
        run(&["touch", "made"]).expect(126);
        run(&["mkdir", "made"]).expect(126);
        assert!(!ground.workspace().join("made").exists());
        run(&["true"]).expect(0);
        // Without its own file, the project has nothing to say.
        fs::remove_dir_all(ground.workspace().join(".execward")).expect("it was written");
        run(&["mkdir", "made"]).expect(0);
        run(&["touch", "made/x"]).expect(126);
    });
}

#[test]
fn a_project_policy_that_cannot_be_used_stops_everything_and_shows_nothing_of_others() {
    as_everyone(|ground| {
        let secret = ground.outside().join("secret");
        ground.put(&secret, b"a secret that is no policy\n", 0o600);
        let at = ground.workspace().join(".execward");
        fs::create_dir(&at).expect("it is made");
        std::os::unix::fs::symlink(&secret, at.join("policy.toml")).expect("a link");
        let output = ground.execward(["run", "--", "true"]).output().expect(125);
        assert!(!output.stderr().contains("a secret"), "{}", output.stderr());
        fs::remove_file(at.join("policy.toml")).expect("it was made");
        fs::remove_dir(&at).expect("it was made");
        std::os::unix::fs::symlink(ground.outside(), &at).expect("a link");
        fs::write(ground.outside().join("policy.toml"), "a secret = that is no policy").expect("written");
        let output = ground.execward(["run", "--", "true"]).output().expect(125);
        assert!(!output.stderr().contains("a secret"), "{}", output.stderr());
        fs::remove_file(&at).expect("it was made");
        // Its own mistake is shown, with its line.
        ground.write(".execward/policy.toml", "\ndecison = 1\n");
        let output = ground.execward(["run", "--", "true"]).output().expect(125);
        assert!(output.stderr().contains(".execward/policy.toml:2:1"), "{}", output.stderr());
        ground.write(".execward/policy.toml", "include = [\"/etc/passwd\"]\n");
        let output = ground.execward(["run", "--", "true"]).output().expect(125);
        assert!(!output.stderr().contains("root:"), "{}", output.stderr());
        assert!(output.stderr().contains("includes nothing"), "{}", output.stderr());
    });
}

#[test]
fn included_files_are_as_well_kept_as_the_policy() {
    as_everyone(|ground| {
        let more = ground.put(&ground.root().join("more.toml"), NO_TOUCH.as_bytes(), 0o644);
        let main = policy(ground, "main.toml", "include = [\"more.toml\"]\n");
        ground.execward(["run", "--policy", &main, "--", "touch", "made"]).output().expect(126);
        ground.execward(["run", "--policy", &main, "--", "true"]).output().expect(0);
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        fs::set_permissions(&more, open).expect("it is ours");
        let output = ground.execward(["run", "--policy", &main, "--", "true"]).output().expect(125);
        let said = output.stderr();
        assert!(said.contains("main.toml:1:12") && said.contains("may be changed by others"), "{said}");
    });
}

#[test]
fn what_lies_below_a_directory_of_others_is_refused() {
    as_leg(Leg::Root, |ground| {
        let path = ground.put(&ground.root().join("open/deep/p.toml"), b"", 0o644);
        let run = || ground.execward(["run", "--policy", &path.display().to_string(), "--", "true"]).output();
        run().expect(0);
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(ground.root().join("open"), open).expect("it is ours");
        let output = run().expect(125);
        assert!(output.stderr().contains("open may be changed by others"), "{}", output.stderr());
    });
}

#[test]
fn a_rule_takes_the_network_away_from_what_it_allows() {
    as_everyone(|ground| {
        let text = "[network]\nmode = \"host\"\n[profile.alone]\nnetwork = { mode = \"none\" }\n\
                    [[rule]]\nid = \"alone\"\nprogram = \"ls\"\ndecision = \"allow\"\nrun-under = \"alone\"\nreason = \"a test\"\n\
                    examples = [{ command = \"ls\", expect = \"allow\", run-under = [\"alone\"] }]\n";
        let path = policy(ground, "p.toml", text);
        let interfaces = |words: &[&str]| {
            let mut command = ground.execward(["run", "--policy", &path, "--"]);
            command.args(words);
            let mut found: Vec<String> =
                command.output().expect(0).stdout().lines().map(str::to_owned).collect();
            found.sort();
            found
        };
        // The control: the same policy, and a program of which no rule speaks.
        let host = fs::read_dir("/sys/class/net").expect("a directory").count();
        let with = interfaces(&["find", "/proc/self/net/dev_snmp6", "-mindepth", "1"]);
        let without = interfaces(&["ls", "/proc/self/net/dev_snmp6"]);
        assert_eq!(without, ["lo"]);
        assert_eq!(with.len(), host, "{with:?}");
    });
}

#[test]
fn a_policy_is_linted_explained_and_tried() {
    as_everyone(|ground| {
        let text = format!(
            "default = \"ask\"\n{NO_TOUCH}[[rule]]\nid = \"open\"\nprogram = \"*\"\ndecision = \"allow\"\nreason = \"r\"\n"
        );
        let path = policy(ground, "p.toml", &text);
        let tried = ground.execward(["policy", "test", &path, "--json"]).output().expect(0).json();
        assert_eq!((&tried["coverage"]["no-touch"], &tried["examples"]), (&1.into(), &1.into()));
        let lints = ground.execward(["policy", "lint", &path, "--json"]).output().expect(1).json();
        let found: Vec<&str> = lints["lints"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|lint| lint["kind"].as_str())
            .collect();
        assert_eq!(found, ["broad", "no-examples"], "{lints}");
        assert!(lints["lints"][0]["witness"].is_string(), "{lints}");
        ground.execward(["policy", "lint"]).output().expect(0);
        let explain = |words: &[&str]| {
            let mut command = ground.execward(["policy", "explain", "--json", "--policy", &path, "--"]);
            command.args(words);
            command.output()
        };
        let denied = explain(&["touch", "x"]).expect(1).json();
        assert_eq!(
            (&denied["decision"], &denied["matched"][0]["rule"]),
            (&"deny".into(), &"no-touch".into())
        );
        assert_eq!(explain(&["ls"]).expect(0).json()["matched"][0]["rule"], "open");
        let text =
            ground.execward(["policy", "explain", "-c", "rm -r /srv/other"]).output().expect(1).stdout();
        assert!(
            text.contains("rules that speak of it:\n  delete.") && text.contains("would be allowed"),
            "{text}"
        );
    });
}

#[test]
fn a_log_is_decided_again() {
    as_everyone(|ground| {
        // The log begins here: the try whether there is a jail at all has left a record where this is the first test.
        let _ = fs::remove_dir_all(ground.state().join("audit"));
        let lax = policy(ground, "lax.toml", "");
        let strict = policy(ground, "strict.toml", NO_TOUCH);
        let run = |words: &[&str]| {
            let mut command = ground.execward(["run", "--policy", &lax, "--"]);
            command.args(words);
            command.output().expect(0)
        };
        run(&["touch", "a"]);
        run(&["true"]);
        run(&["echo", "password=hunter2hunter2"]);
        let replay = |policy: &str, words: &[&str]| {
            let mut command = ground.execward(["policy", "replay", "--policy", policy]);
            command.args(words);
            command.output()
        };
        assert!(replay(&lax, &[]).expect(0).stdout().starts_with("3 decisions, 0 of them"));
        let changed = replay(&strict, &[]).expect(1).stdout();
        assert!(
            changed.contains("allow -> deny: touch a\n    now: no-touch\n3 decisions, 1 of them"),
            "{changed}"
        );
        let lines = replay(&strict, &["--json", "--all"]).expect(1).stdout();
        let lines: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines.len(), 4);
        assert_eq!((&lines[0]["was"], &lines[0]["is"]), (&"allow".into(), &"deny".into()));
        assert_eq!(lines[2]["approximate"], true, "{}", lines[2]);
        assert_eq!(lines[3]["count"]["changed"], 1);
        // A copy of the file says the same; what is no log says so.
        let log = ground.state().join("audit/audit.jsonl");
        if log.exists() {
            assert_eq!(replay(&strict, &[&log.display().to_string()]).expect(1).stdout(), changed);
        }
        replay(&strict, &["/no/such/log"]).expect(2);
        replay("/no/such/policy", &[]).expect(2);
    });
}

#[test]
fn examples_that_hold_are_remembered_where_no_command_can_write() {
    as_everyone(|ground| {
        let path = policy(ground, "p.toml", NO_TOUCH);
        ground.execward(["run", "--policy", &path, "--", "true"]).output().expect(0);
        let list = ground.state().join("examples");
        let once = fs::read_to_string(&list).expect("it is remembered");
        assert_eq!(once.len(), 65, "{once:?}");
        ground.execward(["run", "--policy", &path, "--", "true"]).output().expect(0);
        assert_eq!(fs::read_to_string(&list).expect("it is there"), once);
        // One that others can write is not believed, and changes nothing.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        fs::set_permissions(&list, open).expect("it is ours");
        let wrong = policy(ground, "wrong.toml", &NO_TOUCH.replace("expect = \"deny\"", "expect = \"ask\""));
        ground.execward(["run", "--policy", &wrong, "--", "true"]).output().expect(125);
        assert_eq!(fs::read_to_string(&list).expect("it is there"), once);
    });
}

#[test]
fn a_batch_of_a_hundred_thousand_does_not_grow() {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::Stdio;
    as_leg(Leg::Root, |ground| {
        let mut child = ground
            .execward(["check", "--batch"])
            .stdin_from(Stdio::piped())
            .stdout_to(Stdio::piped())
            .spawn();
        let mut stdin = child.stdin.take().expect("a pipe");
        let pid = child.id();
        let resident = move || {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
            let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
            line.split_whitespace().nth(1).and_then(|size| size.parse::<u64>().ok()).expect("a number")
        };
        let writer = std::thread::spawn(move || {
            for id in 0..100_000 {
                let line = match id % 4 {
                    0 => format!("{{\"id\":{id},\"command\":\"rm -rf /usr/{id}\"}}\n"),
                    1 => format!("{{\"id\":{id},\"argv\":[\"ls\",\"{id}\"]}}\n"),
                    2 => format!(
                        "{{\"id\":{id},\"command\":\"echo {id} | sort > f{id}\",\"cwd\":\"/srv/{id}\"}}\n"
                    ),
                    _ => format!("{{\"id\":{id},\"comm\":\n"),
                };
                stdin.write_all(line.as_bytes()).expect("it reads on");
            }
            // It lives until it sees the end.
            stdin
        });
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut early = 0;
        for id in 0..100_000u64 {
            let line = lines.next().expect("a line for each").expect("text");
            if id % 4 != 3 {
                let start = format!("{{\"id\":{id},\"decision\":\"");
                assert!(line.starts_with(&start), "{line}");
            }
            if id == 10_000 {
                early = resident();
            }
        }
        let late = resident();
        assert!(late <= early + 4096, "{early} KiB became {late} KiB");
        drop(writer.join().expect("all was written"));
        assert!(lines.next().is_none());
        let status = crate::support::command::wait(&mut child, std::time::Duration::from_secs(20));
        assert_eq!(status.expect("it ends").code(), Some(1));
    });
}

#[test]
fn an_answer_has_every_field_in_its_order() {
    as_leg(Leg::Root, |ground| {
        let lines = "{\"command\":\"sudo ls\"}\n";
        let answer = ground.execward(["check", "--batch"]).stdin(lines).output().expect(1).stdout();
        assert!(
            answer.starts_with("{\"id\":null,\"decision\":\"ask\",\"findings\":[{\"rule\":\""),
            "{answer}"
        );
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
        let names = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().expect("an object").keys().cloned().collect()
        };
        let mut expected = ["id", "decision", "findings", "us"].map(str::to_owned).to_vec();
        expected.sort();
        let mut found = names(&answer);
        found.sort();
        assert_eq!(found, expected);
        let mut expected = ["rule", "span", "argv", "effect", "reason", "hint"].map(str::to_owned).to_vec();
        expected.sort();
        let mut found = names(&answer["findings"][0]);
        found.sort();
        assert_eq!(found, expected);
    });
}
