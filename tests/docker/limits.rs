//! What the commands of a container may use up, together.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Images, containers, docker_says, policy, with_images};
use crate::daemon::{Client, Daemon, Setup, me, until};

fn opened(images: &Images, limits: &str) -> (Daemon, Client, Value, String) {
    let policy = format!("{}[limits]\n{limits}\n", policy(images));
    let daemon = Daemon::start(Setup { policy: &policy, config: "" }).expect("the jail stands for root");
    let mut client = daemon.client(me());
    let asked =
        json!({"workspace": daemon.workspace(me(), "w"), "backend": "docker", "image": images.busybox});
    let opened = client.call("session/open", asked).unwrap_or_else(|error| panic!("no session: {error}"));
    let [container] = containers(&daemon).try_into().expect("one container");
    (daemon, client, opened["receipt"].clone(), container)
}

fn layer(receipt: &Value, name: &str) -> Value {
    let layers = receipt["layers"].as_array().unwrap();
    layers.iter().find(|layer| layer["name"] == name).cloned().unwrap_or_default()
}

fn asked_for(container: &str, field: &str) -> i64 {
    let format = format!("{{{{.HostConfig.{field}}}}}");
    docker_says(&["inspect", "--format", &format, container]).parse().unwrap()
}

/// Where the kernel counts what it did not let a container do.
fn counts(container: &str) -> Option<PathBuf> {
    let groups = ["/sys/fs/cgroup/cpu/docker", "/sys/fs/cgroup/docker", "/sys/fs/cgroup/system.slice"];
    let named = [container.to_owned(), format!("docker-{container}.scope")];
    let all = groups
        .iter()
        .flat_map(|group| named.iter().map(move |name| Path::new(group).join(name).join("cpu.stat")));
    all.into_iter().find(|path| path.exists())
}

#[test]
fn processors_and_swap_are_the_policys_and_the_receipt_says_so() {
    with_images(|images| {
        let (_daemon, mut client, receipt, container) =
            opened(images, "memory = \"256MiB\"\nswap = \"64MiB\"\ncpus = 0.25");
        assert_eq!(asked_for(&container, "CpuQuota") * 4, asked_for(&container, "CpuPeriod"));
        assert_eq!(asked_for(&container, "Memory"), 256 << 20);
        assert_eq!(asked_for(&container, "MemorySwap"), 320 << 20);
        let cpu = layer(&receipt, "cpu");
        assert_eq!(cpu["enforced"], true, "{receipt}");
        assert!(cpu["detail"].as_str().unwrap().contains("0.25"), "{cpu}");
        let together = layer(&receipt, "cgroup");
        assert!(together["detail"].as_str().unwrap().contains("64 MiB of swap"), "{together}");
        // What wants more than that is held back.
        let burn = json!({"id": "burn", "command": {"shell": "while :; do :; done"}, "background": true});
        client.call("exec/start", burn).unwrap();
        let counts = counts(&container).expect("the container has a group");
        until("it is held back", || {
            let text = fs::read_to_string(&counts).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix("nr_throttled "));
            line.is_some_and(|count| count.trim() != "0")
        });
        client.call("exec/kill", json!({"id": "burn"})).unwrap();
    });
}

#[test]
fn where_nothing_is_said_there_is_no_swap_and_every_processor() {
    with_images(|images| {
        let (_daemon, _client, receipt, container) = opened(images, "memory = \"256MiB\"");
        assert_eq!(asked_for(&container, "CpuQuota"), 0);
        assert_eq!(asked_for(&container, "MemorySwap"), 256 << 20);
        assert_eq!(layer(&receipt, "cpu"), Value::Null, "{receipt}");
    });
}
