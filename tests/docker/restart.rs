//! Sessions in containers whose daemon is killed: the next one goes on with them, as with those in the jail, and by the same tests.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Images, docker, docker_says, policy, with_images};
use crate::daemon::people::agent;
use crate::daemon::restart::{self, ALONE, come_back};
use crate::daemon::{Client, Daemon, Setup, until};

fn start(images: &Images, more: &str) -> Daemon {
    start_with(images, more, ALONE)
}

fn start_with(images: &Images, more: &str, config: &str) -> Daemon {
    let policy = format!("{}{more}", policy(images));
    Daemon::start(Setup { policy: &policy, config }).expect("the jail stands for root")
}

/// Opens a session of the agent's in a container; its name.
fn open(images: &Images, client: &mut Client, workspace: &str) -> String {
    let asked = json!({"workspace": workspace, "backend": "docker", "image": images.busybox});
    let opened = client.call("session/open", asked).unwrap_or_else(|error| panic!("no session: {error}"));
    opened["session"].as_str().unwrap().to_owned()
}

/// Containers that this daemon, or one before it in its place, has made.
fn of(workspace: &Path) -> Vec<String> {
    let listed =
        docker_says(&["ps", "--all", "--no-trunc", "--quiet", "--filter", "label=org.execward.supervisor"]);
    let all = listed.lines().filter(|id| {
        let targets = docker(&["inspect", "--format", "{{range .Mounts}}{{.Destination}} {{end}}", id]);
        String::from_utf8_lossy(&targets.stdout).split(' ').any(|target| Path::new(target) == workspace)
    });
    all.map(str::to_owned).collect()
}

/// A session with a command in the background, and the one container that it is in.
struct Left {
    daemon: Daemon,
    session: String,
    workspace: PathBuf,
    container: String,
}

impl Left {
    fn new(images: &Images, config: &str) -> Self {
        let daemon = start_with(images, "", config);
        let mut client = daemon.client(agent());
        let workspace = daemon.workspace(agent(), "w");
        let session = open(images, &mut client, &workspace);
        let text = "echo one; while [ ! -e go ]; do sleep 0.05; done; echo two";
        let command =
            json!({"id": "b", "command": {"shell": text}, "output": {"mode": "poll"}, "background": true});
        client.call("exec/start", command).unwrap();
        let workspace = PathBuf::from(workspace);
        let [container] = of(&workspace).try_into().expect("one container");
        Self { daemon, session, workspace, container }
    }

    /// Ends the daemon as a crash does; none comes in its place yet.
    fn kill(&mut self) {
        self.daemon.signal(libc::SIGKILL);
        let _ = self.daemon.ended();
    }

    /// That the next daemon goes on with it.
    #[track_caller]
    fn goes_on(&mut self) {
        self.daemon.crash();
        let (mut client, session) = come_back(&self.daemon);
        assert_eq!(session, self.session);
        fs::write(self.workspace.join("go"), "").unwrap();
        let waited = client.call("exec/wait", json!({"session": session, "id": "b"})).unwrap();
        assert_eq!(waited["report"]["outcome"], "exited", "{waited}");
        let read = client.call("exec/read", json!({"session": session, "id": "b", "after_seq": 0})).unwrap();
        let text: String = read["chunks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|chunk| chunk["data"]["text"].as_str().or(chunk["text"].as_str()).unwrap())
            .collect();
        assert_eq!(text, "one\ntwo\n", "{read}");
        assert_eq!(of(&self.workspace), [self.container.as_str()]);
    }

    /// That the next daemon does not, says why, and leaves nothing of it.
    #[track_caller]
    fn is_over(&mut self, why: &str) {
        self.daemon.crash();
        let mut client = self.daemon.client(agent());
        let sessions = client.call("session/list", json!({})).unwrap();
        assert_eq!(sessions["sessions"], json!([]), "{}", self.daemon.log());
        until("the end is recorded", || self.daemon.records("end").len() == 1);
        let end = &self.daemon.records("end")[0]["body"]["error"];
        assert!(end.as_str().is_some_and(|error| error.contains(why)), "{end}");
        until("the container is gone", || of(&self.workspace).is_empty());
        assert_eq!(fs::read_dir(self.daemon.path().join("run/sessions")).unwrap().count(), 0);
        self.daemon.verify_log();
    }

    /// That another session can be had in its place.
    fn is_replaced(&self, images: &Images) {
        let mut client = self.daemon.client(agent());
        let workspace = self.workspace.to_str().unwrap();
        open(images, &mut client, workspace);
        assert_eq!(client.run("again", &["echo", "x"])["stdout"]["text"], "x\n");
        let [container] = of(&self.workspace).try_into().expect("one container");
        assert_ne!(container, self.container);
    }
}

#[test]
fn what_runs_goes_on_and_nothing_that_it_writes_is_lost() {
    with_images(|images| {
        restart::nothing_is_lost(start(images, ""), &|client, at| open(images, client, at));
    });
}

#[test]
fn a_flood_survives_whatever_its_reader_does() {
    with_images(|images| {
        restart::a_flood_survives(start(images, ""), &|client, at| open(images, client, at));
    });
}

#[test]
fn what_is_collected_and_what_is_read_goes_on() {
    with_images(|images| {
        restart::input_goes_on(start(images, ""), &|client, at| open(images, client, at));
    });
}

#[test]
fn a_question_is_asked_again_and_what_was_agreed_to_runs_once() {
    with_images(|images| {
        let daemon = start(images, restart::ASKS);
        restart::a_question_is_asked_again(daemon, &|client, at| open(images, client, at));
    });
}

#[test]
fn whenever_it_is_killed_nothing_runs_twice_and_every_start_has_one_end() {
    with_images(|images| {
        restart::nothing_runs_twice(start(images, ""), &|client, at| open(images, client, at));
    });
}

#[test]
fn told_to_stop_it_leaves_the_container_and_interrupted_it_does_not() {
    with_images(|images| {
        let mut left = Left::new(images, ALONE);
        left.daemon.signal(libc::SIGTERM);
        assert_eq!(left.daemon.ended(), Some(0));
        assert_eq!(of(&left.workspace), [left.container.as_str()]);
        left.goes_on();
        left.daemon.signal(libc::SIGINT);
        assert_eq!(left.daemon.ended(), Some(0));
        assert!(of(&left.workspace).is_empty());
        assert_eq!(fs::read_dir(left.daemon.path().join("run/sessions")).unwrap().count(), 0);
    });
}

#[test]
fn another_daemon_leaves_it_alone_and_one_that_nobody_comes_back_to_is_swept() {
    with_images(|images| {
        let mut left = Left::new(images, ALONE);
        let mut abandoned = Left::new(images, "[daemon]\nalone = \"1s\"\n");
        left.kill();
        abandoned.kill();
        until("its runner has given up", || {
            docker_says(&["inspect", "--format", "{{.State.Running}}", &abandoned.container]) == "false"
        });
        let mut other = start(images, "");
        until("what nobody comes back to is swept", || of(&abandoned.workspace).is_empty());
        // Also one that somebody has paused meanwhile is not another daemon's to remove.
        docker_says(&["pause", &left.container]);
        other.crash();
        let mut client = other.client(agent());
        open(images, &mut client, &other.workspace(agent(), "w"));
        docker_says(&["unpause", &left.container]);
        left.goes_on();
        abandoned.is_over("runner");
    });
}

#[test]
fn what_the_policy_gives_no_more_is_replaced() {
    with_images(|images| {
        for (change, why) in
            [("[limits]\nprocesses = 100\n", "the policy gives it another sandbox now"), ("IMAGES", "permit")]
        {
            let mut left = Left::new(images, ALONE);
            left.kill();
            let path = left.daemon.path().join("policy.toml");
            let standing = fs::read_to_string(&path).unwrap();
            let changed = if change == "IMAGES" {
                standing.replace(&format!("{:?}, ", images.busybox), "")
            } else {
                format!("{standing}{change}")
            };
            assert_ne!(standing, changed);
            fs::write(&path, &changed).unwrap();
            left.is_over(why);
            fs::write(&path, &standing).unwrap();
            left.daemon.crash();
            left.is_replaced(images);
        }
    });
}

#[test]
fn what_was_done_to_it_while_nobody_looked_is_seen_and_it_is_replaced() {
    with_images(|images| {
        for (what, args, why) in [
            ("killed", &["kill"][..], "runner"),
            ("removed", &["rm", "--force"][..], "runner"),
            ("paused", &["pause"][..], "does not run"),
            ("given more", &["update", "--pids-limit", "5000"][..], "not what was asked for"),
        ] {
            let mut left = Left::new(images, ALONE);
            left.kill();
            docker_says(&[args, &[&left.container]].concat());
            eprintln!("-- {what}");
            left.is_over(why);
            left.is_replaced(images);
        }
    });
}

/// A supervisor believes a socket as little as anything else that it finds: whoever answers must be the container's.
#[test]
fn nobody_else_answers_for_its_runner() {
    with_images(|images| {
        let mut left = Left::new(images, ALONE);
        left.kill();
        let socket = left.daemon.path().join("run/sessions").join(&left.session).join("runner.sock");
        fs::remove_file(&socket).unwrap();
        let stranger = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        left.is_over("answered for the container");
        drop(stranger);
        left.is_replaced(images);
    });
}

#[test]
fn a_container_that_waited_serves_through_a_restart_and_one_that_waits_goes() {
    with_images(|images| {
        let mut daemon = start_with(images, "", &format!("{ALONE}[docker]\npool = 2\n"));
        let workspace = PathBuf::from(daemon.workspace(agent(), "w"));
        let mut client = daemon.client(agent());
        let first = open(images, &mut client, workspace.to_str().unwrap());
        until("one waits", || of(&workspace).len() == 2);
        client.call("session/close", json!({ "session": first })).unwrap();
        until("it is removed", || of(&workspace).len() == 1);
        let waited = of(&workspace);
        let session = open(images, &mut client, workspace.to_str().unwrap());
        until("another one waits", || of(&workspace).len() == 2);
        daemon.crash();
        until("what waited for nobody is gone", || of(&workspace) == waited);
        let (mut client, same) = come_back(&daemon);
        assert_eq!(same, session);
        let command = json!({"session": session, "id": "a", "command": {"argv": ["id", "-u"]}});
        client.call("exec/start", command).unwrap();
        let done: Value = client.call("exec/wait", json!({"session": session, "id": "a"})).unwrap();
        assert_eq!(done["report"]["code"], 0, "{done}");
    });
}
