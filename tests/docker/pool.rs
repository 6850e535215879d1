//! Containers that wait for a session: faster, and otherwise no different.

use std::fs;

use serde_json::json;

use super::{Images, containers, daemon_with, docker, open, shell, with_images};
use crate::daemon::{Client, Daemon, me, until};

const POOL: &str = "[docker]\npool = 2\n";

/// Opens a session and waits until another container waits; the session's own, and the one that waits.
#[track_caller]
fn opened(
    client: &mut Client,
    daemon: &Daemon,
    images: &Images,
    before: &[String],
) -> (String, String, String) {
    let session = open(client, daemon, "w", &images.busybox);
    let fresh = |all: Vec<String>| all.into_iter().filter(|id| !before.contains(id)).collect::<Vec<_>>();
    // Whichever is taken, it has run a command; the other has not.
    shell(client, "mark", "touch /tmp/used");
    until("another one waits", || {
        let all = containers(daemon);
        all.iter().filter(|id| !is_used(id)).count() == 1 && !fresh(all).is_empty()
    });
    let all = containers(daemon);
    let waiting = all.iter().find(|id| !is_used(id)).unwrap().clone();
    let used = all.into_iter().find(|id| is_used(id) && !before.contains(id)).unwrap();
    (session, used, waiting)
}

/// Whether a session has used a container.
fn is_used(id: &str) -> bool {
    docker(&["exec", id, "/bin/busybox", "test", "-e", "/tmp/used"]).status.success()
}

#[test]
fn the_next_session_has_the_one_that_waited_and_nobody_has_it_after() {
    with_images(|images| {
        let daemon = daemon_with(images, POOL);
        let mut first = daemon.client(me());
        let (session, used, waiting) = opened(&mut first, &daemon, images, &[]);
        let mut second = daemon.client(me());
        open(&mut second, &daemon, "w", &images.busybox);
        assert_eq!(second.run("look", &["ls", "/tmp"])["stdout"]["text"], "", "it had been used");
        shell(&mut second, "mark", "touch /tmp/used; touch by-second");
        assert!(is_used(&waiting), "it is the one that waited");
        first.call("session/close", json!({ "session": session })).unwrap();
        until("the first is removed, not kept", || !containers(&daemon).contains(&used));
        assert!(fs::exists(format!("{}/by-second", daemon.workspace(me(), "w"))).unwrap());
        drop(daemon);
        let label = format!("label={}", super::LABEL);
        until("none waits for a daemon that has stopped", || {
            let left = super::docker_says(&["ps", "--all", "--no-trunc", "--quiet", "--filter", &label]);
            !left.contains(&waiting) && !left.contains(&used)
        });
    });
}

#[test]
fn one_that_is_not_what_is_asked_for_any_more_is_not_used() {
    with_images(|images| {
        let daemon = daemon_with(images, POOL);
        let workspace = daemon.workspace(me(), "w");
        let mut first = daemon.client(me());
        let (_, used, waiting) = opened(&mut first, &daemon, images, &[]);

        // What is to be hidden has come to be.
        fs::write(format!("{workspace}/.env"), "SECRET=CANARY\n").unwrap();
        let mut second = daemon.client(me());
        open(&mut second, &daemon, "w", &images.busybox);
        let done = shell(&mut second, "look", "cat .env; touch /tmp/used");
        assert!(!done.to_string().contains("CANARY"), "{done}");
        assert!(!is_used(&waiting));
        until("it is removed", || !containers(&daemon).contains(&waiting));

        // Somebody has stopped the one that waits.
        until("another one waits", || containers(&daemon).iter().any(|id| *id != used && !is_used(id)));
        let idle = containers(&daemon).into_iter().find(|id| *id != used && !is_used(id)).unwrap();
        docker(&["pause", &idle]);
        let mut third = daemon.client(me());
        open(&mut third, &daemon, "w", &images.busybox);
        assert_eq!(third.run("a", &["echo", "x"])["stdout"]["text"], "x\n");
        shell(&mut third, "mark", "touch /tmp/used");

        // Other limits are another container.
        until("another one waits", || containers(&daemon).iter().any(|id| *id != idle && !is_used(id)));
        let idle = containers(&daemon).into_iter().find(|id| *id != idle && !is_used(id)).unwrap();
        let mut fourth = daemon.client(me());
        let asked = json!({
            "workspace": workspace, "backend": "docker", "image": images.busybox, "limits": {"memory": 100 << 20}
        });
        fourth.call("session/open", asked).unwrap();
        shell(&mut fourth, "mark", "touch /tmp/used");
        assert!(!is_used(&idle));
    });
}

#[test]
fn what_changed_while_it_waited_is_no_commands_doing() {
    with_images(|images| {
        let daemon = daemon_with(images, POOL);
        let workspace = daemon.workspace(me(), "w");
        fs::create_dir_all(format!("{workspace}/.git/hooks")).unwrap();
        fs::write(format!("{workspace}/.git/HEAD"), "ref: refs/heads/main\n").unwrap();
        let mut first = daemon.client(me());
        let (_, _, waiting) = opened(&mut first, &daemon, images, &[]);
        let hook = format!("{workspace}/.git/hooks/pre-commit");
        fs::write(&hook, "#!/bin/sh\n").unwrap();
        let mut second = daemon.client(me());
        open(&mut second, &daemon, "w", &images.busybox);
        let done = shell(&mut second, "a", "touch /tmp/used; true");
        assert!(is_used(&waiting));
        assert!(fs::exists(&hook).unwrap(), "{done}");
        let done = shell(&mut second, "b", "echo evil > .git/hooks/post-commit");
        assert!(!fs::exists(format!("{workspace}/.git/hooks/post-commit")).unwrap(), "{done}");
    });
}
