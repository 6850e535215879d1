//! Sessions' rights under any order of events: several clients of several users, what they do and whose session they do it
//! to drawn at random. Whatever comes between, a session is its principal's and nobody else's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::*;

/// How many things are done: `EXECWARD_TEST_STEPS`, or a few hundred.
fn steps() -> u32 {
    std::env::var("EXECWARD_TEST_STEPS").ok().and_then(|text| text.parse().ok()).unwrap_or(400)
}

/// A generator that a failure can be repeated with: xorshift64*.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % end
    }
}

#[test]
fn a_session_is_its_principals_whatever_comes_between() {
    as_root(|| {
        let Some(daemon) = Daemon::start(Setup::default()) else { return };
        let seed = std::env::var("EXECWARD_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let seed = seed.unwrap_or(u64::from(now.subsec_nanos()) | 1);
        eprintln!("-- EXECWARD_TEST_SEED={seed}");
        let mut draw = Draw(seed);
        let mut clients: Vec<(u32, Client)> =
            [ANN, BEN, CAY, ANN, BEN, CAY].into_iter().map(|uid| (uid, daemon.client(uid))).collect();
        // Whose each session is, and its commands; those that were closed stay, and are nobody's.
        let mut sessions: BTreeMap<String, (Option<u32>, u32)> = BTreeMap::new();
        let (mut foreign, mut own_done) = (0, 0);
        for step in 0..steps() {
            let at = draw.below(clients.len());
            let (uid, client) = &mut clients[at];
            let uid = *uid;
            let ids: Vec<String> = sessions.keys().cloned().collect();
            let own: BTreeSet<String> =
                ids.iter().filter(|id| sessions[*id].0 == Some(uid)).cloned().collect();
            if ids.is_empty() || (own.len() < 3 && draw.below(8) == 0) {
                let workspace = daemon.workspace(uid, &format!("w{}", draw.below(3)));
                let lasting = json!({"workspace": workspace, "linger_ms": 3_600_000});
                let opened = client.call("session/open", lasting).unwrap();
                sessions.insert(opened["session"].as_str().unwrap().to_owned(), (Some(uid), 0));
                continue;
            }
            let target = match draw.below(12) {
                0 => format!("{:032x}", draw.below(usize::MAX)),
                _ => ids[draw.below(ids.len())].clone(),
            };
            let known = sessions.get(&target).copied();
            let is_own = known.is_some_and(|(owner, _)| owner == Some(uid));
            let started = known.map_or(0, |(_, started)| started);
            let some = format!("e{}", draw.below(usize::try_from(started).unwrap() + 1));
            let (method, params): (&str, Value) = match draw.below(10) {
                0 => {
                    let listed = client.call("session/list", json!({})).unwrap();
                    let listed: BTreeSet<String> = listed["sessions"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|session| session["session"].as_str().unwrap().to_owned())
                        .collect();
                    assert_eq!(listed, own, "step {step} of seed {seed}");
                    continue;
                }
                1 => ("session/get", json!({ "session": target })),
                2 if draw.below(4) == 0 => ("session/close", json!({ "session": target })),
                2 | 3 => {
                    let command = json!({"argv": ["echo", uid.to_string()]});
                    (
                        "exec/start",
                        json!({"session": target, "id": format!("e{started}"), "command": command}),
                    )
                }
                4 => ("exec/list", json!({ "session": target })),
                5 => ("exec/wait", json!({"session": target, "id": some})),
                6 => ("exec/read", json!({"session": target, "id": some})),
                7 => ("exec/kill", json!({"session": target, "id": some})),
                8 => ("exec/signal", json!({"session": target, "id": some, "signal": "TERM"})),
                _ => ("exec/write", json!({"session": target, "id": some, "text": "x"})),
            };
            let result = client.call(method, params);
            if !is_own {
                foreign += 1;
                let error = result.expect_err("it is another one's");
                // The same words for one that is another's, one that is over, and one that never was.
                assert_eq!(
                    (error["code"].as_i64(), error["message"].as_str()),
                    (Some(1100), Some("there is no such session")),
                    "{method}, step {step} of seed {seed}"
                );
                continue;
            }
            own_done += 1;
            if let Err(error) = &result {
                assert_ne!(error["code"], 1100, "{method}, step {step} of seed {seed}: {error}");
            }
            match method {
                "exec/start" if result.is_ok() => sessions.get_mut(&target).unwrap().1 += 1,
                "session/close" => sessions.get_mut(&target).unwrap().0 = None,
                "exec/wait" => {
                    if let Ok(waited) = result {
                        let said = waited["stdout"]["text"].as_str().unwrap_or_default();
                        assert!(said.is_empty() || said == format!("{uid}\n"), "{waited}");
                    }
                }
                _ => {}
            }
        }
        assert!(foreign > steps() / 10 && own_done > steps() / 20, "{foreign} foreign, {own_done} own");
        // An operator sees all of them.
        let listed = daemon.operator().call("session/list", json!({})).unwrap();
        let open = sessions.values().filter(|(owner, _)| owner.is_some()).count();
        assert_eq!(listed["sessions"].as_array().unwrap().len(), open);
        daemon.verify_log();
    });
}
