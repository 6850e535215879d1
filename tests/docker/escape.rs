//! The escape probes in a container, with the controls that they have everywhere, and what only a container could let through.

use serde_json::{Value, json};

use super::{containers, daemon, docker_says, open, shell, with_images};
use crate::daemon::me;
use crate::escape::{attack_in, outside};
use crate::support::{Ground, Leg};

#[test]
fn nothing_outside_is_reached_by_any_probe() {
    with_images(|images| {
        let daemon = daemon(images);
        let mut client = daemon.client(me());
        let ground = Ground::new(Leg::Root).expect("a ground");
        let outside = outside(&ground);
        ground.bring_probe();
        let workspace = ground.workspace();
        let asked = json!({"workspace": workspace, "backend": "docker", "image": images.busybox});
        let session = client.call("session/open", asked).unwrap()["session"].as_str().unwrap().to_owned();
        let socket = daemon.socket("agent");
        let socket = socket.to_str().unwrap();
        let mut number = 0;
        let mut run = || {
            number += 1;
            let id = format!("p{number}");
            ground.execward([
                "exec",
                "run",
                "--socket",
                socket,
                "--session",
                &session,
                &id,
                "--",
                "./execward-probe",
            ])
        };
        attack_in(&ground, &outside, |_| true, &mut run);
        assert_eq!(containers(&daemon).len(), 1, "it is one container still");
    });
}

#[test]
fn the_container_is_what_was_asked_for() {
    with_images(|images| {
        let daemon = daemon(images);
        let mut client = daemon.client(me());
        open(&mut client, &daemon, "w", &images.busybox);
        let [container] = containers(&daemon).try_into().expect("one container");
        let made: Value = serde_json::from_str(&docker_says(&["inspect", &container])).unwrap();
        let host = &made[0]["HostConfig"];
        assert_eq!(host["CapDrop"], json!(["ALL"]));
        assert_eq!(host["CapAdd"].as_array().map(Vec::len), Some(4), "{host}");
        assert_eq!((&host["ReadonlyRootfs"], &host["Privileged"]), (&json!(true), &json!(false)));
        assert_eq!((&host["NetworkMode"], &host["IpcMode"]), (&json!("none"), &json!("private")));
        assert_eq!(
            (&host["PidMode"], &host["UTSMode"], &host["UsernsMode"]),
            (&json!(""), &json!(""), &json!(""))
        );
        assert!(host["PidsLimit"].as_i64().is_some_and(|most| most > 0), "{host}");
        assert!(
            host["Memory"].as_i64().is_some_and(|most| most > 0 && Some(most) == host["MemorySwap"].as_i64()),
            "{host}"
        );
        let options = host["SecurityOpt"].as_array().unwrap();
        assert!(options.contains(&json!("no-new-privileges")) && options.len() == 2, "{options:?}");
        assert!(host["Devices"].as_array().is_none_or(Vec::is_empty) && host["Binds"].is_null(), "{host}");
        // No engine, no user that is root's, no way to the other side, in a command's own eyes.
        let report = shell(
            &mut client,
            "look",
            "ls /var/run/docker.sock /run/docker.sock /.execward/session; id -u; grep -c : /proc/net/dev; \
             nc -w1 172.17.0.1 80; nc -w1 169.254.169.254 80; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status",
        );
        let out = report["stdout"]["text"].as_str().unwrap();
        assert!(
            !out.contains("docker.sock") && !out.contains("\nsocket\n") && !out.starts_with("0\n"),
            "{out}"
        );
        assert!(out.contains("CapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2"), "{out}");
    });
}

#[test]
fn two_sessions_see_nothing_of_each_other() {
    with_images(|images| {
        let daemon = daemon(images);
        let (mut one, mut two) = (daemon.client(me()), daemon.client(me()));
        open(&mut one, &daemon, "one", &images.busybox);
        open(&mut two, &daemon, "two", &images.busybox);
        let leave = "for d in /tmp /var/tmp /dev/shm /run . \"$HOME\"; do echo CANARY > $d/left; done; nc -l -p 4711 & sleep 1000";
        one.call("exec/start", json!({"id": "bg", "command": {"shell": leave}, "background": true})).unwrap();
        let look = "cat /tmp/left /var/tmp/left /dev/shm/left /run/left ./left \"$HOME/left\" ../one*/left; ps; nc -w1 127.0.0.1 4711 && echo connected";
        crate::daemon::until("the control: the same session sees it", || {
            let id = format!("c{}", std::process::id() ^ rand());
            let report = shell(&mut one, &id, look);
            let out = report["stdout"]["text"].as_str().unwrap().to_owned();
            out.matches("CANARY").count() >= 6 && out.contains("sleep 1000")
        });
        let report = shell(&mut two, "look", look);
        let out = report["stdout"]["text"].as_str().unwrap();
        assert!(
            !out.contains("CANARY")
                && !out.contains("sleep 1000")
                && !out.lines().any(|line| line == "connected"),
            "{out}"
        );
    });
}

/// A number that no other call gives.
fn rand() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(1 << 24);
    NEXT.fetch_add(1 << 8, Ordering::Relaxed)
}
