//! Each promise of the sandbox is attacked from inside, shown to be breakable without it, and checked from outside.
//!
//! For every row of the list: the probe runs in the sandbox and must be held; what it was after is checked from
//! outside; then the same probe runs bare and must succeed (the positive control), or else the row shows nothing.

mod bare;
mod doctor;
mod held;
mod inside;
mod layers;
mod lifetime;
mod receipt;

use std::collections::BTreeSet;
use std::fs;

use crate::support::{
    Command, Ground, Leg, Output, account::Account, as_everyone, as_leg, ground, is_root, skip,
};
use execward::ops::attack::{Outside, Place, Said};
use execward::sys::attack::{Control, Expect, LIST, Probe};

/// What a probe said.
fn said(output: &Output) -> Said {
    let signal =
        output.signal.or(output.code.filter(|code| *code == 128 + libc::SIGSYS).map(|_| libc::SIGSYS));
    match Said::of(&output.stdout(), signal) {
        Said::Inconclusive(why) => Said::Inconclusive(format!(
            "exit code {:?}, signal {:?}: {why}{}",
            output.code,
            output.signal,
            output.stderr()
        )),
        said => said,
    }
}

/// The canaries of a ground.
pub fn outside(ground: &Ground) -> Outside {
    let account = ground.account();
    // As root, another user's: root's own home is not ours to write to.
    let keeper =
        if account.uid == 0 { Account::user().unwrap_or_else(|| account.clone()) } else { account.clone() };
    let state_as_seen = match account.uid {
        _ if !is_root() => ground.state(),
        0 => "/var/lib/execward".into(),
        _ => account.home.join(".local/state/execward"),
    };
    ground.put(&ground.outside().join("file"), b"", 0o644);
    Outside::new(Place {
        directory: ground.outside(),
        workspace: ground.workspace(),
        home: account.home.clone(),
        keeper: keeper.home,
        state: ground.state(),
        state_as_seen,
        owner: (account.uid, account.gid),
    })
    .expect("canaries can be made")
}

#[test]
fn every_row_has_a_probe() {
    let ground = Ground::new(if is_root() { Leg::Root } else { Leg::User }).expect("a ground");
    let output = ground.bare([ground::probe().as_os_str()]).arg("--list").output().expect(0);
    let text = output.stdout();
    let built: BTreeSet<&str> = text.lines().collect();
    let listed: BTreeSet<&str> = LIST.iter().map(|probe| probe.id).collect();
    assert_eq!(listed.len(), LIST.len(), "an id stands twice");
    assert_eq!(built, listed);
    assert!(listed.len() >= 60);
}

#[test]
fn files_outside_are_out_of_reach() {
    as_everyone(|ground| attack(ground, 'F'));
}

#[test]
fn processes_outside_are_out_of_reach() {
    as_everyone(|ground| attack(ground, 'X'));
}

#[test]
fn system_calls_are_filtered() {
    as_everyone(|ground| attack(ground, 'S'));
}

#[test]
fn namespaces_and_settings_are_out_of_reach() {
    as_everyone(|ground| attack(ground, 'N'));
}

#[test]
fn the_network_is_out_of_reach() {
    as_everyone(|ground| attack(ground, 'W'));
}

#[test]
fn kernel_families_are_out_of_reach() {
    as_everyone(|ground| attack(ground, 'K'));
}

#[test]
fn nothing_is_shared_with_other_processes() {
    as_everyone(|ground| attack(ground, 'I'));
}

#[test]
fn the_terminal_is_out_of_reach() {
    as_everyone(|ground| attack(ground, 'T'));
}

/// Every row of one letter; reports all that fail, not the first.
fn attack(ground: &Ground, letter: char) {
    let outside = outside(ground);
    ground.bring_probe();
    attack_in(ground, &outside, |probe| probe.id.starts_with(letter), || ground.run(["./execward-probe"]));
}

/// These rows, in the sandbox in which `run` starts the probe.
pub fn attack_in(
    ground: &Ground,
    outside: &Outside,
    which: impl Fn(&Probe) -> bool,
    mut run: impl FnMut() -> Command,
) {
    let mut failures = Vec::new();
    for probe in LIST.iter().filter(|probe| which(probe)) {
        outside.reset();
        let inside = start(ground, outside, probe, run()).output();
        let said = said(&inside);
        let canary = outside.damage();
        // The canary first: a probe may be wrong about what it did.
        if let Some(damage) = canary {
            failures.push(format!("{} ({}): {damage}; the probe said {said:?}", probe.id, probe.name));
            continue;
        }
        match (&said, probe.expect) {
            (Said::Held(_), Expect::Held) | (Said::Open(_), Expect::Contained | Expect::Works) => {}
            _ => failures.push(format!("{} ({}): {said:?}", probe.id, probe.name)),
        }
        if let Err(why) = control(ground, outside, probe) {
            match probe.control {
                Control::Bare => failures.push(format!("{} ({}): no control: {why}", probe.id, probe.name)),
                Control::MayLack(reason) => {
                    skip("control", &format!("{} ({}): {reason}: {why}", probe.id, probe.name));
                }
            }
        }
    }
    assert!(failures.is_empty(), "as {:?}:\n  {}", ground.leg(), failures.join("\n  "));
}

/// The probe must succeed bare: as the requester, or, for what only root may do on a host, as root.
fn control(ground: &Ground, outside: &Outside, probe: &Probe) -> Result<(), String> {
    outside.reset();
    let as_requester = said(&start(ground, outside, probe, ground.bare(["./execward-probe"])).output());
    if matches!(as_requester, Said::Open(_)) {
        outside.reset();
        return Ok(());
    }
    if !is_root() {
        // Only root can show that this succeeds; the leg of root does.
        skip("control", &format!("{}: only root can show that it succeeds: {as_requester:?}", probe.id));
        return Ok(());
    }
    outside.reset();
    let as_root =
        said(&start(ground, outside, probe, ground.bare_as(&Account::root(), ["./execward-probe"])).output());
    outside.reset();
    match as_root {
        Said::Open(_) => Ok(()),
        other => Err(format!("as the requester {as_requester:?}, as root {other:?}")),
    }
}

/// Gives a run of the probe its arguments, and the inheritance that it must not find inside.
fn start(ground: &Ground, outside: &Outside, probe: &Probe, command: Command) -> Command {
    let mut command = command
        .arg(probe.id)
        .leak(&ground.outside().join("secret"), 107)
        .leak(&ground.outside(), 109)
        .dirty();
    command.args(outside.arguments());
    match probe.id {
        "X26" => {
            let file = fs::File::options().read(true).write(true).open(ground.outside().join("file"));
            command.stdin_from(file.expect("the file outside can be opened"))
        }
        "T3" => command.terminal(outside.new_terminal().expect("the terminal opens").into()),
        _ => command,
    }
}

#[test]
fn the_workspace_is_as_it_was_after_set_id_attempts() {
    as_leg(Leg::Root, |ground| {
        ground
            .shell("mkdir d; touch f; chmod 6755 f d; chmod u+s,g+s f d; install -m 4755 /bin/true g; cp -p f h; true")
            .output();
        let set = fs::read_dir(ground.workspace()).expect("a list").flatten().filter(|entry| {
            use std::os::unix::fs::MetadataExt;
            entry.metadata().is_ok_and(|it| it.mode() & 0o6000 != 0)
        });
        assert_eq!(set.map(|entry| entry.path()).collect::<Vec<_>>(), Vec::<std::path::PathBuf>::new());
    });
}
