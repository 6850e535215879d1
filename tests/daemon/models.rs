//! The chain of models as an operator sets it up and looks at it.

use std::io::Write as _;

use super::*;
use crate::support::model::{Reply, Server, openai};

const KEYS: [&str; 3] = ["sk-secret-one", "sk-secret-two", "sk-secret-three"];

/// `execward fallback ARGS`, with a key on standard input: exit code, stdout and stderr.
fn fallback(daemon: &Daemon, args: &[&str], key: Option<&str>) -> (Option<i32>, String, String) {
    let mut command = owners(ground::execward());
    command.arg("fallback").args(args).arg("--socket").arg(daemon.socket("operator"));
    if matches!(args[0], "add" | "remove") {
        command.arg("--config").arg(daemon.path().join("execward.toml"));
        command.arg("--state").arg(daemon.path().join("state"));
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(key.unwrap_or_default().as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Puts a provider into the chain of a daemon.
pub fn provided(daemon: &Daemon, name: &str, url: &str) {
    let (base, model) = (format!("{url}/v1"), format!("{name}-model"));
    let add = ["add", name, "--api", "openai", "--base-url", &base, "--model", &model];
    let (code, _, said) = fallback(daemon, &add, Some(KEYS[0]));
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn an_operator_sets_up_a_chain_looks_at_it_and_tries_it_and_no_key_is_seen() {
    as_both(|| {
        let Some(mut daemon) = Daemon::start(Setup::default()) else { return };
        let limits = Server::start(|seen, _| match seen.fields.contains("secret-one") {
            true => Reply::Answer(429, "retry-after: 3600\r\n", String::new()),
            false => Reply::Answer(200, "", openai("yes")),
        });
        let gone = Server::always(500, "", "");
        let mut said = String::new();
        let mut run = |daemon: &Daemon, args: &[&str], key: Option<&str>| {
            let (code, out, err) = fallback(daemon, args, key);
            said += &out;
            said += &err;
            (code, out, err)
        };
        assert!(run(&daemon, &["list"], None).1.starts_with("no provider"));
        assert_eq!(run(&daemon, &["test"], None).0, Some(1));
        let base = format!("{}/v1", limits.url);
        let add = ["add", "a", "--api", "openai", "--base-url", &base, "--model", "m1"];
        assert_eq!(run(&daemon, &add, Some("blank in it\n")).0, Some(2));
        let (code, _, err) = run(&daemon, &add, Some(KEYS[0]));
        assert_eq!(code, Some(0), "{err}");
        assert!(err.contains("the daemon has taken it"), "{err}");
        assert_eq!(run(&daemon, &["add", "a"], Some(KEYS[1])).0, Some(0));
        let add = ["add", "b", "--first", "--api", "anthropic", "--base-url", &gone.url, "--model", "m2"];
        assert_eq!(run(&daemon, &add, Some(KEYS[2])).0, Some(0));
        let (_, out, _) = run(&daemon, &["list"], None);
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines[0].starts_with("1. b  m2  http://127.0.0.1:") && lines[0].contains("1 keys"), "{out}");
        assert!(
            lines[1].starts_with("2. a  m1  ") && lines[1].ends_with("2 keys (0 resting, 0 dead)  well"),
            "{out}"
        );
        let (code, out, _) = run(&daemon, &["test"], None);
        assert_eq!(code, Some(1), "{out}");
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines[0].starts_with("b  key ") && lines[0].ends_with("HTTP 500"), "{out}");
        assert!(lines[1].contains("its limit is reached") && lines[2].contains("served in "), "{out}");
        assert_eq!(run(&daemon, &["test", "a"], None).0, Some(0));
        assert_eq!(run(&daemon, &["test", "z"], None).0, Some(1));
        // What was learned outlives the daemon.
        daemon.crash();
        assert!(run(&daemon, &["list"], None).1.contains("1 keys (1 resting, 0 dead)  well"));
        assert_eq!(run(&daemon, &["remove", "b"], None).0, Some(0));
        assert!(!run(&daemon, &["list"], None).1.contains("m2"));
        // A file of keys that others can read is not used; the chain that stands goes on.
        let keys = daemon.path().join("state/keys.toml");
        fs::set_permissions(&keys, Permissions::from_mode(0o640)).unwrap();
        let refused = daemon.operator().call("policy/reload", json!({})).unwrap_err();
        assert!(refused["message"].as_str().unwrap().contains("can be read by others"), "{refused}");
        assert!(run(&daemon, &["list"], None).1.contains("m1"));
        fs::set_permissions(&keys, Permissions::from_mode(0o600)).unwrap();
        // No agent comes near any of it, and nothing tells a key.
        assert_eq!(code_of(&daemon), -32601);
        let audit = fs::read_to_string(daemon.path().join("state/audit/audit.jsonl")).unwrap();
        let config = fs::read_to_string(daemon.path().join("execward.toml")).unwrap();
        for (what, text) in
            [("what was said", &said), ("the log", &daemon.log()), ("audit", &audit), ("config", &config)]
        {
            assert!(!text.contains("secret-"), "{what}: {text}");
        }
        assert!(fs::read_to_string(&keys).unwrap().contains(KEYS[1]), "the control");
    });
}

fn code_of(daemon: &Daemon) -> i64 {
    code(daemon.client(people::agent()).call("model/list", json!({})))
}
