//! Many sessions at once, each in a container of its own.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::thread;

use serde_json::json;

use super::{containers, daemon_with, open, shell, with_images};
use crate::daemon::{Client, me, until};

const SESSIONS: usize = 50;

/// Threads that open them.
const HANDS: usize = 5;

/// What a session leaves wherever it can, and nobody else may see.
fn canary(number: usize) -> String {
    format!("CANARY-{number:03}-")
}

/// What it says of everything that it can see: files, processes, sockets, and whoever listens on the loopback.
fn look(number: usize) -> String {
    let mut text = "for d in /tmp /var/tmp /run /dev/shm \"$HOME\" . .. ../..; do ls -a $d; cat $d/left; done 2>/dev/null; \
         ps; cat /proc/[0-9]*/cmdline 2>/dev/null; cat /proc/net/unix; hostname; id -u; ls -d ../*; "
        .to_owned();
    // Its own, and two of others.
    for other in [number, (number + 1) % SESSIONS, (number + 7) % SESSIONS] {
        let _ =
            write!(text, "nc -w1 127.0.0.1 {} </dev/null; cat ../{}/left 2>/dev/null; ", 4000 + other, other);
    }
    text.push_str("true");
    text
}

#[test]
fn fifty_sessions_in_fifty_containers_see_nothing_of_each_other() {
    with_images(|images| {
        let config = format!("[limits]\nsessions = {}\nconnections = 256\n", SESSIONS + 1);
        let daemon = &daemon_with(images, &config);
        let mut clients: Vec<(usize, Client)> =
            (0..SESSIONS).map(|number| (number, daemon.client(me()))).collect();
        let each = |clients: &mut [(usize, Client)], work: &(dyn Fn(usize, &mut Client) + Sync)| {
            thread::scope(|scope| {
                for some in clients.chunks_mut(SESSIONS.div_ceil(HANDS)) {
                    scope.spawn(move || some.iter_mut().for_each(|(number, client)| work(*number, client)));
                }
            });
        };
        each(&mut clients, &|number, client| {
            open(client, daemon, &format!("w{number}"), &images.busybox);
            let canary = canary(number);
            let leave = format!(
                "for d in /tmp /var/tmp /run /dev/shm \"$HOME\" .; do echo {canary} > $d/left; mkdir -p $d/{canary}; done; \
                 while :; do echo {canary} | nc -l -p {} >/dev/null; done & exec sleep 9{number:03} # {canary}",
                4000 + number
            );
            client
                .call("exec/start", json!({"id": "bg", "command": {"shell": leave}, "background": true}))
                .unwrap();
            let mut look = 0;
            until("it has left it everywhere", || {
                look += 1;
                let seen = shell(
                    client,
                    &format!("own{look}"),
                    "cat /tmp/left /var/tmp/left /run/left /dev/shm/left \"$HOME/left\" left",
                );
                seen["stdout"]["text"].as_str().unwrap().matches(&canary).count() == 6
            });
        });
        let there: BTreeSet<String> = containers(daemon).into_iter().collect();
        assert_eq!(there.len(), SESSIONS);
        each(&mut clients, &|number, client| {
            let report = shell(client, "look", &look(number));
            let seen = report["stdout"]["text"].as_str().unwrap();
            let own = canary(number);
            assert!(seen.matches(&own).count() >= 12, "{number} does not see its own: {report}");
            for other in (0..SESSIONS).filter(|other| *other != number) {
                assert!(!seen.contains(&canary(other)), "{number} sees what {other} has left: {seen}");
                assert!(
                    !seen.contains(&format!("sleep 9{other:03}"))
                        && !seen.contains(&format!("sleep\09{other:03}")),
                    "{seen}"
                );
            }
        });
        // Nobody's processes are another one's user's.
        let mut users = BTreeSet::new();
        for (_, client) in &mut clients {
            let who = shell(client, "who", "id -u");
            users.insert(who["stdout"]["text"].as_str().unwrap().to_owned());
        }
        assert_eq!(users.len(), SESSIONS);
        each(&mut clients, &|_, client| drop(client.call("session/close", json!({})).unwrap()));
        until("all are gone", || containers(daemon).is_empty());
        daemon.verify_log();
    });
}
