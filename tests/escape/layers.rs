//! Each layer alone: what the controls of `execward doctor --attack` show in a throw-away world, with one layer missing or with one
//! put back.

use std::collections::BTreeMap;

use crate::support::{Ground, Leg, as_everyone};
use execward::ops::attack::{Said, Tried};
use execward::sys::attack::{Control, Expect, LIST, Layer, Probe};
use execward::sys::process::landlock_abi;

/// Every row's control, as this user's execward carries it out.
fn controls(ground: &Ground) -> BTreeMap<String, Tried> {
    let output = ground.execward(["attack-control"]).output().expect(0);
    let text = output.stdout();
    let rows = text.lines().map(|line| serde_json::from_str::<Tried>(line).expect("a control"));
    rows.map(|tried| (tried.id.clone(), tried)).collect()
}

/// Whether a kernel of this landlock ABI has what stops the attempt.
fn stops(layer: Layer, probe: &Probe, abi: u32, leg: Leg) -> bool {
    let since = match (layer, probe.id) {
        // A /proc hides processes of which landlock permits nothing, but from nobody in the host's group 0: proc(5).
        (Layer::Landlock, "X5" | "X6") if leg == Leg::Root => return false,
        (Layer::Landlock, "W11" | "W13") => 9,
        (Layer::Landlock, "X9" | "X9b" | "X9c" | "X10" | "W12") => 6,
        _ => 1,
    };
    abi >= since
}

/// Whether the host may keep it shut without any layer.
fn may_be_shut(probe: &Probe, leg: Leg) -> bool {
    match probe.id {
        // kernel.dmesg_restrict
        "S17" => true,
        // They are its root's.
        "X14" | "N14" => leg == Leg::User,
        _ => matches!(probe.control, Control::MayLack(_)),
    }
}

#[test]
fn each_layer_stops_by_itself_what_it_is_named_for() {
    let abi = landlock_abi().expect("landlock");
    as_everyone(|ground| {
        let controls = controls(ground);
        let mut failures = Vec::new();
        let mut by_itself: Vec<Layer> = Vec::new();
        for probe in LIST.iter().filter(|probe| !probe.stopped_by.is_empty()) {
            let tried = &controls[probe.id];
            let expected: Vec<Layer> = probe
                .stopped_by
                .iter()
                .copied()
                .filter(|layer| stops(*layer, probe, abi, ground.leg()))
                .collect();
            let opened = matches!(tried.said, Said::Open(_)) && tried.without == probe.stopped_by;
            match opened {
                false if may_be_shut(probe, ground.leg()) => {}
                // Open without these, and with any one of them put back it is not.
                true if tried.alone == expected => by_itself.extend(only(&expected)),
                _ => failures.push(format!("{} is said to be stopped by {expected:?}: {tried:?}", probe.id)),
            }
        }
        let unproven = Layer::ALL.into_iter().filter(|layer| !by_itself.contains(layer));
        failures
            .extend(unproven.map(|layer| format!("no attempt succeeds with nothing missing but {layer}")));
        assert!(failures.is_empty(), "as {:?}:\n  {}", ground.leg(), failures.join("\n  "));
    });
}

fn only(layers: &[Layer]) -> Option<Layer> {
    match layers {
        [layer] => Some(*layer),
        _ => None,
    }
}

#[test]
fn what_names_no_layer_takes_more_than_a_world_has() {
    as_everyone(|ground| {
        let controls = controls(ground);
        let open = |probe: &&Probe| matches!(controls[probe.id].said, Said::Open(_));
        let unnamed =
            LIST.iter().filter(|probe| probe.stopped_by.is_empty() && probe.expect != Expect::Works);
        let found: Vec<&str> = unnamed.filter(open).map(|probe| probe.id).collect();
        assert_eq!(found, Vec::<&str>::new(), "these succeed where layers are missing, and name none");
    });
}
