//! What a daemon has left is not as it was written: nothing runs twice, nothing is made up, and every end is on record.

use super::people::{agent, ask};
use super::restart::{ALONE, ASKS};
use super::*;

/// A command in the background that says in a file that it ran, and how often.
const RUNS: &str = "echo ran >> ran; i=0; while [ ! -e stop ]; do echo line $i; i=$((i+1)); sleep 0.02; done";

/// A kind of damage, and what does it.
type Case<'a> = (&'a str, &'a dyn Fn(&Path));

fn start(client: &mut Client, id: &str) {
    let command =
        json!({"id": id, "command": {"shell": RUNS}, "output": {"mode": "poll"}, "background": true});
    client.call("exec/start", command).unwrap();
}

/// Does something to the only file of the sessions' directories that has this ending, while no daemon is there.
fn damage(daemon: &Daemon, ending: &str, what: &dyn Fn(&Path)) {
    let sessions = daemon.path().join("run/sessions");
    let mut found = Vec::new();
    for session in fs::read_dir(&sessions).unwrap().flatten() {
        let files = fs::read_dir(session.path()).unwrap().flatten().map(|file| file.path());
        found.extend(files.filter(|path| path.to_str().unwrap().ends_with(ending)));
    }
    let [one] = found.as_slice() else { panic!("{found:?}") };
    what(one);
}

/// Bytes of the first entry of a diary: three numbers in front of a JSON and of data.
fn first_entry(bytes: &[u8]) -> usize {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    12 + number(0) + number(4)
}

fn cut(path: &Path, length: usize) {
    File::options().write(true).open(path).unwrap().set_len(length as u64).unwrap();
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 4;
    fs::write(path, bytes).unwrap();
}

/// The decisions to run, each with the records of its end.
fn ends(daemon: &Daemon) -> Vec<(u64, usize)> {
    let ends = daemon.records("end");
    let ran = daemon.records("decision").into_iter().filter(|record| record["body"]["outcome"] == "run");
    ran.map(|record| {
        let seq = record["seq"].as_u64().unwrap();
        (seq, ends.iter().filter(|end| end["body"]["decision"] == seq).count())
    })
    .collect()
}

#[test]
fn a_command_whose_diary_is_damaged_is_ended_and_never_runs_again() {
    as_both(|| {
        let cases: [Case<'_>; 6] = [
            ("in what was let go", &|path| flip(path, first_entry(&fs::read(path).unwrap()) + 40)),
            ("in what was asked for", &|path| flip(path, 40)),
            ("cut behind what was asked for", &|path| cut(path, first_entry(&fs::read(path).unwrap()))),
            ("in what it wrote", &|path| flip(path, fs::read(path).unwrap().len() - 3)),
            ("empty", &|path| cut(path, 0)),
            ("gone", &|path| fs::remove_file(path).unwrap()),
        ];
        for (what, damaged) in cases {
            let Some(mut daemon) = Daemon::start(Setup { config: ALONE, policy: "" }) else { return };
            let workspace = PathBuf::from(daemon.workspace(agent(), "w"));
            let mut client = daemon.client(agent());
            let session = client.open(workspace.to_str().unwrap());
            start(&mut client, "it");
            until("it writes", || {
                let read = json!({"session": session, "id": "it", "after_seq": 0, "wait_ms": 100});
                !client.call("exec/read", read).unwrap()["chunks"].as_array().unwrap().is_empty()
            });
            daemon.kill();
            damage(&daemon, ".diary", damaged);
            daemon.start_again();
            until("its end is on record", || ends(&daemon).iter().all(|(_, ends)| *ends == 1));
            let said = daemon.log();
            let is_said = ["is damaged", "how a command ended is not known", "not all there"];
            assert!(is_said.iter().any(|it| said.contains(it)) || what.contains("cut"), "{what}: {said}");
            // Whoever asks for it by its name is told, and one that is new is another.
            let mut client = daemon.client(agent());
            if !["empty", "gone", "in what was asked for"].contains(&what) {
                let waited = client.call("exec/wait", json!({"session": session, "id": "it"})).unwrap();
                assert_eq!(waited["report"]["outcome"], "failed", "{what}: {waited}");
            }
            assert_eq!(fs::read_to_string(workspace.join("ran")).unwrap(), "ran\n", "{what}");
            assert_eq!(ends(&daemon).len(), 1, "{what}");
            daemon.verify_log();
            put(&workspace.join("stop"), "");
        }
    });
}

#[test]
fn a_session_that_does_not_read_is_put_aside_and_its_commands_have_ends() {
    as_both(|| {
        for remove in [true, false] {
            let Some(mut daemon) = Daemon::start(Setup { config: ALONE, policy: "" }) else { return };
            let workspace = PathBuf::from(daemon.workspace(agent(), "w"));
            let mut client = daemon.client(agent());
            client.open(workspace.to_str().unwrap());
            start(&mut client, "a");
            until("it runs", || workspace.join("ran").exists());
            daemon.kill();
            damage(&daemon, "session.json", &|path| {
                if remove { fs::remove_file(path).unwrap() } else { cut(path, 30) }
            });
            daemon.start_again();
            until("its end is on record", || ends(&daemon).iter().all(|(_, ends)| *ends == 1));
            let kept: Vec<_> = fs::read_dir(daemon.path().join("run/sessions"))
                .unwrap()
                .flatten()
                .map(|it| it.file_name().into_string().unwrap())
                .collect();
            assert!(kept.len() == 1 && kept[0].contains(".damaged-"), "{kept:?}\n{}", daemon.log());
            assert!(daemon.log().contains("does not read"), "{}", daemon.log());
            assert_eq!(ends(&daemon).len(), 1);
            daemon.verify_log();
            put(&workspace.join("stop"), "");
        }
    });
}

#[test]
fn a_database_that_is_gone_or_worked_on_is_reported_and_never_replaced_in_silence() {
    as_both(|| {
        let cases: [Case<'_>; 4] = [
            ("emptied", &|path| cut(path, 0)),
            ("removed", &|path| fs::remove_file(path).unwrap()),
            ("version", &|path| {
                let connection = rusqlite::Connection::open(path).unwrap();
                connection.pragma_update(None, "user_version", 0).unwrap();
            }),
            ("tables", &|path| {
                rusqlite::Connection::open(path).unwrap().execute_batch("DROP TABLE grants").unwrap();
            }),
        ];
        for (what, damaged) in cases {
            let Some(mut daemon) = Daemon::start(Setup { config: ALONE, policy: "" }) else { return };
            daemon.kill();
            let path = daemon.path().join("state/state.db");
            // Nobody else may have to find the rest of it.
            rusqlite::Connection::open(&path)
                .unwrap()
                .pragma_update(None, "wal_checkpoint", "TRUNCATE")
                .unwrap();
            damaged(&path);
            let doctor = owners(ground::execward())
                .args(["doctor", "--json", "--state"])
                .arg(daemon.path().join("state"))
                .arg("--config")
                .arg(daemon.path().join("execward.toml"))
                .output()
                .unwrap();
            let said = String::from_utf8(doctor.stdout).unwrap();
            let check = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let check = check.into_iter().find(|check| check["name"] == "database").expect(what);
            assert_eq!(check["health"], "failure", "{what}: {check}");
            daemon.start_again();
            assert!(daemon.log().contains("the state was damaged"), "{what}: {}", daemon.log());
            let noted = daemon.records("authority");
            assert!(noted.iter().any(|it| it["body"]["action"] == "state-set-aside"), "{what}: {noted:?}");
        }
    });
}

#[test]
fn two_daemons_never_have_one_state() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let mut other = owners(ground::execward());
        other.args(["serve", "--socket-dir"]).arg(daemon.path().join("run2"));
        other
            .arg("--state")
            .arg(daemon.path().join("state"))
            .arg("--config")
            .arg(daemon.path().join("execward.toml"));
        other.arg("--policy").arg(daemon.path().join("policy.toml")).env_clear().current_dir("/");
        let output = other.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains("another daemon has"), "{said}");
        daemon.client(me());
    });
}

#[test]
fn who_ended_a_session_and_why_is_said_and_recorded() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let workspace = PathBuf::from(daemon.workspace(agent(), "w"));
        let mut client = daemon.client(agent());
        let session = client.open(workspace.to_str().unwrap());
        start(&mut client, "it");
        until("it runs", || workspace.join("ran").exists());
        let kill = json!({"session": session, "reason": "it floods the build server"});
        daemon.operator().call("session/kill", kill).unwrap();
        until("its end is on record", || !daemon.records("end").is_empty());
        let (end, noted) = (daemon.records("end"), daemon.records("authority"));
        let error = end[0]["body"]["error"].as_str().unwrap();
        assert!(error.contains("operator") && error.contains("floods the build server"), "{error}");
        let killed =
            noted.iter().find(|it| it["body"]["action"] == "session-killed").expect("it is recorded");
        assert_eq!(killed["body"]["subject"]["reason"], "it floods the build server");
        assert_eq!(killed["body"]["subject"]["session"], session.as_str());
    });
}

#[test]
fn people_are_shown_questions_without_the_secrets_in_them() {
    as_both(|| {
        let Some(daemon) = Daemon::start(Setup { config: "", policy: ASKS }) else { return };
        let secret = "ghp_aB3dE6gH9kL2nP5rT8vX1zC4fJ7mQ0sW3yU6";
        let mut client = daemon.client(agent());
        client.open(&daemon.workspace(agent(), "w"));
        let text = format!("echo {secret}; tee a < /dev/null; echo {secret}");
        let started = json!({"id": "q", "command": {"shell": text}, "background": true});
        client.call("exec/start", started).unwrap();
        let waiting = daemon.operator().call("approval/list", json!({})).unwrap();
        assert!(!waiting.to_string().contains(secret), "{waiting}");
        let question = &waiting["approvals"][0];
        let shown = question["command"]["shell"].as_str().unwrap();
        assert!(shown.contains("[redacted:github-token") || shown.contains("[redacted:"), "{shown}");
        let span = &question["findings"][0]["span"];
        let at = |name: &str| usize::try_from(span[name].as_u64().unwrap()).unwrap();
        let part = &shown[at("start")..at("end")];
        assert!(part.starts_with("tee a"), "{part}");
        let _ = ask;
    });
}
