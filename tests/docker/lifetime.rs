//! What ends, ends whole: commands at their limits, sessions, and supervisors that die.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{containers, daemon, docker, docker_says, open, shell, with_images};
use crate::daemon::{Client, Daemon, me, until};

/// Lines of `docker top` that have this word.
fn running(container: &str, word: &str) -> usize {
    docker_says(&["top", container, "-eo", "pid,args"]).lines().filter(|line| line.contains(word)).count()
}

/// Starts a command that goes on, and waits until it does.
fn going(client: &mut Client, container: &str) {
    let start = json!({"id": "on", "command": {"argv": ["sleep", "1234"]}, "output": {"mode": "stream"}});
    client.call("exec/start", start).unwrap();
    until("the command runs", || running(container, "sleep 1234") == 1);
}

/// That a session of another container does not notice.
#[track_caller]
fn other(client: &mut Client, id: &str) {
    assert_eq!(client.run(id, &["echo", "x"])["stdout"]["text"], "x\n");
}

#[test]
fn a_timeout_ends_the_whole_tree() {
    with_images(|images| {
        let daemon = daemon(images);
        let mut client = daemon.client(me());
        open(&mut client, &daemon, "w", &images.busybox);
        let [container] = containers(&daemon).try_into().expect("one container");
        for (id, text) in [
            (
                "daemonized",
                "setsid sh -c '(setsid sleep 4321 &) ; sleep 4321 & trap \"\" TERM; sleep 4321' & trap '' TERM HUP INT; sleep 4321; sleep 4321",
            ),
            (
                "forking",
                "trap '' TERM; f() { sleep 4321 & }; while :; do f; (setsid sleep 4321 &); sleep 0.01; done",
            ),
            ("stopped", "sleep 4321 & kill -STOP $!; kill -STOP $$"),
        ] {
            let start = json!({"id": id, "command": {"shell": text}, "timeout_ms": 700});
            let began = Instant::now();
            client.call("exec/start", start).unwrap();
            let report = client.call("exec/wait", json!({ "id": id })).unwrap();
            assert_eq!(report["report"]["outcome"], "timed-out", "{id}: {report}");
            assert!(began.elapsed() < Duration::from_secs(30), "{id}");
            assert_eq!(running(&container, "sleep 4321"), 0, "{id}: something is left");
        }
        // What a command leaves behind when it ends by itself.
        shell(&mut client, "leaves", "(setsid sleep 4321 &); sleep 4321 & echo done");
        assert_eq!(running(&container, "sleep 4321"), 0, "something is left");
        // The session goes on.
        other(&mut client, "after");
    });
}

/// Does something to the container of a session in mid-command, and says what its command came to.
fn harm(daemon: &Daemon, image: &str, name: &str, harm: impl FnOnce(&str)) -> Value {
    let before = containers(daemon);
    let mut client = daemon.client(me());
    open(&mut client, daemon, name, image);
    let container = containers(daemon).into_iter().find(|id| !before.contains(id)).expect("a container");
    going(&mut client, &container);
    harm(&container);
    let report = client.exited("on");
    until("its container is gone", || !containers(daemon).contains(&container));
    report
}

#[test]
fn what_is_done_to_a_container_from_outside_is_said_and_harms_no_other() {
    with_images(|images| {
        let daemon = daemon(images);
        let mut spared = daemon.client(me());
        open(&mut spared, &daemon, "spared", &images.busybox);
        let does = |args: &'static [&'static str]| {
            move |container: &str| {
                docker_says(&[args, &[container]].concat());
            }
        };
        for (name, args, says) in [
            ("killed", &["kill"][..], "killed from outside"),
            ("removed", &["rm", "--force"][..], "from outside"),
            ("paused", &["pause"][..], "paused from outside"),
        ] {
            let report = harm(&daemon, &images.busybox, name, does(args));
            assert_eq!(report["outcome"], "failed", "{name}: {report}");
            assert!(report["error"].as_str().is_some_and(|error| error.contains(says)), "{name}: {report}");
            other(&mut spared, name);
        }
        daemon.verify_log();
    });
}

#[test]
fn memory_that_runs_out_is_said_and_the_session_goes_on() {
    with_images(|images| {
        let daemon = daemon(images);
        let mut client = daemon.client(me());
        let asked = json!({"workspace": daemon.workspace(me(), "w"), "backend": "docker", "image": images.busybox,
                           "limits": {"memory": 64 << 20}});
        client.call("session/open", asked).unwrap();
        let script = std::path::Path::new(&daemon.workspace(me(), "w")).join("eat.sh");
        std::fs::write(script, "x=aaaaaaaa; while :; do x=$x$x; done\n").unwrap();
        let report = client.run("eat", &["sh", "eat.sh"]);
        assert!(report["report"]["reached"].to_string().contains("memory"), "{report}");
        other(&mut client, "after");
    });
}

#[test]
fn what_a_killed_daemon_leaves_is_swept_and_nobody_elses() {
    with_images(|images| {
        let mut daemon = daemon(images);
        let keeper = super::daemon(images);
        let mut spared = keeper.client(me());
        open(&mut spared, &keeper, "spared", &images.busybox);
        let stranger =
            docker_says(&["run", "--detach", "--network", "none", &images.busybox, "sleep", "1000"]);
        let mut client = daemon.client(me());
        open(&mut client, &daemon, "w", &images.busybox);
        let [container] = containers(&daemon).try_into().expect("one container");
        going(&mut client, &container);
        daemon.crash();
        let there = || docker(&["inspect", &container]).status.success();
        until("the container is gone", || !there());
        other(&mut spared, "alive");
        assert_eq!(docker_says(&["inspect", "--format", "{{.State.Running}}", &stranger]), "true");
        docker_says(&["rm", "--force", &stranger]);
        let mut client = daemon.client(me());
        open(&mut client, &daemon, "w", &images.busybox);
        other(&mut client, "again");
    });
}
