//! What goes wrong under a running session: a clear word, nothing left, and a daemon that goes on.

use serde_json::{Value, json};

use super::*;
use crate::support::tool;

const ALLOW: &str = "default = \"allow\"\n";

fn setup() -> Setup<'static> {
    Setup { policy: ALLOW, ..Setup::default() }
}

/// That the daemon serves whoever asks for something new.
#[track_caller]
fn goes_on(daemon: &Daemon, name: &str) {
    let mut client = daemon.client(me());
    client.open(&daemon.workspace(me(), name));
    assert_eq!(client.run("alive", &["echo", "x"])["stdout"]["text"], "x\n");
    client.call("session/close", json!({})).unwrap();
}

fn children(pid: i32) -> Vec<i32> {
    descendants(pid).into_iter().filter(|child| parent(*child) == Some(pid)).collect()
}

fn is_gone(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

#[test]
fn a_workspace_that_is_removed_closes_its_session() {
    as_both(|| {
        let Some(daemon) = Daemon::start(setup()) else { return };
        let mut client = daemon.client(me());
        let workspace = daemon.workspace(me(), "w");
        let session = client.open(&workspace);
        let before = daemon.descendants();
        client
            .call(
                "exec/start",
                json!({"id": "on", "command": {"argv": ["sleep", "1000"]}, "background": true}),
            )
            .unwrap();
        fs::remove_dir_all(&workspace).unwrap();
        // A new one at its place is not it.
        fs::create_dir(&workspace).unwrap();
        give(Path::new(&workspace));
        let error = client
            .call("exec/start", json!({"id": "late", "command": {"argv": ["touch", "ran"]}}))
            .unwrap_err();
        assert_eq!(error["code"], 1302, "{error}");
        assert!(error["message"].as_str().is_some_and(|text| text.contains("was removed")), "{error}");
        until("the session is closed", || client.call("session/get", json!({ "session": session })).is_err());
        until("nothing of it is left", || before.iter().all(|pid| is_gone(*pid)));
        assert!(!Path::new(&workspace).join("ran").exists());
        goes_on(&daemon, "v");
        daemon.verify_log();
    });
}

#[test]
fn a_runner_that_is_killed_takes_its_session_along_and_nothing_else() {
    as_both(|| {
        let Some(mut daemon) = Daemon::start(setup()) else { return };
        let mut other = daemon.client(me());
        other.open(&daemon.workspace(me(), "other"));
        for which in 0..3 {
            let (others, mut client) = (daemon.descendants(), daemon.client(me()));
            let session = client.open(&daemon.workspace(me(), &format!("w{which}")));
            client.call("exec/start", json!({"id": "on", "command": {"argv": ["bash", "-c", "trap '' TERM; sleep 1000 & sleep 1000"]}, "output": {"mode": "stream"}})).unwrap();
            let mine = |pid: &i32| parent(*pid) == Some(daemon.pid()) && !others.contains(pid);
            let outer = daemon.descendants().into_iter().find(mine).expect("a runner");
            let session_runner = children(outer)[0];
            let runs = |pid: &i32| {
                fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"bash\0"))
            };
            let mut init = None;
            until("the command runs", || {
                init = children(session_runner).into_iter().find(|init| children(*init).iter().any(runs));
                init.is_some()
            });
            let new: Vec<i32> = [outer].into_iter().chain(descendants(outer)).collect();
            let victim = [outer, session_runner, init.expect("it was found")][which];
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(victim), nix::sys::signal::Signal::SIGKILL)
                .unwrap();
            let report = client.exited("on");
            if which < 2 {
                assert_eq!(report["outcome"], "failed", "{report}");
                assert!(report["error"].as_str().is_some_and(|error| error.contains("runner")), "{report}");
                until("the session is closed", || {
                    client.call("session/get", json!({ "session": session })).is_err()
                });
                until("nothing of it is left", || new.iter().all(|pid| is_gone(*pid)));
            } else {
                // The end of an init is the end of its command, and of nothing else.
                assert_eq!(report["outcome"], "signaled", "{report}");
                assert_eq!(client.run("next", &["echo", "x"])["stdout"]["text"], "x\n");
            }
            assert_eq!(other.run(&format!("alive{which}"), &["echo", "x"])["stdout"]["text"], "x\n");
        }
        goes_on(&daemon, "v");
        daemon.verify_log();
        daemon.signal(libc::SIGTERM);
        assert_eq!(daemon.ended(), Some(0));
    });
}

#[test]
fn a_session_that_is_full_says_so_and_has_room_again_later() {
    as_both(|| {
        let Some(daemon) = Daemon::start(setup()) else { return };
        let mut client = daemon.client(me());
        let open = json!({"workspace": daemon.workspace(me(), "w"), "limits": {"processes": 12}});
        client.call("session/open", open).unwrap();
        let fill = "for n in {1..40}; do sleep 1000 & done 2>/dev/null; wait";
        let start = json!({"id": "fill", "command": {"argv": ["bash", "-c", fill]}, "background": true});
        client.call("exec/start", start).unwrap();
        let mut refused = Value::Null;
        until("the session is full", || {
            static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
            let id = format!("more{}", NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
            let start = json!({"id": id, "command": {"argv": ["sleep", "1000"]}, "background": true});
            client.call("exec/start", start).unwrap();
            let done = client.call("exec/wait", json!({"id": id, "wait_ms": 200})).unwrap();
            refused = done["report"].clone();
            refused["outcome"] == "failed"
        });
        let said = refused.to_string();
        assert!(said.contains("as many processes as its limit allows"), "{said}");
        for exec in client.call("exec/list", json!({})).unwrap()["execs"].as_array().unwrap() {
            let _ = client.call("exec/kill", json!({"id": exec["id"]}));
        }
        let mut number = 0;
        until("there is room again", || {
            number += 1;
            client.run(&format!("again{number}"), &["echo", "x"])["stdout"]["text"] == "x\n"
        });
        goes_on(&daemon, "v");
    });
}

/// Makes files with every kind of name in each place that goes with the session, and hooks that are to be set aside.
const ODD: &str = r"import os
home = os.environ['HOME']
os.makedirs('sub/.git/hooks'); open('sub/.git/HEAD', 'w').write('ref: refs/heads/main\n')
for directory in ('sub/.git/objects', 'sub/.git/refs'): os.makedirs(directory)
kinds = [b'-rf %d', b'a\nb %d', b'\xff\xfe%d', b' %d ', b'*?[%d', b'\x1b]0;x\x07%d', b'$(touch ran)%d', '\u202e%d'.encode(), b'..%d', b'%0200d']
os.mkdir('odd')
for n in range(10000):
    name = kinds[n % len(kinds)] % n
    for place in ('odd', '/tmp', home) if n % 10 == 0 else ('odd',):
        open(os.path.join(place.encode(), name), 'w').close()
    if n % 10 == 0:
        os.close(os.open(os.path.join(b'sub/.git/hooks', name), os.O_CREAT | os.O_WRONLY, 0o755))
print('made')
";

#[test]
fn ten_thousand_files_with_odd_names_go_with_the_session() {
    if !tool("python3") {
        return;
    }
    as_both(|| {
        let Some(daemon) = Daemon::start(setup()) else { return };
        let mut client = daemon.client(me());
        let workspace = daemon.workspace(me(), "w");
        client.open(&workspace);
        let runners = daemon.descendants();
        fs::write(format!("{workspace}/odd.py"), ODD).unwrap();
        client.call("exec/start", json!({"id": "odd", "command": {"argv": ["python3", "odd.py"]}})).unwrap();
        let mut done = Value::Null;
        // Longer than anything else here: the machine may be busy.
        for _ in 0..40 {
            done = client.call("exec/wait", json!({"id": "odd", "wait_ms": 5000})).unwrap();
            if done["report"].is_object() {
                break;
            }
        }
        assert_eq!(done["stdout"]["text"], "made\n", "{done}");
        let aftermath = &done["report"]["aftermath"];
        let found = aftermath["found"].as_array().unwrap_or_else(|| panic!("{done}"));
        assert!(found.len() <= 64, "{}", found.len());
        // Every hook is accounted for: by name, by number, or by the word that not all was looked at.
        let counted = found.len() as u64 + aftermath["more"].as_u64().unwrap_or(0);
        assert!(counted >= 1000 || aftermath["unseen"].is_string(), "{counted}: {aftermath}");
        assert_eq!(fs::read_dir(format!("{workspace}/odd")).unwrap().count(), 10_000);
        assert!(!Path::new(&workspace).join("ran").exists());
        client.call("session/close", json!({})).unwrap();
        until("nothing of it is left", || runners.iter().all(|pid| is_gone(*pid)));
        goes_on(&daemon, "v");
    });
}

#[test]
fn a_flood_of_output_is_named() {
    as_both(|| {
        let Some(daemon) = Daemon::start(setup()) else { return };
        let mut client = daemon.client(me());
        client.open(&daemon.workspace(me(), "w"));
        let done = client.run("flood", &["head", "-c", "3000000", "/dev/zero"]);
        let reached = &done["report"]["reached"][0];
        assert_eq!(reached["limit"], "output", "{}", done["report"]);
        let left_out = done["stdout"]["left_out"].as_u64().unwrap();
        assert!(
            reached["evidence"].as_str().is_some_and(|text| text.contains(&left_out.to_string())),
            "{reached}"
        );
        let head = done["stdout"]["text"].as_str().unwrap().len() as u64;
        let tail = done["stdout"]["tail"]["text"].as_str().unwrap().len() as u64;
        assert_eq!((head, tail, head + tail + left_out), (100 << 10, 150 << 10, 3_000_000));
        assert_eq!(client.run("little", &["echo", "x"])["report"].get("reached"), None);
    });
}
