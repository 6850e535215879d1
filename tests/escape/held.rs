//! What is frozen or hidden in a workspace stays so, by whatever way it is reached, also for those who come later.

use std::fs;
use std::os::unix::fs::{lchown, symlink};

use crate::support::{Ground, Leg, as_everyone, as_leg};

/// Makes a link of the requester's in the workspace.
fn link(ground: &Ground, target: &str, name: &str) {
    let path = ground.workspace().join(name);
    symlink(target, &path).expect("a link can be made");
    let account = ground.account();
    lchown(path, Some(account.uid), Some(account.gid)).expect("a link can be given away");
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
fn a_policy_in_the_workspace_cannot_be_changed_by_what_it_judges() {
    as_everyone(|ground| {
        let policy = include_str!("../../policies/default.toml");
        ground.write("conf/real.toml", policy);
        link(ground, "conf/real.toml", "policy.toml");
        ground.write(
            "attack.sh",
            "echo evil > policy.toml; rm -f policy.toml; mv conf moved; rm -rf conf; echo end\n",
        );
        let run = ["run", "--policy", "policy.toml", "--", "sh", "attack.sh"];
        let output = ground.execward(run).output().expect(0);
        assert!(output.stdout().ends_with("end\n"), "{}", output.stdout());
        assert_eq!(read(ground, "policy.toml"), policy);
    });
}

#[test]
fn a_command_that_uses_up_its_memory_does_not_take_the_runner_with_it() {
    as_leg(Leg::Root, |ground| {
        let layers = ground.execward(["run", "--json", "--", "true"]).output().expect(0).json();
        let layers = layers["receipt"]["layers"].as_array().cloned().unwrap_or_default();
        if !layers.iter().any(|layer| layer["name"] == "cgroup" && layer["enforced"] == true) {
            return;
        }
        let policy =
            include_str!("../../policies/default.toml").replace("memory = \"4GiB\"", "memory = \"64MiB\"");
        ground.put(&ground.nothing().join("small.toml"), policy.as_bytes(), 0o644);
        ground
            .write("fill.sh", "for d in /tmp /dev/shm /var/tmp; do head -c 60M /dev/zero > $d/fill; done\n");
        let policy = ground.nothing().join("small.toml").display().to_string();
        let output = ground.execward(["run", "--policy", &policy, "--", "sh", "fill.sh"]).output();
        assert_ne!(output.code, Some(125), "{}", output.stderr());
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
