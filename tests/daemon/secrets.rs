//! Secrets that the policy gives to commands: who gets them, who does not, and that none is ever seen.

use std::io::Write as _;

use super::*;

const TOKEN: &str = "s3cr3t-of-the-deployment";
const KEY: &str = "-----BEGIN KEY-----\nQkFTRTY0LW9mLWEta2V5LXRoYXQtaXMtbG9uZw1\n-----END KEY-----";

const POLICY: &str = r#"
[[rule]]
id = "deploy.env"
decision = "allow"
reason = "a test"
program = ["printenv", "/usr/bin/printenv"]
arguments = { exactly = ["DEPLOY_TOKEN"] }
secrets = [{ name = "deploy-token", env = "DEPLOY_TOKEN" }]

[[rule]]
id = "deploy.all"
decision = "allow"
reason = "a test"
program = ["cp", "ls", "sha256sum", "sleep", "touch"]
arguments = { any = ["/run/secrets/key", "7", "/var/tmp", "made"] }
secrets = [
    { name = "deploy-token", env = "DEPLOY_TOKEN" },
    { name = "deploy-key", file = "key", env = "KEY_FILE" },
]

[[rule]]
id = "deploy.asked"
decision = "ask"
reason = "a test"
program = "printenv"
arguments = { exactly = ["ASKED_TOKEN"] }
secrets = [{ name = "deploy-token", env = "ASKED_TOKEN" }]

[[rule]]
id = "deploy.missing"
decision = "allow"
reason = "a test"
program = "printenv"
arguments = { exactly = ["OTHER"] }
secrets = [{ name = "no-such", env = "OTHER" }]
"#;

/// `execward secret ARGS`, with a value on standard input: exit code, stdout and stderr.
fn secret(daemon: &Daemon, args: &[&str], value: &str) -> (Option<i32>, String, String) {
    let mut command = owners(ground::execward());
    command.arg("secret").args(args).arg("--state").arg(daemon.path().join("state"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(value.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn start(policy: &str) -> Option<Daemon> {
    let daemon = Daemon::start(Setup { policy, ..Setup::default() })?;
    for (name, value) in [("deploy-token", TOKEN), ("deploy-key", KEY)] {
        assert_eq!(secret(&daemon, &["set", name], &format!("{value}\n")).0, Some(0));
    }
    Some(daemon)
}

#[test]
fn one_that_has_a_secret_does_not_outlive_its_daemon() {
    as_both(|| {
        let setup = Setup { policy: POLICY, config: "[daemon]\nalone = \"60s\"\n" };
        let Some(mut daemon) = Daemon::start(setup) else { return };
        for (name, value) in [("deploy-token", TOKEN), ("deploy-key", KEY)] {
            assert_eq!(secret(&daemon, &["set", name], &format!("{value}\n")).0, Some(0));
        }
        let mut client = daemon.client(me());
        let session = client.open(&daemon.workspace(me(), "w"));
        let command =
            |id: &str, argv: &[&str]| json!({"id": id, "command": {"argv": argv}, "background": true});
        client.call("exec/start", command("has", &["sleep", "7"])).unwrap();
        client.call("exec/start", command("has-none", &["sleep", "9"])).unwrap();
        daemon.crash();
        let mut client = daemon.client(me());
        let wait = |client: &mut Client, id: &str, ms: u64| {
            client.call("exec/wait", json!({"session": session, "id": id, "wait_ms": ms})).unwrap()
        };
        let ended = wait(&mut client, "has", 5_000);
        assert!(ended["report"]["error"].as_str().unwrap().contains("secret"), "{ended}");
        assert_eq!(wait(&mut client, "has-none", 0)["state"], "running");
        let files = fs::read_dir(daemon.path().join("run/sessions").join(&session)).unwrap();
        for file in files.flatten().filter(|file| file.file_type().unwrap().is_file()) {
            let text = fs::read(file.path()).unwrap();
            assert!(!String::from_utf8_lossy(&text).contains(TOKEN), "{}", file.path().display());
        }
    });
}

/// Runs something to its end, or hears why not.
fn run(client: &mut Client, id: &str, mut asked: Value) -> Result<Value, Value> {
    asked["id"] = json!(id);
    client.call("exec/start", asked)?;
    client.call("exec/wait", json!({ "id": id }))
}

fn shell(client: &mut Client, id: &str, text: &str) -> Value {
    run(client, id, json!({"command": {"shell": text}})).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn out(done: &Value) -> &str {
    done["stdout"]["text"].as_str().unwrap_or_else(|| panic!("{done}"))
}

/// Whether a finding says this.
fn says(done: &Value, what: &str) -> bool {
    done["report"]["findings"].to_string().contains(what)
}

#[test]
fn a_command_has_its_secret_and_whoever_comes_after_it_sees_a_mask() {
    as_both(|| {
        let Some(daemon) = start(POLICY) else { return };
        let mut client = daemon.client(me());
        client.open(&daemon.workspace(me(), "w"));
        // By itself, whatever way it is asked for.
        let masked = "[redacted:value deploy-token ***]\n";
        for (id, command) in [
            ("a", json!({"shell": "printenv DEPLOY_TOKEN"})),
            ("b", json!({"argv": ["printenv", "DEPLOY_TOKEN"]})),
            ("c", json!({"argv": ["/usr/bin/printenv", "DEPLOY_TOKEN"]})),
        ] {
            let done = run(&mut client, id, json!({ "command": command })).unwrap();
            assert_eq!(out(&done), masked, "{done}");
            assert!(says(&done, "is given the secret `deploy-token` as $DEPLOY_TOKEN"), "{done}");
            let layers = done["report"]["receipt"]["layers"].to_string();
            assert!(layers.contains("given the secrets deploy-token"), "{layers}");
        }
        // As a file: exactly these bytes, for the command's user alone, and nothing left of it.
        let done = shell(&mut client, "d", "sha256sum /run/secrets/key");
        let digest = sha256(KEY);
        assert!(out(&done).starts_with(&digest), "{done}");
        shell(&mut client, "e", "cp /run/secrets/key out");
        for (id, text) in [
            ("f", "cat out"),
            ("g", "base64 -w0 out"),
            ("h", "x=$(cat out); echo \"$x\"; sed -n 2p out"),
            ("i", "od -An -tx1 out | tr -d ' \\n'"),
        ] {
            let done = shell(&mut client, id, text);
            assert!(out(&done).contains("[redacted:value deploy-key"), "{text}: {done}");
            assert!(!out(&done).contains("QkFTRTY0"), "{text}: {done}");
        }
        let done = shell(&mut client, "j", "ls /run/secrets; echo -n $DEPLOY_TOKEN | wc -c");
        assert_eq!(out(&done), "0\n", "{done}");
        // Another session, and one that was open all the while, know it as well.
        let mut other = daemon.client(me());
        other.open(&daemon.workspace(me(), "w"));
        assert!(out(&shell(&mut other, "k", "cat out")).contains("[redacted:"), "another session");
    });
}

fn sha256(text: &str) -> String {
    let mut child = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    output.split(' ').next().unwrap().to_owned()
}

#[test]
fn nobody_beside_it_has_it() {
    as_both(|| {
        let Some(daemon) = start(POLICY) else { return };
        let mut client = daemon.client(me());
        let workspace = daemon.workspace(me(), "w");
        client.open(&workspace);
        for (id, text) in [
            ("a", "printenv DEPLOY_TOKEN; env"),
            ("b", "true && printenv DEPLOY_TOKEN"),
            ("c", "printenv DEPLOY_TOKEN | rev"),
            ("d", "env printenv DEPLOY_TOKEN"),
            ("e", "sh -c 'printenv DEPLOY_TOKEN'"),
            ("f", "printenv() { env; }; printenv DEPLOY_TOKEN"),
            ("g", "./printenv DEPLOY_TOKEN"),
            ("h", "PATH=.:$PATH printenv DEPLOY_TOKEN"),
            ("i", "printenv DEPLOY_TOKEN > out"),
        ] {
            let done = shell(&mut client, id, text);
            assert!(
                !out(&done).contains("DEPLOY_TOKEN=") && !out(&done).contains("redacted"),
                "{text}: {done}"
            );
            assert_eq!(done["report"]["masked"], 0, "{text}: {done}");
        }
        assert!(says(&shell(&mut client, "j", "printenv DEPLOY_TOKEN; env"), "is not given the secret"));
        // What lies in the way of the program is not what runs.
        shell(&mut client, "k", "printf '#!/bin/sh\\nenv > stolen\\n' > printenv; chmod +x printenv");
        let done = shell(&mut client, "l", "printenv DEPLOY_TOKEN");
        assert!(out(&done).contains("[redacted:"), "{done}");
        assert!(!Path::new(&workspace).join("stolen").exists());
        // While it runs, others of the session see neither its variables nor its file.
        let sleeper = json!({"id": "m", "command": {"argv": ["sleep", "7"]}, "background": true});
        assert_eq!(client.call("exec/start", sleeper).unwrap()["state"], "running");
        let spy = "cat /proc/[0-9]*/environ | grep -ac DEPLOY_TOKEN; ls /run/secrets /proc/*/root/run/secrets; \
                   SPY=1 sh -c 'cat /proc/[0-9]*/environ | grep -ac SPY'";
        let done = shell(&mut client, "n", spy);
        assert_eq!(out(&done), "0\n1\n", "{done}");
        client.call("exec/kill", json!({"id": "m"})).unwrap();
    });
}

#[test]
fn nothing_that_another_command_left_outside_the_workspace_reaches_it() {
    as_both(|| {
        let Some(daemon) = start(POLICY) else { return };
        let mut client = daemon.client(me());
        let workspace = daemon.workspace(me(), "w");
        client.open(&workspace);
        let traps = "for place in ~ /tmp /var/tmp /dev/shm /run; do echo evil > $place/trap; done; \
                     mkdir -p /run/secrets; echo evil > /run/secrets/key; ls -A ~ /var/tmp";
        assert!(out(&shell(&mut client, "a", traps)).contains("trap"), "the control");
        let list = "ls -A /tmp /run /dev/shm /run/secrets /var/tmp";
        let done = shell(&mut client, "b", list);
        assert!(!out(&done).contains("trap"), "{done}");
        assert!(out(&done).contains("/run/secrets:\nkey\n"), "{done}");
        assert!(out(&shell(&mut client, "c", "sha256sum /run/secrets/key")).starts_with(&sha256(KEY)));
        // The workspace, which lies in such a place, is what it was, and can be changed.
        shell(&mut client, "d", "touch made");
        assert!(Path::new(&workspace).join("made").exists());
        assert_eq!(out(&shell(&mut client, "e", "cat /tmp/trap ~/trap")), "evil\nevil\n");
    });
}

#[test]
fn what_its_requester_sets_or_leaves_is_refused_and_nothing_of_it_is_kept() {
    as_both(|| {
        let Some(daemon) = start(POLICY) else { return };
        let mut client = daemon.client(me());
        client.open(&daemon.workspace(me(), "w"));
        let asked = json!({"command": {"shell": "printenv DEPLOY_TOKEN"}, "env": {"DEPLOY_URL": "https://evil.example"}});
        let refused = run(&mut client, "a", asked).unwrap_err();
        assert!(refused["message"].as_str().unwrap().contains("sets the variable DEPLOY_URL"), "{refused}");
        let missing = run(&mut client, "b", json!({"command": {"shell": "printenv OTHER"}})).unwrap_err();
        assert!(missing["message"].as_str().unwrap().contains("execward secret set no-such"), "{missing}");
        // A shell that goes on says what it exports: this one does not, and where it was given nothing it still may.
        let go_on = |text: &str| json!({"command": {"shell": text}, "persist": true});
        run(&mut client, "c", go_on("cd .")).unwrap();
        let done = run(&mut client, "d", go_on("printenv DEPLOY_TOKEN")).unwrap();
        assert!(out(&done).contains("[redacted:"), "{done}");
        assert!(done["report"]["notes"].to_string().contains("is not kept"), "{done}");
        assert_eq!(
            out(&run(&mut client, "e", go_on("echo -n $DEPLOY_TOKEN | wc -c; export A=1")).unwrap()),
            "0\n"
        );
        let refused = run(&mut client, "f", go_on("printenv DEPLOY_TOKEN")).unwrap_err();
        assert!(refused["message"].as_str().unwrap().contains("sets the variable A"), "{refused}");
        // Who is asked hears of it.
        let mut operator = daemon.operator();
        let start = json!({"id": "g", "command": {"shell": "printenv ASKED_TOKEN"}});
        assert_eq!(client.call("exec/start", start).unwrap()["state"], "waiting");
        let waiting = operator.call("approval/list", json!({})).unwrap();
        assert!(
            waiting.to_string().contains("is given the secret `deploy-token` as $ASKED_TOKEN"),
            "{waiting}"
        );
        let approval = waiting["approvals"][0]["approval"].clone();
        operator.call("approval/answer", json!({"approval": approval, "answer": "once"})).unwrap();
        let done = client.call("exec/wait", json!({"id": "g"})).unwrap();
        assert!(out(&done).contains("[redacted:"), "{done}");
    });
}

#[test]
fn each_use_is_on_record_and_no_value_is_anywhere() {
    as_both(|| {
        let Some(daemon) = start(POLICY) else { return };
        let mut client = daemon.client(me());
        client.open(&daemon.workspace(me(), "w"));
        shell(&mut client, "a", "printenv DEPLOY_TOKEN");
        // An old value is masked for as long as the daemon runs, the new one from the moment that it is set.
        let next = "s3cr3t-of-the-next-one";
        assert_eq!(secret(&daemon, &["set", "deploy-token"], next).0, Some(0));
        shell(&mut client, "b", "printenv DEPLOY_TOKEN");
        let done = shell(&mut client, "c", &format!("echo {TOKEN} {next}; echo {next} >&2"));
        assert_eq!(
            out(&done),
            "[redacted:value deploy-token ***] [redacted:value deploy-token ***]\n",
            "{done}"
        );
        let refused =
            run(&mut client, "d", json!({"command": {"shell": format!("rm -rf / {next}")}})).unwrap_err();
        assert!(!refused.to_string().contains("next-one"), "{refused}");
        // One that is gone is not given.
        assert_eq!(secret(&daemon, &["remove", "deploy-token"], "").0, Some(0));
        assert!(run(&mut client, "e", json!({"command": {"shell": "printenv DEPLOY_TOKEN"}})).is_err());
        // One that others can read is not used.
        secret(&daemon, &["set", "deploy-token"], next);
        let path = daemon.path().join("state/secrets.toml");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let refused =
            run(&mut client, "f", json!({"command": {"shell": "printenv DEPLOY_TOKEN"}})).unwrap_err();
        assert!(refused["message"].as_str().unwrap().contains("can be read by others"), "{refused}");
        let audit = fs::read_to_string(daemon.path().join("state/audit/audit.jsonl")).unwrap();
        let uses = audit.lines().filter(|line| line.contains("\"secrets\":[{")).count();
        assert_eq!(uses, 2, "{audit}");
        assert!(audit.contains(r#""name":"deploy-token","rule":"deploy.env""#), "{audit}");
        let everything =
            Command::new("grep").args(["-rlE", "s3cr3t-of|QkFTRTY0"]).arg(daemon.path()).output().unwrap();
        let found = String::from_utf8(everything.stdout).unwrap();
        assert_eq!(
            found.lines().collect::<Vec<_>>(),
            [path.to_str().unwrap()],
            "nowhere but where it is kept"
        );
    });
}

#[test]
fn the_command_line_keeps_only_what_could_be_masked_and_shows_names() {
    as_both(|| {
        let Some(daemon) = start(POLICY) else { return };
        for (value, why) in [("k3y", "shorter than 8"), ("production", "ordinary text"), ("", "shorter")] {
            let (code, out, err) = secret(&daemon, &["set", "x"], value);
            assert!(code == Some(2) && err.contains(why), "{value}: {code:?} {out}{err}");
            assert!(value.is_empty() || !err.contains(value), "{err}");
        }
        assert_eq!(secret(&daemon, &["set", "A B"], TOKEN).0, Some(2));
        assert_eq!(secret(&daemon, &["remove", "x"], "").0, Some(2));
        let policy = daemon.path().join("policy.toml");
        let (code, out, _) = secret(&daemon, &["list", "--policy", policy.to_str().unwrap()], "");
        assert_eq!(code, Some(0));
        for line in [
            "deploy-token\n    by deploy.env (operator) as $DEPLOY_TOKEN\n",
            "by deploy.all (operator) as the file /run/secrets/key, named by $KEY_FILE\n",
            "no-such  not set\n",
        ] {
            assert!(out.contains(line), "{out}");
        }
        assert!(!out.contains("s3cr3t"), "{out}");
    });
}
