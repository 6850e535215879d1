//! An agent in a sandbox of its own, beside a daemon of the same user.

use std::process::Output;

use super::*;

/// Runs shell text as an agent in a sandbox.
fn wrapped(daemon: &Daemon, workspace: &str, text: &str) -> Output {
    owners(ground::execward())
        .args(["wrap", "--workspace", workspace, "--show"])
        .arg(daemon.path())
        .arg("--socket")
        .arg(daemon.socket("agent"))
        .arg("--policy")
        .arg(daemon.path().join("policy.toml"))
        .arg("--state")
        .arg(daemon.path().join("own-state"))
        .args(["--", "bash", "-c", text])
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn an_agent_in_a_sandbox_reaches_the_daemon_and_nothing_else_of_it() {
    as_both(|| {
        if is_root() {
            // Inside, root's agent is a user whom no daemon knows.
            return;
        }
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let workspace = daemon.workspace(me(), "w");
        let program = Path::new(&workspace).join("execward");
        fs::copy(ground::execward(), &program).unwrap();
        give(&program);
        // The daemon's directory is shown to it, and the one of the sockets in it stays hidden.
        let said = wrapped(&daemon, &workspace, "./execward run -- echo through the daemon");
        assert_eq!(String::from_utf8_lossy(&said.stdout), "through the daemon\n", "{said:?}");
        let ran = daemon.records("decision").pop().expect("the daemon has run it");
        assert_eq!(ran["body"]["command"]["argv"], serde_json::json!(["echo", "through", "the", "daemon"]));
        let place = daemon.path().display();
        for hidden in [
            format!("test -e {place}/run/operator.sock"),
            format!("./execward approvals list --socket {place}/run/operator.sock"),
            "./execward approvals list --socket /run/execward/agent.sock".to_owned(),
            "./execward approvals list --socket /run/execward/operator.sock".to_owned(),
            "rm /run/execward/agent.sock".to_owned(),
            "echo x > /run/execward/agent.sock".to_owned(),
            format!("echo x >> {place}/policy.toml"),
            format!("echo x > {place}/new"),
        ] {
            let said = wrapped(&daemon, &workspace, &hidden);
            assert!(!said.status.success(), "{hidden}: {said:?}");
        }
        // Nor does the daemon give it a directory that it does not have itself: another one of its user's, and one that is shown
        // to it read-only.
        let elsewhere = directory();
        let shown = daemon.workspace(me(), "shown");
        for place in [elsewhere.path().to_str().unwrap(), &shown] {
            let said = wrapped(&daemon, &workspace, &format!("./execward run --workspace {place} -- true"));
            assert!(!said.status.success(), "{place}: {said:?}");
            assert!(String::from_utf8_lossy(&said.stderr).contains("the requester sees"), "{said:?}");
            daemon.client(me()).open(place);
        }
        // The positive control: outside, the same user is an operator.
        let listed = owners(ground::execward())
            .args(["approvals", "list", "--socket"])
            .arg(daemon.socket("operator"))
            .output()
            .unwrap();
        assert!(listed.status.success(), "{listed:?}");
        daemon.verify_log();
    });
}
