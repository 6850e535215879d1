//! What is frozen or hidden in a workspace stays so, by whatever way it is reached, also for those who come later.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::{Ground, Leg, as_everyone, as_leg};

/// Makes a link of the requester's in the workspace.
fn link(ground: &Ground, target: &str, name: &str) {
    symlink(target, ground.workspace().join(name)).expect("a link can be made");
    ground.give(&ground.workspace().join(name));
}

fn read(ground: &Ground, name: &str) -> String {
    fs::read_to_string(ground.workspace().join(name)).unwrap_or_else(|error| error.to_string())
}

/// Runs a script that tries what it can and must itself get to its end.
fn attack(ground: &Ground, script: &str) {
    ground.write("attack.sh", format!("{script}\necho end\n"));
    let output = ground.run(["sh", "attack.sh"]).output().expect(0);
    assert!(output.stdout().ends_with("end\n"), "{}", output.stdout());
}

#[test]
fn a_link_to_frozen_settings_stays_in_its_place() {
    as_everyone(|ground| {
        ground.write("dotfiles/envrc", "ours\n");
        ground.write("editor/settings/tasks.json", "ours\n");
        link(ground, "dotfiles/envrc", ".envrc");
        link(ground, "editor/settings", ".vscode");
        attack(
            ground,
            "rm .envrc; echo evil > .envrc; echo evil > dotfiles/envrc
             mv dotfiles moved; mkdir dotfiles; echo evil > dotfiles/envrc
             rm .vscode; mkdir .vscode; echo evil > .vscode/tasks.json
             mv editor/settings editor/moved; mv editor moved-too; mkdir -p editor/settings
             echo evil > editor/settings/tasks.json",
        );
        assert_eq!(read(ground, ".envrc"), "ours\n");
        assert_eq!(read(ground, ".vscode/tasks.json"), "ours\n");
    });
}

#[test]
fn a_hidden_file_cannot_be_moved_to_where_the_next_command_sees_it() {
    as_everyone(|ground| {
        ground.write("conf/secret", "CANARY\n");
        link(ground, "conf/secret", ".env");
        attack(ground, "mv conf moved; rm .env; cat .env conf/secret moved/secret");
        let seen = ground.run(["sh", "-c", "cat .env conf/secret moved/secret"]).output();
        assert!(!seen.stdout().contains("CANARY"), "{}", seen.stdout());
        assert_eq!(read(ground, "conf/secret"), "CANARY\n");
    });
}

#[test]
fn links_in_a_circle_or_to_nowhere_do_no_harm() {
    as_everyone(|ground| {
        link(ground, ".envrc", ".envrc");
        link(ground, "nowhere/at/all", ".env");
        link(ground, "/proc/self/root/etc", ".vscode");
        link(ground, "../../../..", ".idea");
        ground.run(["true"]).output().expect(0);
    });
}

#[test]
fn groups_of_a_runner_that_was_killed_do_not_stay() {
    as_leg(Leg::Root, |ground| {
        let Some(parent) = ["/sys/fs/cgroup/pids/execward", "/sys/fs/cgroup/execward"]
            .into_iter()
            .find(|parent| fs::exists(parent).unwrap_or(false))
        else {
            return;
        };
        // What such a runner leaves: a group without processes and without a lock.
        let leftover = format!("{parent}/1-{}", std::process::id());
        fs::create_dir(&leftover).expect("a group can be made");
        ground.run(["true"]).output().expect(0);
        assert!(!fs::exists(&leftover).expect("it can be looked for"), "{leftover} is left");
    });
}
