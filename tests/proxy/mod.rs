//! The proxied network: what the policy lists can be reached, nothing else can, and every attempt is on record.

mod granted;
mod lab;
mod sessions;

use lab::{Lab, METADATA, OWN, PRIVATE, WEB, lab};
use serde_json::Value;

use crate::support::{Command, Ground, as_everyone, tool};

/// Names that lead to where nothing may go are on the list: the list alone does not save anybody.
const POLICY: &str = r#"
default = "allow"
[network]
mode = "proxy"
allow = [
  "web.test:80", "web.test:443", "*.good.test:80", "rebind.test:80", "private.test:80", "metadata.test:80",
  "mapped.test:80", "sixtofour.test:80", "nat64.test:80", "own.test:8080", "loop.test:80", "zero.test:80",
  "localhost:80", "metadata.google.internal:80",
]
"#;

fn run(ground: &Ground, text: &str) -> Command {
    ground.write("policy.toml", POLICY);
    ground.execward(["run", "--policy", "policy.toml", "-c", text])
}

/// Says it to the proxy as it is, and shows what comes back.
fn say(ground: &Ground, request: &str) -> String {
    let text = format!("exec 3<>/dev/tcp/127.0.0.1/3128; printf '{request}' >&3; cat <&3");
    run(ground, &text).output().stdout()
}

fn in_lab(test: impl Fn(&Ground, &Lab) + Sync) {
    as_everyone(|ground| {
        let ground: &Ground = ground;
        lab(|lab| test(ground, lab));
    });
}

fn records(ground: &Ground, kind: &str) -> Vec<Value> {
    let output = ground.execward(["audit", "export", "--kind", kind]).output().expect(0);
    output.stdout().lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["body"].take()).collect()
}

#[test]
fn what_the_policy_lists_is_reached_and_recorded() {
    if !tool("curl") {
        return;
    }
    in_lab(|ground, lab| {
        let plain = run(ground, "curl -sS http://web.test/path").output().expect(0);
        assert_eq!(plain.stdout(), "hello from 20.0.0.2\n");
        let tunnel = run(ground, "curl -sS --proxytunnel http://a.good.test/").output().expect(0);
        assert_eq!(tunnel.stdout(), "hello from 20.0.0.2\n");
        let heard = lab.heard_at(WEB);
        assert_eq!(heard.len(), 2, "{heard:?}");
        assert!(
            heard[0].starts_with("GET /path HTTP/1.1\r\n") && heard[0].contains("host: web.test\r\n"),
            "{heard:?}"
        );
        // What names the proxy stays on this side of it.
        assert!(!heard[0].to_lowercase().contains("proxy-"), "{heard:?}");

        let begun = records(ground, "connection");
        assert_eq!(begun.len(), 2, "{begun:?}");
        assert_eq!(begun[0]["method"], "GET");
        assert_eq!(begun[0]["target"], "web.test:80");
        assert_eq!(begun[0]["addresses"][0], "20.0.0.2:80");
        assert_eq!(begun[0]["outcome"], "run");
        assert_eq!(begun[1]["method"], "CONNECT");
        let ended = records(ground, "connection-end");
        assert_eq!(ended.len(), 2, "{ended:?}");
        assert_eq!(ended[0]["id"], begun[0]["id"]);
        assert_eq!(ended[0]["address"], "20.0.0.2:80");
        assert!(
            ended[1]["sent"].as_u64() > Some(10) && ended[1]["received"].as_u64() > Some(10),
            "{ended:?}"
        );
        ground.execward(["audit", "verify"]).output().expect(0);
    });
}

#[test]
fn nothing_leads_past_the_proxy() {
    in_lab(|ground, lab| {
        let text = "for at in 20.0.0.2/80 10.0.0.5/80 20.0.0.1/80; do (exec 3<>/dev/tcp/$at) 2>&1 && echo OPEN; done; \
                    for name in http_proxy HTTPS_PROXY all_proxy no_proxy; do echo $name=${!name}; done";
        let output = run(ground, text).output();
        let said = output.stdout();
        assert!(!said.contains("OPEN") && said.contains("unreachable"), "{said}");
        assert!(said.contains("HTTPS_PROXY=http://127.0.0.1:3128\n"), "{said}");
        assert!(said.contains("no_proxy=localhost,127.0.0.1,::1\n"), "{said}");
        assert_eq!(lab.heard_at(WEB), Vec::<String>::new());
        // A command that is to have no network has no proxy either.
        ground.write("policy.toml", POLICY);
        let text = "echo ${http_proxy-none}; (exec 3<>/dev/tcp/127.0.0.1/3128) 2>&1 && echo OPEN; true";
        let none = ["run", "--policy", "policy.toml", "--network", "none", "-c", text];
        let said = ground.execward(none).output().expect(0).stdout();
        assert!(said.starts_with("none\n") && !said.contains("OPEN"), "{said}");
    });
}

#[test]
fn no_spelling_of_an_address_leads_inside() {
    in_lab(|ground, lab| {
        let hosts = [
            // Not on the list.
            "other.test:80",
            "web.test:8080",
            "good.test:80",
            // On the list, and leading elsewhere.
            "private.test:80",
            "metadata.test:80",
            "mapped.test:80",
            "sixtofour.test:80",
            "nat64.test:80",
            "own.test:8080",
            "loop.test:80",
            "zero.test:80",
            "localhost:80",
            "metadata.google.internal:80",
            // Addresses.
            "10.0.0.5:80",
            "169.254.169.254:80",
            "127.0.0.1:80",
            "127.1:80",
            "0:80",
            "2852039166:80",
            "0xA9FEA9FE:80",
            "0251.0376.0251.0376:80",
            "[::1]:80",
            "[::]:80",
            "[::ffff:10.0.0.5]:80",
            "[::ffff:a9fe:a9fe]:80",
            "[::10.0.0.5]:80",
            "[64:ff9b::a9fe:a9fe]:80",
            "[2002:a00:5::]:80",
            "[fe80::1%%25own0]:80",
            "web.test@10.0.0.5:80",
            "20.0.0.1:8080",
            "20.0.0.2:80",
        ];
        // One run for all: each line is the answer to one of them.
        let words = hosts.join(" ");
        let text = format!(
            "for host in {words}; do
               exec 3<>/dev/tcp/127.0.0.1/3128
               printf \"CONNECT $host HTTP/1.1\\r\\nHost: $host\\r\\n\\r\\n\" >&3
               read -r line <&3; echo \"$line\"; exec 3>&-
               exec 3<>/dev/tcp/127.0.0.1/3128
               printf \"GET http://$host/ HTTP/1.1\\r\\nHost: $host\\r\\n\\r\\n\" >&3
               read -r line <&3; echo \"$line\"; exec 3>&-
             done"
        );
        let output = run(ground, &text).output().expect(0).stdout();
        let answers: Vec<&str> = output.lines().collect();
        assert_eq!(answers.len(), 2 * hosts.len(), "{output}");
        for (index, answer) in answers.iter().enumerate() {
            let refused =
                ["400", "403", "502"].iter().any(|code| answer.starts_with(&format!("HTTP/1.1 {code}")));
            assert!(refused, "{}: {answer}", hosts[index / 2]);
        }
        for address in [WEB, PRIVATE, METADATA, OWN] {
            assert_eq!(lab.heard_at(address), Vec::<String>::new(), "{address}");
        }
        // Each refusal is on record, by itself or counted.
        let alone = records(ground, "connection");
        assert!(alone.iter().all(|record| record["outcome"] == "denied"), "{alone:?}");
        let counted: u64 = records(ground, "repeated").iter().filter_map(|it| it["count"].as_u64()).sum();
        assert!(alone.len() as u64 + counted >= 2 * hosts.len() as u64 - 2, "{} and {counted}", alone.len());
    });
}

#[test]
fn a_name_that_changes_and_a_redirect_lead_nowhere_else() {
    if !tool("curl") {
        return;
    }
    in_lab(|ground, lab| {
        let text =
            "for turn in 1 2 3 4 5 6; do curl -s -o /dev/null -w '%{http_code} ' http://rebind.test/; done";
        let codes = run(ground, text).output().stdout();
        // The name server answers with the public address and the private one in turn.
        assert!(codes.contains("200") && codes.contains("403"), "{codes}");
        let followed = run(ground, "curl -sL -w '%{http_code}' http://web.test/redirect").output().stdout();
        assert!(followed.ends_with("403") && followed.contains("10.0.0.5"), "{followed}");
        assert_eq!(lab.heard_at(PRIVATE), Vec::<String>::new());
        assert!(lab.heard_at(WEB).len() >= 2);
    });
}

#[test]
fn one_connection_is_one_request() {
    in_lab(|ground, lab| {
        let smuggled = [
            // A second request behind the first one.
            "GET http://web.test/a HTTP/1.1\\r\\nHost: web.test\\r\\n\\r\\n\
             GET http://private.test/b HTTP/1.1\\r\\nHost: private.test\\r\\n\\r\\n",
            // Two lengths; a length and chunks; another host in the field; a line that continues.
            "POST http://web.test/c HTTP/1.1\\r\\nHost: web.test\\r\\nContent-Length: 1\\r\\nContent-Length: 50\\r\\n\\r\\nx",
            "POST http://web.test/d HTTP/1.1\\r\\nHost: web.test\\r\\nContent-Length: 5\\r\\n\
             Transfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\nGET /evil HTTP/1.1\\r\\n\\r\\n",
            "GET http://web.test/e HTTP/1.1\\r\\nHost: private.test\\r\\n\\r\\n",
            "GET http://web.test/f HTTP/1.1\\r\\nHost: web.test\\r\\nX: a\\r\\n b: c\\r\\n\\r\\n",
            "GET /g HTTP/1.1\\r\\nHost: web.test\\r\\n\\r\\n",
            "GET https://web.test/h HTTP/1.1\\r\\nHost: web.test\\r\\n\\r\\n",
        ];
        let answers = smuggled.map(|request| say(ground, request));
        let heard = lab.heard_at(WEB);
        assert!(answers[0].starts_with("HTTP/1.1 200"), "{answers:?}");
        for (index, answer) in answers.iter().enumerate().skip(1) {
            // Chunks overrule a length (RFC 9112, 6.3); what is passed on is framed anew.
            let anew = index == 2 && answer.starts_with("HTTP/1.1 200");
            assert!(anew || answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{index}: {answer}");
        }
        assert!(heard.len() <= 2, "{heard:?}");
        assert!(heard[0].starts_with("GET /a ") && !heard[0].contains("/b"), "{heard:?}");
        for again in &heard[1..] {
            assert!(again.starts_with("POST /d ") && !again.contains("content-length"), "{heard:?}");
            assert!(!again.contains("/evil"), "{heard:?}");
        }
        assert_eq!(lab.heard_at(PRIVATE), Vec::<String>::new());
    });
}
