//! The isolation receipt tells the truth: what it calls enforced is seen to hold, what is missing is said.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::support::{Ground, as_everyone};

/// The layers of a receipt: name -> (enforced, detail).
fn layers(json: &Value) -> BTreeMap<String, (bool, String)> {
    let layers = json["receipt"]["layers"].as_array().unwrap_or_else(|| panic!("no layers in {json}"));
    layers
        .iter()
        .map(|layer| {
            let text =
                |key: &str| layer[key].as_str().unwrap_or_else(|| panic!("no {key} in {layer}")).to_owned();
            (text("name"), (layer["enforced"].as_bool().expect("a boolean"), text("detail")))
        })
        .collect()
}

fn run(ground: &Ground, argv: &[&str]) -> Value {
    let mut command = ground.execward(["run", "--json", "--"]);
    command.args(argv);
    command.output().expect(0).json()
}

/// Standard output of a run, as its JSON result carries it.
fn output(json: &Value) -> &str {
    json["stdout"]["data"].as_str().unwrap_or_else(|| panic!("no output in {json}"))
}

#[test]
fn every_result_carries_a_receipt() {
    as_everyone(|ground| {
        let json = run(ground, &["true"]);
        assert_eq!(json["outcome"], "exited");
        assert_eq!(json["receipt"]["backend"], "jail");
        assert!(layers(&json).len() >= 6, "{json}");
    });
}

#[test]
fn namespaces_in_the_receipt_differ_from_those_outside() {
    as_everyone(|ground| {
        let kinds = ["mnt", "pid", "net", "ipc", "uts"];
        let mut argv = vec!["readlink".to_owned()];
        argv.extend(kinds.iter().map(|kind| format!("/proc/self/ns/{kind}")));
        let json = run(ground, &argv.iter().map(String::as_str).collect::<Vec<_>>());
        let inside: Vec<&str> = output(&json).lines().collect();
        let layers = layers(&json);
        for (kind, inside) in kinds.iter().zip(inside) {
            let outside = fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace");
            let differs = outside.to_string_lossy() != inside;
            let claimed = layers.iter().any(|(name, (enforced, _))| {
                let long = match *kind {
                    "mnt" => "mount",
                    "net" => "net",
                    other => other,
                };
                name.starts_with(long) && *enforced
            });
            assert!(differs, "the {kind} namespace is the host's");
            assert!(claimed, "the {kind} namespace is not in the receipt: {layers:?}");
        }
    });
}

#[test]
fn filters_in_the_receipt_are_on() {
    as_everyone(|ground| {
        ground.bring_probe();
        let json = run(ground, &["./execward-probe", "status"]);
        let status = output(&json).to_owned();
        let layers = layers(&json);
        assert!(layers["seccomp"].0 && status.contains("Seccomp:\t2"), "{layers:?}");
        assert!(layers["no-new-privs"].0 && status.contains("NoNewPrivs:\t1"), "{layers:?}");
        assert!(layers["capabilities"].0 && status.contains("CapBnd:\t0000000000000000"), "{layers:?}");
        assert!(layers["landlock"].0 && layers["landlock"].1.contains("ABI"), "{layers:?}");
    });
}

#[test]
fn a_missing_layer_says_why() {
    as_everyone(|ground| {
        for (name, (enforced, detail)) in layers(&run(ground, &["true"])) {
            assert!(enforced || !detail.trim().is_empty(), "{name} is missing without a reason");
        }
    });
}

#[test]
fn limits_on_the_tree_are_claimed_only_where_they_hold() {
    as_everyone(|ground| {
        let json = run(ground, &["cat", "/proc/self/cgroup"]);
        let cgroup = output(&json).to_owned();
        let outside = fs::read_to_string("/proc/self/cgroup").expect("cgroups");
        let claimed = layers(&json).iter().any(|(name, (enforced, _))| name.contains("cgroup") && *enforced);
        // In a cgroup namespace the path reads `/`; without one it differs from the test's own.
        let moved = cgroup != outside;
        assert!(!claimed || moved, "a cgroup is claimed, and the command is in the requester's: {cgroup}");
    });
}
