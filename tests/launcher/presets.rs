//! The command lines of places that cannot be had here, with a program in PATH in the place of each client: it writes down
//! what it is given, and runs the runner as that place would.

use super::*;
use crate::daemon::as_both;

/// A client that notes its words, each on a line, and runs the one that is shell text for the place.
fn stand_in(there: &There, name: &str, finds: &str) {
    let noted = there.path("work/noted");
    there.program(
        name,
        &format!(
            "#!/bin/bash\nprintf '%s\\n' \"$@\" > {noted}\nenv > {noted}.env\n{finds}\n",
            noted = noted.display()
        ),
    );
}

fn noted(there: &There) -> Vec<String> {
    fs::read_to_string(there.path("work/noted")).unwrap().lines().map(str::to_owned).collect()
}

/// Opens a session by a preset, runs a command there, and says what the client was given.
fn through(preset: &str, client_name: &str, lines: &str, finds: &str) -> Option<Vec<String>> {
    let there = There::new();
    stand_in(&there, client_name, finds);
    let daemon = there.daemon(&format!("preset = \"{preset}\"\n{lines}"))?;
    let mut agent = client(&daemon);
    let opened = open(&mut agent, &there.work());
    assert_eq!(opened["receipt"]["backend"], "launcher");
    assert_eq!(out(&shell(&mut agent, "a", "pwd")), there.work());
    let environment = fs::read_to_string(there.path("work/noted.env")).unwrap();
    let names: Vec<&str> =
        environment.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    let known = |name: &&str| ["PATH", "HOME", "PWD", "SHLVL", "_", "OLDPWD"].contains(name);
    assert!(names.iter().all(known), "{environment}");
    let words = noted(&there);
    let work = there.work();
    Some(words.iter().map(|word| word.replace(&work, "WORK")).collect())
}

fn has(words: &[String], all: &[&str]) {
    for word in all {
        assert!(words.iter().any(|it| it == word), "no {word}: {words:?}");
    }
}

#[test]
fn ssh_asks_forwards_and_shares_nothing_and_believes_known_hosts_only() {
    as_both(|| {
        let finds = "exec sh -c \"${@: -1}\"";
        let Some(words) = through("ssh", "ssh", "target = \"a@b\"\noptions = [\"-p\", \"2222\"]", finds)
        else {
            return;
        };
        has(
            &words,
            &["BatchMode=yes", "ForwardAgent=no", "StrictHostKeyChecking=yes", "ControlPath=none", "2222"],
        );
        let at = |word: &str| words.iter().position(|it| it == word).unwrap();
        assert!(at("ForwardAgent=no") < at("-p"), "what is said first counts");
        assert_eq!(at("--") + 1, at("a@b"));
        assert_eq!(words.len(), at("a@b") + 2, "one word for the shell there: {words:?}");
    });
}

#[test]
fn apptainer_shows_nothing_but_the_workspace_and_the_binary() {
    as_both(|| {
        for name in ["apptainer", "singularity"] {
            // As the container would have it at its place.
            let finds = "for word; do case $word in *:/.execward/runner:ro) binary=${word%%:*};; esac; done\nexec \"$binary\" runner stdio";
            let Some(words) = through(name, name, "target = \"/images/base.sif\"", finds) else { return };
            has(
                &words,
                &[
                    "--containall",
                    "--no-home",
                    "--cleanenv",
                    "--no-privs",
                    "--writable-tmpfs",
                    "none",
                    "--memory",
                    "--pids-limit",
                    "WORK:WORK",
                    "/images/base.sif",
                    "/.execward/runner",
                ],
            );
        }
    });
}

#[test]
fn slurm_gives_one_task_and_none_of_this_machines_variables() {
    as_both(|| {
        let finds = "exec sh -c \"${@: -1}\"";
        let Some(words) = through("slurm", "srun", "options = [\"--partition=agents\"]", finds) else {
            return;
        };
        has(
            &words,
            &[
                "--export=NONE",
                "--ntasks=1",
                "--nodes=1",
                "--unbuffered",
                "--partition=agents",
                "/bin/sh",
                "-c",
            ],
        );
        assert!(words.iter().any(|word| word.starts_with("--mem=") && word.ends_with('M')), "{words:?}");
    });
}

#[test]
fn kubernetes_makes_a_pod_without_rights_that_goes_with_the_session() {
    as_both(|| {
        let finds = "for word; do case $word in --overrides=*) pod=${word#--overrides=};; esac; done\n\
                     script=$(printf '%s' \"$pod\" | python3 -c 'import json,sys; print(json.load(sys.stdin)[\"spec\"][\"containers\"][0][\"command\"][2])')\n\
                     exec sh -c \"$script\"";
        if !crate::support::tool("python3") {
            return;
        }
        let lines = "target = \"debian:12\"\nruntime_class = \"gvisor\"";
        let Some(words) = through("kubernetes", "kubectl", lines, finds) else { return };
        has(&words, &["run", "--rm", "--stdin", "--quiet", "--restart=Never", "--image=debian:12"]);
        let pod = words.iter().find_map(|word| word.strip_prefix("--overrides=")).unwrap();
        let pod: Value = serde_json::from_str(pod).unwrap();
        let spec = &pod["spec"];
        assert_eq!(spec["runtimeClassName"], "gvisor");
        assert_eq!(spec["automountServiceAccountToken"], false);
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
        let container = &spec["containers"][0];
        assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
        assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL");
        assert_eq!(container["name"], words[1].as_str());
        assert!(container["resources"]["limits"]["memory"].as_str().unwrap().ends_with("Mi"));
    });
}

#[test]
fn modal_has_no_terminal_between() {
    as_both(|| {
        let finds = "exec sh -c \"${@: -1}\"";
        let Some(words) = through("modal", "modal", "target = \"debian:12\"", finds) else { return };
        has(&words, &["shell", "--no-pty", "--image", "debian:12", "--cmd"]);
    });
}
