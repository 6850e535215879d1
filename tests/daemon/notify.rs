//! People elsewhere are told that questions wait.

use hmac::{KeyInit as _, Mac as _};
use serde_json::{Value, json};

use super::*;
use crate::support::model::{Reply, Seen, Server};

const POLICY: &str = "[approval]\ntimeout = \"1m\"\n[[rule]]\nid = \"ask.uname\"\nprogram = \"uname\"\ndecision = \"ask\"\n\
    reason = \"a test\"\nexamples = [{ command = \"uname -a\", expect = \"ask\" }]\n";

fn daemon(place: &Path, command: &str) -> Option<Daemon> {
    let config =
        format!("[notify]\ncommand = {command}\ndirectory = \"{}\"\nevery = \"1h\"\n", place.display());
    Daemon::start(Setup { policy: POLICY, config: &config })
}

fn ask(client: &mut Client, id: &str, argv: &[&str]) {
    let asked = json!({"id": id, "command": {"argv": argv}});
    assert_eq!(client.call("exec/start", asked).unwrap()["state"], "waiting");
}

#[test]
fn a_command_is_told_once_what_waits_with_equal_questions_as_one_and_no_secret() {
    as_both(|| {
        let place = directory();
        let told = place.path().join("told");
        let Some(daemon) = daemon(place.path(), "[\"sh\", \"-c\", \"cat >> told\"]") else { return };
        let mut client = daemon.client(people::agent());
        let session = client.open(&daemon.workspace(people::agent(), "w"));
        for id in ["1", "2", "3"] {
            ask(&mut client, id, &["uname", "-s"]);
        }
        let secret = format!("ghp_{}", "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3z56");
        ask(&mut client, "4", &["uname", &secret, "\u{1b}[2J"]);
        until("somebody is told", || fs::read_to_string(&told).is_ok_and(|text| text.ends_with('\n')));
        let text = fs::read_to_string(&told).unwrap();
        let said: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(said["waiting"], 4, "{said}");
        let questions = said["questions"].as_array().unwrap();
        assert_eq!(questions.len(), 2, "{said}");
        assert_eq!((&questions[0]["alike"], &questions[0]["command"]), (&json!(3), &json!("uname -s")));
        assert_eq!(
            (&questions[0]["session"], &questions[0]["uid"]),
            (&json!(session), &json!(people::agent()))
        );
        assert_eq!(questions[0]["rules"], json!(["ask.uname"]));
        assert!(!text.contains(&secret) && !text.contains("\\u001b"), "{text}");
        // More of them are no second notification.
        ask(&mut client, "5", &["uname", "-s"]);
        let ran = daemon.records("decision");
        let ran: Vec<&Value> =
            ran.iter().filter(|record| record["body"]["requester"]["uid"] == me()).collect();
        assert_eq!(ran.first().map(|record| &record["body"]["outcome"]), Some(&json!("run")), "{ran:?}");
        assert_eq!(fs::read_to_string(&told).unwrap().lines().count(), 1);
        daemon.verify_log();
    });
}

#[test]
fn a_webhook_is_posted_to_until_it_takes_it_and_what_it_gets_is_signed() {
    const KEY: &str = "a-long-random-text";
    as_both(|| {
        let server = Server::start(|_, number| match number {
            1 => Reply::Reset,
            2 => Reply::Answer(500, "", String::new()),
            _ => Reply::Answer(204, "", String::new()),
        });
        let webhook = format!("[notify]\nwebhook = \"{}/hook/secret-path\"\nevery = \"1h\"\n", server.url);
        let Some(mut daemon) = Daemon::start(Setup { policy: POLICY, ..Setup::default() }) else { return };
        let config = daemon.path().join("execward.toml");
        let text = fs::read_to_string(&config).unwrap() + &webhook;
        fs::write(&config, text).unwrap();
        // Without a key nothing could be signed.
        daemon.signal(libc::SIGTERM);
        daemon.ended();
        let output = Daemon::command(daemon.path()).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("has no key to sign with"), "{output:?}");
        let keys = daemon.path().join("state/keys.toml");
        fs::write(&keys, format!("[webhooks]\nnotify = [\"{KEY}\"]\n")).unwrap();
        fs::set_permissions(&keys, Permissions::from_mode(0o600)).unwrap();
        give(&keys);
        daemon.crash();
        let mut client = daemon.client(people::agent());
        client.open(&daemon.workspace(people::agent(), "w"));
        ask(&mut client, "1", &["uname", "-s"]);
        until("it is taken", || server.count() == 3);
        let seen = server.seen.lock().unwrap().clone();
        let field = |seen: &Seen, name: &str| -> String {
            let line = seen.fields.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            line.unwrap().to_owned()
        };
        let deliveries: Vec<String> = seen.iter().map(|seen| field(seen, "execward-delivery")).collect();
        assert!(deliveries.iter().all(|delivery| *delivery == deliveries[0]), "{deliveries:?}");
        let last = seen.last().unwrap();
        assert_eq!((last.path.as_str(), &last.body["waiting"]), ("/hook/secret-path", &json!(1)));
        assert_eq!(last.body["questions"][0]["command"], "uname -s");
        // As a receiver computes it.
        let time = field(last, "execward-timestamp");
        let text = format!("{time}.{}.{}", deliveries[0], last.text);
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(KEY.as_bytes()).unwrap();
        mac.update(text.as_bytes());
        let bytes = mac.finalize().into_bytes();
        let digest: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(field(last, "execward-signature"), format!("sha256={digest}"));
        until("it is recorded", || !daemon.records("notification").is_empty());
        let record = daemon.records("notification").remove(0);
        assert_eq!((&record["body"]["to"], &record["body"]["error"]), (&json!(server.url), &Value::Null));
        let audit = fs::read_to_string(daemon.path().join("state/audit/audit.jsonl")).unwrap();
        for text in [audit, daemon.log()] {
            assert!(!text.contains("secret-path") && !text.contains(KEY), "{text}");
        }
        daemon.verify_log();
    });
}

#[test]
fn a_notification_that_the_policy_asks_about_asks_nobody() {
    as_both(|| {
        let place = directory();
        let Some(daemon) = daemon(place.path(), "[\"uname\"]") else { return };
        let mut client = daemon.client(people::agent());
        client.open(&daemon.workspace(people::agent(), "w"));
        ask(&mut client, "1", &["uname", "-s"]);
        until("it is refused", || daemon.log().contains("nobody is asked about a notification"));
        let waiting = daemon.operator().call("approval/list", json!({})).unwrap();
        assert_eq!(waiting["approvals"].as_array().unwrap().len(), 1, "{waiting}");
        daemon.verify_log();
    });
}

#[test]
fn who_is_told_changes_while_the_daemon_goes_on_and_a_mistake_changes_nothing() {
    as_both(|| {
        let place = directory();
        let told =
            |name: &str| fs::read_to_string(place.path().join(name)).unwrap_or_default().lines().count();
        let Some(daemon) = Daemon::start(Setup { policy: POLICY, ..Setup::default() }) else { return };
        let config = daemon.path().join("execward.toml");
        let plain = fs::read_to_string(&config).unwrap();
        let section = |name: &str| {
            let command = format!("[\"sh\", \"-c\", \"cat >> {name}\"]");
            format!(
                "[notify]\ncommand = {command}\ndirectory = \"{}\"\nevery = \"1ms\"\n",
                place.path().display()
            )
        };
        let mut client = daemon.client(people::agent());
        client.open(&daemon.workspace(people::agent(), "w"));
        ask(&mut client, "1", &["uname", "-s"]);
        let mut operator = daemon.operator();
        let mut reload = |text: &str| {
            fs::write(&config, text).unwrap();
            operator.call("policy/reload", json!({}))
        };
        // What waits already is told to whoever is named now.
        assert_eq!(reload(&format!("{plain}{}", section("first"))).unwrap()["restart"], Value::Null);
        until("the first is told", || told("first") == 1);
        // One mistake anywhere, and all of it stays.
        let wrong = format!("{plain}{}[limits]\nsesions = 1\n", section("second"));
        let refused = reload(&wrong).unwrap_err().to_string();
        assert!(refused.contains("execward.toml:") && refused.contains("did you mean"), "{refused}");
        ask(&mut client, "2", &["uname", "-m"]);
        until("the first is told again", || told("first") == 2);
        let changed =
            format!("{}{}", plain.replace("[daemon]\n", "[daemon]\nidle = \"7m\"\n"), section("second"));
        assert_eq!(reload(&changed).unwrap()["restart"], json!(["[daemon]"]));
        until("the second is told", || told("second") >= 1);
        assert_eq!(told("first"), 2);
        // And nobody.
        reload(&plain).unwrap();
        let before = told("second");
        ask(&mut client, "3", &["uname", "-r"]);
        reload(&format!("{plain}{}", section("third"))).unwrap();
        until("the third is told", || told("third") >= 1);
        assert_eq!((told("first"), told("second")), (2, before));
        daemon.verify_log();
    });
}
