//! `execward doctor --attack`: what a user is told of this host.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::support::{Ground, as_everyone};

/// The exit code, and what was said of each promise.
fn attack(ground: &Ground, policy: &str) -> (i32, BTreeMap<String, Value>) {
    let policy = ground.put(&ground.root().join("policy.toml"), policy.as_bytes(), 0o644);
    let mut doctor = ground.execward(["doctor", "--attack", "--json", "--policy"]);
    doctor.args([policy]);
    let output = doctor.output();
    let rows = output
        .stdout()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .collect::<Vec<_>>();
    let rows = rows.into_iter().map(|row| (row["id"].as_str().expect("an id").to_owned(), row)).collect();
    (output.code.unwrap_or_else(|| panic!("{}", output.stderr())), rows)
}

/// Canaries lie in /var/tmp, /tmp and /dev/shm.
fn left(ground: &Ground) -> Vec<String> {
    let own = ground.account().uid;
    let named = |entry: &fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let mine = std::os::unix::fs::MetadataExt::uid(&entry.metadata().ok()?) == own;
        (mine
            && (name.starts_with("execward-attack-")
                || name.contains("execward-canary--var-tmp-execward-attack")))
        .then_some(name)
    };
    let entries = ["/var/tmp", "/tmp", "/dev/shm"]
        .into_iter()
        .flat_map(|place| fs::read_dir(place).expect(place).flatten());
    entries.filter_map(|entry| named(&entry)).collect()
}

#[test]
fn nothing_is_open_what_is_held_was_tried_and_what_is_open_is_an_error() {
    as_everyone(|ground| {
        let (code, rows) = attack(ground, "default = \"allow\"\n");
        let of = |verdict: &str| rows.values().filter(|row| row["verdict"] == verdict).collect::<Vec<_>>();
        assert_eq!(of("open"), Vec::<&Value>::new());
        assert_eq!(code, 0);
        assert!(of("held").len() > 100, "{} held: {:?}", of("held").len(), of("inconclusive"));
        // Each letter of the list, and the layers without which it succeeds.
        for id in ["F1", "X9", "S5", "N1", "W1", "K6", "I1", "T1"] {
            assert_eq!(rows[id]["verdict"], "held", "{}", rows[id]);
            let layers = rows[id]["layers"].as_array().expect("layers");
            assert!(!layers.is_empty(), "{}", rows[id]);
            let control = rows[id]["control"].as_str().expect("a control");
            for layer in layers {
                assert!(control.starts_with("open without "), "{control}");
                assert!(control.contains(layer.as_str().expect("a name")), "{control}");
            }
        }
        // The check can fail: with the host's network its ports are in reach.
        let (code, rows) = attack(ground, "default = \"allow\"\n[network]\nmode = \"host\"\n");
        assert_eq!(rows["W1"]["verdict"], "open", "{}", rows["W1"]);
        assert_eq!(rows["F1"]["verdict"], "held", "{}", rows["F1"]);
        assert_eq!(code, 1);
        assert_eq!(left(ground), Vec::<String>::new());
    });
}
