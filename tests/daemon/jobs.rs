//! Jobs with real daemons: they run when they are due, as whom they should, and somebody is told, whatever happens.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::TcpListener;

use serde_json::{Value, json};

use super::*;

const POLICY: &str = "[[rule]]\nid = \"ask.uname\"\nprogram = \"uname\"\ndecision = \"ask\"\nreason = \"a test\"\n\
    examples = [{ command = \"uname -a\", expect = \"ask\" }]\n\
    [[rule]]\nid = \"deny.hostname\"\nprogram = \"hostname\"\ndecision = \"deny\"\nreason = \"a test\"\n\
    examples = [{ command = \"hostname x\", expect = \"deny\" }]\n";

/// Jobs of a daemon, with a place for their results.
pub(super) struct Place {
    pub(super) daemon: Daemon,
}

impl Place {
    pub(super) fn start(config: &str) -> Option<Self> {
        let daemon = Daemon::start(Setup { policy: POLICY, config })?;
        let place = Self { daemon };
        for name in ["jobs", "told"] {
            let path = place.daemon.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
            give(&path);
        }
        Some(place)
    }

    /// Writes a job, which is not read yet.
    pub(super) fn put(&self, name: &str, text: &str) {
        let path = self.daemon.path().join(format!("jobs/{name}.toml"));
        let workspace = self.daemon.workspace(me(), "jobs");
        fs::write(
            &path,
            text.replace("WORK", &workspace).replace("TOLD", &self.told().display().to_string()),
        )
        .unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        give(&path);
    }

    pub(super) fn reload(&self) -> Result<Value, Value> {
        self.daemon.operator().call("policy/reload", json!({}))
    }

    fn told(&self) -> PathBuf {
        self.daemon.path().join("told")
    }

    /// What was told to a file, so far.
    pub(super) fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.told().join(name)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(super) fn call(&self, method: &str, params: Value) -> Value {
        self.daemon.operator().call(method, params).unwrap()
    }

    /// Runs a job now, and waits for what is told of it.
    pub(super) fn run(&self, name: &str) -> Value {
        let run = self.call("job/run", json!({ "job": name }))["run"].clone();
        let mut told = None;
        until("the result is told", || {
            told = self.lines(name).into_iter().find(|line| line["run"] == run);
            told.is_some()
        });
        told.unwrap()
    }
}

pub(super) fn job(command: &str, more: &str, name: &str) -> String {
    format!(
        "{command}\nworkspace = \"WORK\"\n{more}\n[schedule]\nat = \"2099-01-01T00:00\"\n[[deliver]]\nfile = \"TOLD/{name}\"\n"
    )
}

#[test]
fn each_way_to_end_is_told_and_nobody_is_asked() {
    as_both(|| {
        let Some(place) = Place::start("") else { return };
        let cases = [
            ("fine", "shell = \"echo out; echo err >&2\"", "", "ok"),
            ("fails", "shell = \"exit 3\"", "", "failed"),
            ("slow", "command = [\"sleep\", \"60\"]", "timeout = \"300ms\"", "timed-out"),
            ("asks", "command = [\"uname\", \"-s\"]", "", "refused"),
            ("denied", "command = [\"hostname\", \"x\"]", "grant = [\"deny.hostname\"]", "refused"),
            ("granted", "command = [\"uname\", \"-s\"]", "grant = [\"ask.uname\"]", "ok"),
            ("other", "command = [\"uname\", \"-s\"]", "grant = [\"ask.tee\"]", "refused"),
            ("script", "shell = \"./script; uname\"", "grant = [\"ask.uname\"]", "refused"),
            ("nothing", "command = [\"no-such-program\"]", "", "failed"),
        ];
        for (name, command, more, _) in cases {
            place.put(name, &job(command, more, name));
        }
        let script = Path::new(&place.daemon.workspace(me(), "jobs")).join("script");
        fs::write(&script, "#!/bin/sh\nuname\n").unwrap();
        fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
        place.reload().unwrap();
        for (name, _, _, state) in cases {
            let told = place.run(name);
            assert_eq!(told["state"], state, "{name}: {told}");
            assert_eq!((&told["job"], &told["kind"]), (&json!(name), &json!("result")));
            let run = place.call("job/history", json!({ "job": name }))["runs"][0].clone();
            assert_eq!((&run["state"], &run["run"]), (&json!(state), &told["run"]), "{run}");
        }
        let fine = place.lines("fine").remove(0);
        assert_eq!((&fine["stdout"]["text"], &fine["stderr"]["text"]), (&json!("out\n"), &json!("err\n")));
        // The record has each of them, as what it is, and nobody was asked.
        let decisions = place.daemon.records("decision");
        let asked =
            |state: &str| decisions.iter().filter(|record| record["body"]["outcome"] == state).count();
        assert!(asked("run") >= 4 && asked("unanswered") == 3 && asked("denied") == 1, "{decisions:?}");
        let granted = decisions.iter().find(|record| record["body"]["approval"]["grant"] == "job:granted");
        assert!(granted.is_some(), "{decisions:?}");
        assert_eq!(place.call("approval/list", json!({}))["approvals"], json!([]));
        place.daemon.verify_log();
    });
}

#[test]
fn a_job_of_another_user_has_that_user_s_rights() {
    as_root(|| {
        let Some(place) = Place::start("") else { return };
        let Some(user) = Account::user() else { return };
        let workspace = place.daemon.workspace(user.uid, "theirs");
        let private = place.daemon.path().join("private");
        fs::write(&private, "secret").unwrap();
        fs::set_permissions(&private, Permissions::from_mode(0o600)).unwrap();
        let text = job("shell = \"id -u; touch made\"", &format!("user = \"{}\"", user.name), "theirs");
        place.put("theirs", &text.replace("WORK", &workspace));
        // A workspace that its user cannot have is none.
        place.put(
            "others",
            &job("command = [\"true\"]", &format!("user = \"{}\"", user.name), "others")
                .replace("WORK", "/root"),
        );
        place.reload().unwrap();
        let told = place.run("theirs");
        assert_eq!(
            (&told["state"], &told["stdout"]["text"]),
            (&json!("ok"), &json!(format!("{}\n", user.uid))),
            "{told}"
        );
        assert_eq!(
            std::os::unix::fs::MetadataExt::uid(&fs::metadata(Path::new(&workspace).join("made")).unwrap()),
            user.uid
        );
        assert_eq!(place.run("others")["state"], "failed");
    });
}

#[test]
fn a_mistake_leaves_the_jobs_as_they_were() {
    as_both(|| {
        let Some(mut place) = Place::start("") else { return };
        place.put("good", &job("command = [\"true\"]", "", "good"));
        place.reload().unwrap();
        place.put("good", &job("command = [\"false\"]", "", "good"));
        place.put("bad", &job("comand = [\"true\"]", "", "bad"));
        let error = place.reload().unwrap_err();
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("did you mean `command`?") && message.contains("bad.toml:1"), "{message}");
        assert_eq!(place.run("good")["state"], "ok");
        // One that others may write, too.
        place.put("bad", &job("command = [\"true\"]", "", "bad"));
        let open = Permissions::from_mode(0o666);
        fs::set_permissions(place.daemon.path().join("jobs/bad.toml"), open).unwrap();
        assert!(
            place.reload().unwrap_err()["message"].as_str().unwrap().contains("may be changed by others")
        );
        // And no daemon starts with it.
        place.daemon.signal(libc::SIGTERM);
        place.daemon.ended();
        let started = Daemon::command(place.daemon.path()).status().unwrap();
        assert_eq!(started.code(), Some(2), "{}", place.daemon.log());
    });
}

#[test]
fn who_may_only_look_may_not_run_or_switch() {
    as_root(|| {
        let Some(place) = Place::start("") else { return };
        place.put("j", &job("command = [\"true\"]", "", "j"));
        place.reload().unwrap();
        assert_eq!(place.call("job/list", json!({}))["jobs"][0]["enabled"], true);
        place.call("job/switch", json!({"job": "j", "on": false}));
        let listed = place.call("job/list", json!({}))["jobs"][0].clone();
        assert!(
            listed["enabled"] == false && listed["disabled_by"].is_string() && listed["next"].is_null(),
            "{listed}"
        );
        place.call("job/switch", json!({"job": "j", "on": true}));
        assert_eq!(code(place.daemon.operator().call("job/run", json!({"job": "nobody"}))), 1106);
        let switched: Vec<Value> = place.daemon.records("authority");
        assert!(switched.iter().any(|record| record["body"]["action"] == "job-disabled"), "{switched:?}");
        // An agent has no such methods.
        assert!(place.daemon.client(ANN).call("job/run", json!({"job": "j"})).is_err());
    });
}

/// Answers as many requests as there are statuses; what each said.
fn server(statuses: &[u16]) -> (u16, std::thread::JoinHandle<Vec<(String, String)>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, statuses) = (listener.local_addr().unwrap().port(), statuses.to_vec());
    let serving = std::thread::spawn(move || {
        let mut seen = Vec::new();
        for status in statuses {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if line.trim().is_empty() {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            seen.push((head, String::from_utf8(body).unwrap()));
            let location = if status == 302 { "location: http://127.0.0.1:1/\r\n" } else { "" };
            write!(stream, "HTTP/1.1 {status} X\r\n{location}content-length: 0\r\nconnection: close\r\n\r\n")
                .unwrap();
        }
        seen
    });
    (port, serving)
}

#[test]
fn a_webhook_is_signed_in_its_service_s_words_and_tried_again() {
    as_both(|| {
        let Some(place) = Place::start("") else { return };
        // The next try comes after half a minute, which one daemon waits for.
        let (port, serving) = server(if is_root() { &[200, 302, 200] } else { &[200, 302] });
        let secret = place.daemon.path().join("secret");
        fs::write(&secret, "key\n").unwrap();
        fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
        give(&secret);
        let hook = format!(
            "[[deliver]]\nwebhook = \"http://127.0.0.1:{port}/hook\"\nsecret_file = \"{}\"\n",
            secret.display()
        );
        place.put("hooked", &(job("shell = \"echo '<!channel>'; exit 1\"", "", "hooked") + &hook));
        place.put(
            "slack",
            &(job("shell = \"echo '<!channel>'; exit 1\"", "", "slack") + &hook + "template = \"slack\"\n"),
        );
        place.reload().unwrap();
        place.run("hooked");
        until("the webhook was told", || {
            place.call("job/show", json!({"job": "hooked"}))["letters"]
                .as_array()
                .unwrap()
                .iter()
                .all(|it| it["state"] == "sent")
        });
        place.run("slack");
        // A redirect is not followed, and counts as a failure that is tried again.
        let letter = || {
            let shown = place.call("job/show", json!({"job": "slack"}));
            let letters = shown["letters"].as_array().unwrap().clone();
            letters.into_iter().find(|it| it["target"].as_str().unwrap().starts_with("webhook"))
        };
        until("the redirect is a failure", || letter().is_some_and(|it| it["state"] == "failed"));
        if is_root() {
            until("it is told at last", || letter().is_some_and(|it| it["state"] == "sent"));
        }
        let seen = serving.join().unwrap();
        let (head, body) = &seen[0];
        let told: Value = serde_json::from_str(body).unwrap();
        assert_eq!((&told["job"], &told["state"]), (&json!("hooked"), &json!("failed")));
        let header = |name: &str| {
            let line =
                head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:"))).unwrap();
            line.split_once(':').unwrap().1.trim().to_owned()
        };
        let delivery = told["delivery"].as_str().unwrap();
        assert_eq!(header("execward-delivery"), delivery);
        let seconds: i64 = header("execward-timestamp").parse().unwrap();
        let signature = execward::http::signature(b"key", seconds, delivery, body.as_bytes());
        assert_eq!(header("execward-signature"), signature);
        let slack: Value = serde_json::from_str(&seen[1].1).unwrap();
        let text = slack["text"].as_str().unwrap();
        assert!(
            text.contains("slack on") && text.contains("&lt;!channel&gt;") && !text.contains('<'),
            "{text}"
        );
        assert!(seen.get(2).is_none_or(|again| again.1 == seen[1].1), "the same once more: {seen:?}");
    });
}

#[test]
fn what_was_due_while_it_was_down_is_told() {
    as_both(|| {
        let Some(mut place) = Place::start("") else { return };
        place.put(
            "often",
            &job("command = [\"true\"]", "", "often")
                .replace("at = \"2099-01-01T00:00\"", "every = \"1s\"\nlate = \"1s\""),
        );
        place.reload().unwrap();
        until("it runs by itself", || place.lines("often").iter().any(|line| line["state"] == "ok"));
        place.daemon.signal(libc::SIGTERM);
        place.daemon.ended();
        std::thread::sleep(Duration::from_secs(4));
        place.daemon.crash();
        until("what was missed is told", || {
            place
                .lines("often")
                .iter()
                .any(|line| line["state"] == "missed" && line["count"].as_u64() > Some(1))
        });
        let missed = place.lines("often").into_iter().find(|line| line["state"] == "missed").unwrap();
        assert!(missed["until"].is_string() && !missed["reason"].as_str().unwrap().is_empty(), "{missed}");
    });
}

/// How often a daemon is killed: `EXECWARD_TEST_CRASHES`, or a few times.
fn rounds() -> u32 {
    std::env::var("EXECWARD_TEST_CRASHES").ok().and_then(|text| text.parse().ok()).unwrap_or(8)
}

#[test]
fn whenever_a_daemon_is_killed_no_run_is_two_and_each_is_told() {
    as_both(|| {
        let Some(mut place) = Place::start("") else { return };
        let text = job("shell = \"echo ran >> \\\"$RUN\\\"; sleep 0.05\"", "", "often");
        // What each leaves is named by nothing but the moment: lines are counted.
        let text = text.replace("echo ran >> \\\"$RUN\\\"", "date +%s.%N >> ran");
        place.put(
            "often",
            &text.replace("at = \"2099-01-01T00:00\"", "every = \"1s\"\nlate = \"1h\"\ncatch_up = \"once\""),
        );
        place.reload().unwrap();
        until("it runs", || !place.lines("often").is_empty());
        for round in 0..rounds() {
            std::thread::sleep(Duration::from_millis(u64::from(150 + round * 437 % 1300)));
            place.daemon.crash();
        }
        place.call("job/switch", json!({"job": "often", "on": false}));
        until("nothing is open", || {
            let runs = place.call("job/history", json!({"most": 1000}))["runs"].clone();
            let open = |run: &Value| run["state"] == "scheduled" || run["state"] == "running";
            !runs.as_array().unwrap().iter().any(open)
        });
        let runs = place.call("job/history", json!({"most": 1000}))["runs"].as_array().unwrap().clone();
        let ran = fs::read_to_string(Path::new(&place.daemon.workspace(me(), "jobs")).join("ran")).unwrap();
        let begun = runs.iter().filter(|run| run["started"].is_string()).count();
        assert!(ran.lines().count() <= begun, "{} lines of {begun} runs that began", ran.lines().count());
        let mut due = BTreeMap::new();
        for run in &runs {
            assert_eq!(due.insert(run["due"].to_string(), run.clone()), None, "{run}");
        }
        // Each is told, once or, where it was killed in between, twice under one name.
        until("all is told", || {
            let told = place.lines("often");
            runs.iter()
                .all(|run| told.iter().any(|line| line["due"] == run["due"] && line["state"] == run["state"]))
        });
        let mut names = BTreeMap::<String, String>::new();
        for line in place.lines("often") {
            let name = names.entry(line["due"].to_string()).or_insert_with(|| line["delivery"].to_string());
            assert_eq!(*name, line["delivery"].to_string(), "{line}");
        }
        place.daemon.verify_log();
    });
}
