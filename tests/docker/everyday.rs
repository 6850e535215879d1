//! Commands in containers, from request to receipt.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;

use serde_json::{Value, json};

use super::{Site, containers, daemon, daemon_with, docker_says, ended, open, policy, shell, with_images};
use crate::daemon::{code, me, until};

/// The layers of a receipt that are enforced.
fn enforced(receipt: &Value) -> Vec<String> {
    let layers = receipt["layers"].as_array().cloned().unwrap_or_default();
    let enforced = layers.iter().filter(|layer| layer["enforced"] == true);
    enforced.map(|layer| layer["name"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_command_has_its_streams_its_code_its_directory_and_its_record() {
    with_images(|images| {
        let site = Site::new(&policy(images));
        let text = "pwd; echo err >&2; cat; env; touch made; id -u; exit 7";
        let mut child = site
            .run(&images.busybox, &["-c", text])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"from outside\n").unwrap();
        let (out, err) = ended(&child.wait_with_output().unwrap(), 7);
        let workspace = site.workspace();
        assert!(out.starts_with(&format!("{}\nfrom outside\n", workspace.display())), "{out}");
        assert!(err.contains("err\n"), "{err}");
        assert!(!out.contains("CANARY") && !out.contains("LD_PRELOAD"), "{out}");
        assert_ne!(out.lines().last(), Some("0"), "it was root");
        // Files of the commands are files of the requester's.
        assert_eq!(fs::metadata(workspace.join("made")).unwrap().uid(), 0);

        let json = site.run(&images.busybox, &["--json", "--", "true"]).output().unwrap();
        let report: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(report["receipt"]["backend"], "docker", "{report}");
        let layers = enforced(&report["receipt"]);
        for layer in
            ["container", "private-root", "network-namespace", "cgroup", "landlock", "seccomp", "ids", "tree"]
        {
            assert!(layers.iter().any(|name| name == layer), "no {layer}: {report}");
        }
        let log = fs::read_to_string(site.state().join("audit/audit.jsonl")).unwrap();
        assert!(log.contains("\"backend\":\"docker\""), "{log}");
        assert!(
            docker_says(&[
                "ps",
                "--all",
                "--quiet",
                "--filter",
                &format!("label=org.execward.supervisor={}", std::process::id())
            ])
            .is_empty()
        );
    });
}

#[test]
fn secrets_are_masked_and_what_is_refused_does_not_run() {
    with_images(|images| {
        let site = Site::new(&policy(images));
        let token = format!("ghp_{}", "Zk3vQ9xT7mB2wR5nL8cY1fH6jD4sG0pAqWeU");
        fs::write(site.workspace().join("leak"), format!("before\n{token}\n")).unwrap();
        let (out, err) = ended(&site.run(&images.busybox, &["--", "cat", "leak"]).output().unwrap(), 0);
        assert!(out.starts_with("before\n") && !out.contains(&token), "{out}");
        assert!(err.contains("masked"), "{err}");
        let (_, err) = ended(&site.run(&images.busybox, &["-c", "rm -rf /"]).output().unwrap(), 126);
        assert!(err.contains("hardline"), "{err}");
    });
}

#[test]
fn an_image_needs_nothing_in_it() {
    with_images(|images| {
        let site = Site::new(&policy(images));
        let (out, _) =
            ended(&site.run(&images.scratch, &["--", "/busybox", "echo", "alone"]).output().unwrap(), 0);
        assert_eq!(out, "alone\n");
        let write = ["--", "/busybox", "touch", "/tmp/t", "/var/tmp/t", "/run/t", "/dev/shm/t", "here"];
        ended(&site.run(&images.scratch, &write).output().unwrap(), 0);
        // Text needs a shell, which is not the host's.
        let (_, err) = ended(&site.run(&images.scratch, &["-c", "echo x"]).output().unwrap(), 127);
        assert!(err.contains("/bin/sh"), "{err}");
    });
}

#[test]
fn what_an_image_says_of_itself_changes_nothing() {
    with_images(|images| {
        let daemon = daemon(images);
        let mut client = daemon.client(me());
        open(&mut client, &daemon, "w", &images.hostile);
        let report = shell(
            &mut client,
            "look",
            "env; id -u; pwd; cat /proc/1/cmdline | tr '\\0' ' '; echo; touch /tmp/mine",
        );
        let out = report["stdout"]["text"].as_str().unwrap();
        assert!(!out.contains("hijacked") && !out.contains("HOSTILE") && !out.contains("evil"), "{out}");
        assert!(!out.contains("\n4242\n") && !out.contains("\n0\n"), "{out}");
        assert!(out.contains("/.execward/runner runner connect"), "{out}");
        assert_eq!(report["report"]["code"], 0, "{report}");
        let [container] = containers(&daemon).try_into().expect("one container");
        let look = |format: &str| docker_says(&["inspect", "--format", format, &container]);
        assert_eq!(look("{{json .Config.Healthcheck.Test}}"), "[\"NONE\"]");
        assert_eq!(look("{{.Config.User}} {{.State.Health}}"), "0:0 <nil>");
        // A volume would be a directory of the host's that outlives the container.
        assert!(!look("{{json .Mounts}}").contains("\"volume\""), "{}", look("{{json .Mounts}}"));
        let report = shell(&mut client, "volume", "touch /volume/x");
        assert_ne!(report["report"]["code"], 0, "{report}");
    });
}

#[test]
fn a_terminal_is_a_terminal() {
    with_images(|images| {
        let daemon = daemon(images);
        let mut client = daemon.client(me());
        open(&mut client, &daemon, "w", &images.busybox);
        let start = json!({"id": "t", "command": {"argv": ["sh", "-c", "stty size; tty; echo got $(head -n1)"]}, "pty": {"rows": 31, "cols": 101},
                           "stdin": "pipe", "output": {"mode": "poll"}});
        client.call("exec/start", start).unwrap();
        client.call("exec/write", json!({"id": "t", "text": "typed\n"})).unwrap();
        let report = client.exited("t");
        assert_eq!((&report["outcome"], &report["code"]), (&json!("exited"), &json!(0)), "{report}");
        let read = client.call("exec/read", json!({"id": "t", "max_bytes": 10_000})).unwrap();
        let text: String =
            read["chunks"].as_array().unwrap().iter().filter_map(|chunk| chunk["text"].as_str()).collect();
        assert!(
            text.contains("31 101\r\n") && text.contains("/dev/pts/") && text.contains("got typed\r\n"),
            "{text}"
        );
    });
}

#[test]
fn what_cannot_be_had_is_said_with_what_to_do() {
    with_images(|images| {
        let site = Site::new(&format!(
            "{}backends = [\"docker\"]\n",
            policy(images).replace("images = [", "images = [\"no-such/image\", ")
        ));
        let says = |image: &str, parts: &[&str]| {
            let (_, err) = ended(&site.run(image, &["--", "true"]).output().unwrap(), 125);
            for part in parts {
                assert!(err.contains(part), "no `{part}` in: {err}");
            }
        };
        says("no-such/image:1", &["there is no image no-such/image:1 here", "docker pull no-such/image:1"]);
        says("execward-test/other", &["there is no image"]);
        for smuggled in ["--privileged", "-v/:/h", "a b", "../x", "x\n"] {
            says(smuggled, &["is not the name of an image"]);
        }
        let narrow = Site::new("default = \"allow\"\n[sandbox]\nimages = [\"something/else\"]\n");
        let (_, err) = ended(&narrow.run(&images.busybox, &["--", "true"]).output().unwrap(), 125);
        assert!(err.contains("does not permit the image") && err.contains("`images`"), "{err}");
        let closed = Site::new("default = \"allow\"\n[sandbox]\nbackends = [\"jail\"]\n");
        let (_, err) = ended(&closed.run(&images.busybox, &["--", "true"]).output().unwrap(), 125);
        assert!(err.contains("does not permit the backend `docker`"), "{err}");
    });
}

#[test]
fn an_engine_that_is_down_is_named_and_everything_else_goes_on() {
    with_images(|images| {
        let daemon = daemon_with(images, "[docker]\nsocket = \"/run/no-such-engine.sock\"\n");
        let mut client = daemon.client(me());
        let asked =
            json!({"workspace": daemon.workspace(me(), "w"), "backend": "docker", "image": images.busybox});
        let error = client.call("session/open", asked).unwrap_err();
        assert_eq!(error["code"], 1500, "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("no Docker engine answers at /run/no-such-engine.sock"), "{error}");
        client.open(&daemon.workspace(me(), "w"));
        assert_eq!(client.run("alive", &["echo", "x"])["stdout"]["text"], "x\n");
    });
}

#[test]
fn a_request_has_no_words_for_what_would_open_the_container() {
    with_images(|images| {
        let daemon = daemon(images);
        let mut client = daemon.client(me());
        for (word, value) in [
            ("privileged", json!(true)),
            ("mounts", json!(["/:/h"])),
            ("pid", json!("host")),
            ("cap_add", json!(["SYS_ADMIN"])),
            ("security_opt", json!(["seccomp=unconfined"])),
            ("devices", json!(["/dev/mem"])),
            ("entrypoint", json!(["/bin/sh"])),
            ("name", json!("another")),
        ] {
            let mut asked = json!({"workspace": daemon.workspace(me(), "w"), "backend": "docker", "image": images.busybox});
            asked[word] = value;
            assert_eq!(code(client.call("session/open", asked)), -32602, "{word}");
        }
        let asked = json!({"workspace": daemon.workspace(me(), "w"), "backend": "docker", "image": images.busybox, "network": "host"});
        assert!(client.call("session/open", asked).is_err());
        assert!(containers(&daemon).is_empty());
    });
}

#[test]
fn a_session_keeps_its_shell_and_its_container() {
    with_images(|images| {
        let daemon = daemon(images);
        let mut client = daemon.client(me());
        open(&mut client, &daemon, "w", &images.busybox);
        shell(&mut client, "one", "echo kept > /tmp/kept; mkdir d");
        assert_eq!(shell(&mut client, "two", "cat /tmp/kept")["stdout"]["text"], "kept\n");
        assert_eq!(containers(&daemon).len(), 1);
        client.call("session/close", json!({})).unwrap();
        until("its container is gone", || containers(&daemon).is_empty());
    });
}

#[test]
fn images_are_listed_and_checked_against_the_policy() {
    with_images(|images| {
        let run = |args: &[&str]| {
            let mut command = std::process::Command::new(crate::support::ground::execward());
            command.args(args).env("HOME", "/nonexistent").output().unwrap()
        };
        let (out, _) = ended(&run(&["images", "list", "--json"]), 0);
        let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let ours = lines.iter().find(|line| line["names"] == json!([images.busybox])).expect("it is listed");
        assert!(ours["permitted"] == false && ours["size"].as_i64() > Some(1_000_000), "{ours}");
        // The policy that is compiled in permits execward's own, by whatever tag.
        let own = format!("execward/minimal:{}", std::process::id());
        docker_says(&["tag", &images.busybox, &own]);
        let checked = run(&["images", "check", &own]);
        docker_says(&["image", "rm", &own]);
        ended(&checked, 0);
        let (_, err) = ended(&run(&["images", "check", &images.busybox]), 1);
        assert!(err.contains("does not permit"), "{err}");
        let (_, err) = ended(&run(&["images", "check", "execward/base:no-such"]), 1);
        assert!(err.contains("execward images build base"), "{err}");
    });
}
