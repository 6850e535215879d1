//! A container as it is asked for, and as the engine says that it has made it.
//!
//! Everything that confines stands here as data, from execward's own side: a request has no words for any of it. An
//! engine that does not know a field ignores it, so what it says of the container it has made is compared with what was
//! asked, field by field; what was not asked for must be absent.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum,
    HostConfigLogConfig, ImageInspect, Mount, MountTmpfsOptions, MountType, ResourcesUlimits,
};
use serde_json::Value;

use super::place::Place;
use super::{RUNNER, SOCKET_DIRECTORY};
use crate::wire::runner::{CONNECT, Limits, Network, ROLE, SandboxSpec};

/// Processes that a container needs besides those of its commands: the runner and inits.
const OWN_PROCESSES: u64 = 64;

/// What the runner needs to make a command another user's, to end it, and, once, to take all of these from what it will
/// execute.
const CAPABILITIES: [&str; 4] = ["KILL", "SETGID", "SETPCAP", "SETUID"];

/// How the runner of a container comes to be, and how it is reached.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) mounts: Vec<Mount>,
    pub(super) labels: HashMap<String, String>,
    /// For the runner.
    pub(super) words: Vec<String>,
    /// By its standard input and output.
    pub(super) attached: bool,
}

impl Way {
    /// On this machine, by the socket in a place.
    pub(super) fn here(place: &Place, labels: HashMap<String, String>) -> Self {
        let socket = format!("{SOCKET_DIRECTORY}/{}", super::place::SOCKET);
        let words = vec![ROLE.into(), CONNECT.into(), socket];
        Self { mounts: place.mounts().collect(), labels, words, attached: false }
    }
}

/// What is asked for.
pub(super) fn ask(spec: &SandboxSpec, image: &ImageInspect, seccomp: &str, way: Way) -> ContainerCreateBody {
    let network = match spec.network {
        Network::None | Network::Proxy => "none",
        Network::Host => "bridge",
    };
    let config = image.config.clone().unwrap_or_default();
    // An engine gives it the mode that the image's directory has: so it belongs to the commands' user, who can write to it.
    let tmpfs = |mode: &str| {
        let (uid, gid, size) = (spec.identity.uid, spec.identity.gid, spec.limits.tmpfs);
        let inodes = (size / 4096).max(1024);
        format!("rw,exec,nosuid,nodev,size={size},nr_inodes={inodes},mode={mode},uid={uid},gid={gid}")
    };
    let home = spec.identity.home.to_string_lossy().into_owned();
    let tmpfs = HashMap::from([
        ("/tmp".to_owned(), tmpfs("1777")),
        ("/var/tmp".to_owned(), tmpfs("1777")),
        ("/run".to_owned(), tmpfs("755")),
        (home, tmpfs("700")),
    ]);
    let Way { mut mounts, labels, words, attached } = way;
    // A volume of the image would be a directory of the host's that outlives the container.
    for volume in config.volumes.iter().flatten().filter(|volume| volume.starts_with('/')) {
        let taken = |target: &String| target.trim_end_matches('/') == volume.trim_end_matches('/');
        if !tmpfs.keys().any(taken) && !mounts.iter().filter_map(|mount| mount.target.as_ref()).any(taken) {
            mounts.push(Mount {
                target: Some(volume.clone()),
                typ: Some(MountType::TMPFS),
                tmpfs_options: Some(MountTmpfsOptions {
                    size_bytes: i64::try_from(spec.limits.tmpfs).ok(),
                    mode: Some(0o1777),
                    ..MountTmpfsOptions::default()
                }),
                ..Mount::default()
            });
        }
    }
    let memory = i64::try_from(spec.limits.memory).ok();
    let quota = spec.limits.quota().and_then(|quota| i64::try_from(quota).ok());
    let host = HostConfig {
        cap_drop: Some(vec!["ALL".into()]),
        cap_add: Some(CAPABILITIES.map(str::to_owned).to_vec()),
        security_opt: Some(vec!["no-new-privileges".into(), format!("seccomp={seccomp}")]),
        network_mode: Some(network.to_owned()),
        ipc_mode: Some("private".into()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        readonly_rootfs: Some(true),
        memory,
        // Both together.
        memory_swap: memory.map(|memory| memory.saturating_add_unsigned(spec.limits.swap)),
        cpu_period: quota.and_then(|_| i64::try_from(Limits::PERIOD).ok()),
        cpu_quota: quota,
        pids_limit: i64::try_from(spec.limits.processes.saturating_add(OWN_PROCESSES)).ok(),
        shm_size: i64::try_from(spec.limits.tmpfs).ok(),
        ulimits: Some(vec![limit("core", 1), limit("nofile", spec.limits.open_files)]),
        log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
        oom_score_adj: Some(200),
        tmpfs: Some(tmpfs),
        mounts: Some(mounts),
        // Nobody else is there to remove it.
        auto_remove: attached.then_some(true),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        // By digest: a tag that is moved meanwhile is another image.
        image: image.id.clone(),
        hostname: Some(spec.hostname.clone()),
        user: Some("0:0".into()),
        // A name without a value takes the image's variable away.
        env: Some(config.env.iter().flatten().map(|variable| name(variable).to_owned()).collect()),
        entrypoint: Some(vec![RUNNER.into()]),
        cmd: Some(words),
        open_stdin: attached.then_some(true),
        // Its end is the end of the connection, which is the supervisor's.
        stdin_once: attached.then_some(true),
        attach_stdin: attached.then_some(true),
        attach_stdout: attached.then_some(true),
        attach_stderr: attached.then_some(true),
        working_dir: Some("/".into()),
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".into()]), ..HealthConfig::default() }),
        stop_signal: Some("SIGKILL".into()),
        labels: Some(labels),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

fn limit(name: &str, value: u64) -> ResourcesUlimits {
    let value = i64::try_from(value).ok();
    ResourcesUlimits { name: Some(name.into()), soft: value, hard: value }
}

fn name(variable: &str) -> &str {
    variable.split('=').next().unwrap_or_default()
}

/// In what the container differs from what was asked for; empty where in nothing.
pub(super) fn differences(asked: &ContainerCreateBody, made: &ContainerInspectResponse) -> Vec<String> {
    let mut found = Vec::new();
    let value = |host: &Option<HostConfig>| serde_json::to_value(host).unwrap_or_default();
    compare(
        "HostConfig",
        &value(&asked.host_config),
        &value(&made.host_config),
        &["RestartPolicy", "Runtime", "ConsoleSize", "MaskedPaths", "ReadonlyPaths", "LogConfig"],
        &mut found,
    );
    let host = made.host_config.clone().unwrap_or_default();
    if host.log_config.and_then(|log| log.typ).as_deref() != Some("none") {
        found.push("LogConfig is not none: what commands print would be kept".into());
    }
    let restart = host.restart_policy.and_then(|policy| policy.name).map(|name| name.to_string());
    if !matches!(restart.as_deref(), None | Some("" | "no")) {
        found.push("RestartPolicy is set".into());
    }
    let masked = host.masked_paths.unwrap_or_default();
    if !["/proc/kcore", "/proc/keys", "/sys/firmware"]
        .iter()
        .all(|path| masked.iter().any(|masked| masked == path))
    {
        found.push("MaskedPaths leaves paths of the kernel visible".into());
    }
    let config = made.config.clone().unwrap_or_default();
    let mut same = |what: &str, is: bool| {
        if !is {
            found.push(format!("{what} differs"));
        }
    };
    same("Image", made.image == asked.image);
    same("User", config.user == asked.user);
    same("Entrypoint", config.entrypoint == asked.entrypoint);
    same("Cmd", config.cmd == asked.cmd);
    same("WorkingDir", config.working_dir == asked.working_dir);
    same("Env", config.env.iter().flatten().all(|variable| !variable.contains('=')));
    same("Healthcheck", config.healthcheck.and_then(|check| check.test).is_some_and(|test| test == ["NONE"]));
    same("Tty", config.tty != Some(true));
    let opened = |open: Option<bool>| open == Some(true);
    same("OpenStdin", opened(config.open_stdin) == opened(asked.open_stdin));
    same("StdinOnce", opened(config.stdin_once) == opened(asked.stdin_once));
    let labels = config.labels.unwrap_or_default();
    same("Labels", asked.labels.iter().flatten().all(|(name, value)| labels.get(name) == Some(value)));
    let path: Vec<&String> = made.path.iter().chain(made.args.iter().flatten()).collect();
    let words: Vec<&String> = asked.entrypoint.iter().chain(asked.cmd.iter()).flatten().collect();
    same("what is executed", path == words);
    // What is really mounted, volumes of the image among it.
    let asked_mounts = asked.host_config.as_ref().and_then(|host| host.mounts.as_ref());
    for mount in made.mounts.iter().flatten() {
        let asked = asked_mounts.into_iter().flatten().find(|asked| asked.target == mount.destination);
        let is = asked.is_some_and(|asked| {
            let kinds = asked.typ.map(|kind| kind.to_string()) == mount.typ;
            let sources = match asked.typ {
                Some(MountType::BIND) => asked.source == mount.source,
                // One without a name gets one.
                Some(MountType::VOLUME) => asked.source.is_none() || asked.source == mount.name,
                _ => true,
            };
            kinds && sources && mount.rw != Some(asked.read_only == Some(true))
        });
        if !is {
            let target = mount.destination.as_deref().unwrap_or("?");
            found.push(format!("the mount at {target} was not asked for, or differs"));
        }
    }
    let mounted = made.mounts.as_ref().map_or(0, Vec::len);
    if mounted != asked_mounts.map_or(0, Vec::len) {
        found.push("there are not as many mounts as were asked for".into());
    }
    found
}

/// Compares two objects key by key. What is absent, empty, false or zero is one and the same.
fn compare(at: &str, asked: &Value, made: &Value, apart: &[&str], found: &mut Vec<String>) {
    let empty = serde_json::Map::new();
    let (asked, made) = (asked.as_object().unwrap_or(&empty), made.as_object().unwrap_or(&empty));
    for key in asked.keys().chain(made.keys().filter(|key| !asked.contains_key(*key))) {
        if apart.contains(&key.as_str()) {
            continue;
        }
        let of =
            |object: &serde_json::Map<String, Value>| plain(key, object.get(key).unwrap_or(&Value::Null));
        let (asked, made) = (of(asked), of(made));
        if asked != made {
            found.push(format!("{at}.{key} is {}, and not {}", short(&made), short(&asked)));
        }
    }
}

/// A value in the one form in which it can be compared.
fn plain(key: &str, value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(|item| plain(key, item)).collect();
            if key.starts_with("Cap") {
                let bare =
                    |item: &Value| Value::from(item.as_str().unwrap_or_default().trim_start_matches("CAP_"));
                items = items.iter().map(bare).collect();
            }
            items.sort_by_key(Value::to_string);
            if items.is_empty() { Value::Null } else { items.into() }
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| (key.clone(), plain(key, value)));
            let fields: serde_json::Map<_, _> = fields.filter(|(_, value)| !value.is_null()).collect();
            if fields.is_empty() { Value::Null } else { fields.into() }
        }
        Value::Bool(false) => Value::Null,
        Value::String(text) if text.is_empty() => Value::Null,
        Value::Number(number) if number.as_i64() == Some(0) => Value::Null,
        other => other.clone(),
    }
}

fn short(value: &Value) -> String {
    let mut text = value.to_string();
    if text.len() > 120 {
        let cut = (0..=120).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(cut);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerConfig, MountPoint};
    use serde_json::json;

    use super::*;

    fn asked() -> ContainerCreateBody {
        let host = HostConfig {
            cap_drop: Some(vec!["ALL".into()]),
            cap_add: Some(vec!["CAP_KILL".into()]),
            network_mode: Some("none".into()),
            readonly_rootfs: Some(true),
            memory: Some(1 << 20),
            memory_swap: Some(1 << 20),
            cpu_quota: Some(50_000),
            mounts: Some(vec![Mount {
                target: Some("/w".into()),
                source: Some("/host/w".into()),
                typ: Some(MountType::BIND),
                read_only: Some(true),
                ..Mount::default()
            }]),
            ..HostConfig::default()
        };
        ContainerCreateBody {
            image: Some("sha256:aa".into()),
            user: Some("0:0".into()),
            env: Some(vec!["EVIL".into()]),
            entrypoint: Some(vec![RUNNER.into()]),
            cmd: Some(vec![ROLE.into()]),
            working_dir: Some("/".into()),
            labels: Some(HashMap::from([("org.execward.place".into(), "/place".into())])),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        }
    }

    /// What an engine says that did as it was asked, in its own spelling.
    fn made() -> ContainerInspectResponse {
        let asked = asked();
        let host = HostConfig {
            cap_add: Some(vec!["KILL".into()]),
            masked_paths: Some(["/proc/kcore", "/proc/keys", "/sys/firmware"].map(str::to_owned).to_vec()),
            log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
            privileged: Some(false),
            devices: Some(Vec::new()),
            cpu_shares: Some(0),
            ..asked.host_config.unwrap_or_default()
        };
        ContainerInspectResponse {
            image: asked.image,
            path: Some(RUNNER.into()),
            args: asked.cmd.clone(),
            config: Some(ContainerConfig {
                user: asked.user,
                env: Some(Vec::new()),
                entrypoint: asked.entrypoint,
                cmd: asked.cmd,
                working_dir: asked.working_dir,
                labels: asked.labels,
                healthcheck: Some(HealthConfig {
                    test: Some(vec!["NONE".into()]),
                    ..HealthConfig::default()
                }),
                ..ContainerConfig::default()
            }),
            mounts: Some(vec![MountPoint {
                destination: Some("/w".into()),
                source: Some("/host/w".into()),
                typ: Some("bind".into()),
                rw: Some(false),
                ..MountPoint::default()
            }]),
            host_config: Some(host),
            ..ContainerInspectResponse::default()
        }
    }

    /// The container with something about it changed: a path of keys, and the value there.
    fn with(path: &[&str], value: Value) -> ContainerInspectResponse {
        let mut made = serde_json::to_value(made()).unwrap();
        let mut at = &mut made;
        for key in path {
            at = match key.parse::<usize>() {
                Ok(index) => &mut at[index],
                Err(_) => &mut at[*key],
            };
        }
        *at = value;
        serde_json::from_value(made).unwrap()
    }

    #[test]
    fn what_was_asked_for_is_found_whatever_its_spelling() {
        assert_eq!(differences(&asked(), &made()), Vec::<String>::new());
    }

    #[test]
    fn whatever_differs_is_found() {
        for (path, value) in [
            (&["HostConfig", "Privileged"][..], json!(true)),
            (&["HostConfig", "CapAdd"], json!(["KILL", "SYS_ADMIN"])),
            (&["HostConfig", "CapDrop"], json!([])),
            (&["HostConfig", "NetworkMode"], json!("host")),
            (&["HostConfig", "PidMode"], json!("host")),
            (&["HostConfig", "ReadonlyRootfs"], json!(false)),
            (&["HostConfig", "Memory"], json!(0)),
            (&["HostConfig", "MemorySwap"], json!(-1)),
            (&["HostConfig", "CpuQuota"], json!(0)),
            (&["HostConfig", "Binds"], json!(["/:/h"])),
            (&["HostConfig", "Devices"], json!([{"PathOnHost": "/dev/mem"}])),
            (&["HostConfig", "SecurityOpt"], json!(["seccomp=unconfined"])),
            (&["HostConfig", "MaskedPaths"], json!([])),
            (&["HostConfig", "LogConfig", "Type"], json!("json-file")),
            (&["HostConfig", "RestartPolicy"], json!({"Name": "always"})),
            (&["Image"], json!("sha256:bb")),
            (&["Path"], json!("/bin/sh")),
            (&["Config", "User"], json!("")),
            (&["Config", "Env"], json!(["LD_PRELOAD=/evil.so"])),
            (&["Config", "Entrypoint"], json!(["/bin/sh"])),
            (&["Config", "Healthcheck"], json!({"Test": ["CMD", "evil"]})),
            (&["Config", "Tty"], json!(true)),
            (&["Config", "Labels", "org.execward.place"], json!("/elsewhere")),
            (&["Mounts", "0", "RW"], json!(true)),
            (&["Mounts", "0", "Source"], json!("/host/other")),
            (&["Mounts", "0", "Type"], json!("volume")),
            (&["Mounts"], json!([])),
        ] {
            assert_ne!(differences(&asked(), &with(path, value)), Vec::<String>::new(), "{path:?}");
        }
    }
}
