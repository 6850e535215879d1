//! Commands that are known to reach a runner, and what each is told so that nothing of this machine goes along.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::template::TemplateError;
use super::{Template, check_root};

/// A kind of place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// A host: `target` is `user@host`.
    Ssh,
    /// A container of this machine's: `target` is the image.
    Apptainer,
    /// The same by its older name.
    Singularity,
    /// A node that the cluster's scheduler chooses.
    Slurm,
    /// A pod: `target` is the image.
    Kubernetes,
    /// A container of Modal's: `target` is the image.
    Modal,
}

/// What a preset is told beside its target.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// See [`Preset`].
    pub target: &'a str,
    /// Words for the command, before what execward says at the end.
    pub options: &'a [String],
    /// For Kubernetes: the class of runtime that isolates pods.
    pub runtime_class: Option<&'a str>,
    /// The first directory for workspaces: where a pod has one of its own.
    pub root: &'a str,
    /// An execward that is there already.
    pub runner: Option<&'a str>,
}

impl Preset {
    /// The command.
    ///
    /// # Errors
    /// What is missing.
    pub fn template(self, told: &Told<'_>) -> Result<Template, String> {
        let needs = match self {
            Self::Slurm => None,
            Self::Ssh => Some("the host"),
            Self::Apptainer | Self::Singularity | Self::Kubernetes | Self::Modal => Some("the image"),
        };
        match needs {
            Some(what) if told.target.is_empty() => return Err(format!("the preset needs `target`, {what}")),
            None if !told.target.is_empty() => return Err("the preset has no `target`".to_owned()),
            _ => {}
        }
        if told.target.starts_with('-') {
            return Err("`target` must not begin with `-`".to_owned());
        }
        check_root(told.root).map_err(str::to_owned)?;
        let words = match self {
            Self::Ssh => ssh(told),
            Self::Apptainer => apptainer("apptainer", told),
            Self::Singularity => apptainer("singularity", told),
            Self::Slurm => slurm(told),
            Self::Kubernetes => kubernetes(told)?,
            Self::Modal => modal(told),
        };
        let template = Template::new(words, told.runner.map(str::to_owned));
        template.map_err(|error: TemplateError| error.to_string())
    }

    /// Whether the place is made for each session, and has nothing in it.
    pub const fn is_new(self) -> bool {
        matches!(self, Self::Kubernetes | Self::Modal)
    }
}

/// The words before the options, the options, and those after them.
fn words(before: &[&str], told: &Told<'_>, after: &[&str]) -> Vec<String> {
    let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    [own(before), told.options.to_vec(), own(after)].concat()
}

/// Nothing is asked, nothing is forwarded, no other connection is used, and only a host that is known is spoken to. For each
/// setting ssh takes the first that it sees, so that none of these can be undone by what follows.
pub(in crate::sandbox) fn ssh_settings(options: &[String]) -> Vec<String> {
    const SETTINGS: [&str; 12] = [
        "BatchMode=yes",
        "ClearAllForwardings=yes",
        "ForwardAgent=no",
        "ForwardX11=no",
        "PermitLocalCommand=no",
        "ControlMaster=no",
        "ControlPath=none",
        "StrictHostKeyChecking=yes",
        "EscapeChar=none",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=3",
        "RequestTTY=no",
    ];
    let settings = SETTINGS.iter().flat_map(|setting| ["-o", setting]).map(str::to_owned);
    settings.chain(options.iter().cloned()).collect()
}

fn ssh(told: &Told<'_>) -> Vec<String> {
    let after = ["--", told.target, "{remote}"].map(str::to_owned);
    ["ssh".to_owned()].into_iter().chain(ssh_settings(told.options)).chain(after).collect()
}

/// Nothing of the host but the workspace and the binary, no privileges, no network, and limits.
fn apptainer(program: &str, told: &Told<'_>) -> Vec<String> {
    let before = [
        program,
        "--quiet",
        "exec",
        "--containall",
        "--no-home",
        "--cleanenv",
        "--no-privs",
        "--writable-tmpfs",
        "--net",
        "--network",
        "none",
        "--memory",
        "{memory}M",
        "--pids-limit",
        "{processes}",
        "--bind",
        "{binary}:/.execward/runner:ro",
        "--bind",
        "{workspace}:{workspace}",
    ];
    words(&before, told, &["--", told.target, "/.execward/runner", "runner", "stdio"])
}

/// One task with nothing of this machine's environment.
fn slurm(told: &Told<'_>) -> Vec<String> {
    let before = [
        "srun",
        "--quiet",
        "--unbuffered",
        "--nodes=1",
        "--ntasks=1",
        "--export=NONE",
        "--chdir=/",
        "--kill-on-bad-exit=1",
        "--job-name={name}",
        "--mem={memory}M",
    ];
    words(&before, told, &["/bin/sh", "-c", "{script}"])
}

/// A pod of its own, which has no rights in the cluster, gains none on its node, and goes with the session.
fn kubernetes(told: &Told<'_>) -> Result<Vec<String>, String> {
    let mut pod = json!({
        "apiVersion": "v1",
        "spec": {
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "hostNetwork": false,
            "hostPID": false,
            "hostIPC": false,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 5,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"}
            },
            "containers": [{
                "name": "{name}",
                "image": told.target,
                // Inside a JSON string its quotes are escaped.
                "command": ["/bin/sh", "-c", "{scriptjson}"],
                "stdin": true,
                "stdinOnce": true,
                "tty": false,
                "env": [{"name": "HOME", "value": "/tmp"}],
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "privileged": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]}
                },
                "resources": {"limits": {"memory": "{memory}Mi"}},
                "volumeMounts": [
                    {"name": "work", "mountPath": told.root},
                    {"name": "tmp", "mountPath": "/tmp"}
                ]
            }],
            "volumes": [{"name": "work", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]
        }
    });
    if told.root.contains('{') {
        return Err(
            "the first of `workspaces` is where the pod's volume is, and has no `{user}` in it".to_owned()
        );
    }
    if let (Some(class), Some(spec)) = (told.runtime_class, pod.get_mut("spec")) {
        spec["runtimeClassName"] = class.into();
    }
    let image = format!("--image={}", told.target);
    let before = ["kubectl", "run", "{name}", "--rm", "--stdin", "--quiet", "--restart=Never", &image];
    Ok(words(&before, told, &[&format!("--overrides={pod}")]))
}

/// Without a terminal, which would change what is said.
fn modal(told: &Told<'_>) -> Vec<String> {
    words(&["modal", "shell", "--no-pty", "--image", told.target], told, &["--cmd", "{remote}"])
}
