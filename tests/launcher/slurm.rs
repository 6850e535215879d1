//! A real cluster on this machine: a controller and two nodes, started by the test, with ports and a key of their own.

use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use super::*;
use crate::daemon::{as_root, until};
use crate::support::skip;

/// A cluster. Everything of it ends with it.
struct Cluster {
    processes: Vec<Child>,
    configuration: PathBuf,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Steps of jobs first: they belong to the nodes' daemons, and to nobody when those have gone.
        let _ = self.says("scancel", &["--user=root"]);
        for process in self.processes.iter_mut().rev() {
            let _ = Command::new("kill").arg(process.id().to_string()).status();
            let _ = process.wait();
        }
    }
}

impl Cluster {
    /// Starts one in a place. `None`, with a skip said, where it cannot be had.
    fn start(there: &There) -> Option<Self> {
        for program in ["munged", "slurmctld", "slurmd", "srun"] {
            let found = ["/usr/sbin", "/usr/bin"].iter().any(|at| Path::new(at).join(program).exists());
            if !found {
                skip("slurm", &format!("no {program}; `./test --install` installs it"));
                return None;
            }
        }
        let at = |name: &str| there.path("private").join(name);
        // The directories above it as well must be fit for a socket that others use.
        fs::set_permissions(there.path("private"), Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(at("state")).unwrap();
        let mut key = [0; 128];
        std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").unwrap(), &mut key).unwrap();
        fs::write(at("key"), key).unwrap();
        fs::set_permissions(at("key"), Permissions::from_mode(0o400)).unwrap();
        let listeners: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = listeners.iter().map(|it| it.local_addr().unwrap().port()).collect();
        drop(listeners);
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
        let p = there.path("private").display().to_string();
        let configuration = format!(
            "ClusterName=execward\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={}\nAuthType=auth/munge\n\
             AuthInfo=socket={p}/munge\nCredType=cred/munge\nSlurmUser=root\nSlurmdUser=root\nStateSaveLocation={p}/state\n\
             SlurmdSpoolDir={p}/spool-%n\nSlurmctldPidFile={p}/ctld.pid\nSlurmdPidFile={p}/slurmd-%n.pid\n\
             SlurmctldLogFile={p}/ctld.log\nSlurmdLogFile={p}/slurmd-%n.log\nProctrackType=proctrack/linuxproc\n\
             TaskPlugin=task/none\nSelectType=select/cons_tres\nSelectTypeParameters=CR_CPU_Memory\nReturnToService=2\n\
             SwitchType=switch/none\nMpiDefault=none\n\
             NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={} CPUs=1 RealMemory=1000\n\
             NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={} CPUs=1 RealMemory=1000\n\
             PartitionName=agents Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP\n",
            ports[0], ports[1], ports[2]
        );
        fs::write(at("slurm.conf"), configuration).unwrap();
        let mut cluster = Self { processes: Vec::new(), configuration: at("slurm.conf") };
        let file = |option: &str, name: &str| format!("--{option}={}", at(name).display());
        cluster.begin(
            "munged",
            &[
                "--foreground".into(),
                "--force".into(),
                file("key-file", "key"),
                file("socket", "munge"),
                file("pid-file", "munged.pid"),
                file("log-file", "munged.log"),
                file("seed-file", "munged.seed"),
            ],
        );
        until("munge answers", || at("munge").exists());
        let configured = ["-D".to_owned(), "-f".to_owned(), at("slurm.conf").display().to_string()];
        cluster.begin("slurmctld", &configured);
        for node in ["n1", "n2"] {
            cluster.begin("slurmd", &[&configured[..], &["-N".to_owned(), node.to_owned()]].concat());
        }
        until("both nodes are idle", || {
            let said = cluster.says("sinfo", &["--noheader", "--Node", "--format=%N %T"]);
            String::from_utf8_lossy(&said.stdout).lines().filter(|line| line.ends_with(" idle")).count() == 2
        });
        Some(cluster)
    }

    fn begin(&mut self, program: &str, arguments: &[String]) {
        let mut command = Command::new(program);
        command.args(arguments).env("SLURM_CONF", &self.configuration);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.processes.push(command.spawn().unwrap());
    }

    fn says(&self, program: &str, arguments: &[&str]) -> Output {
        Command::new(program).args(arguments).env("SLURM_CONF", &self.configuration).output().unwrap()
    }

    /// The nodes on which something runs.
    fn busy(&self) -> Vec<String> {
        let said = self.says("squeue", &["--noheader", "--states=RUNNING", "--format=%N"]);
        let mut nodes: Vec<String> =
            String::from_utf8_lossy(&said.stdout).lines().map(str::to_owned).collect();
        nodes.sort();
        nodes
    }
}

#[test]
fn the_scheduler_places_sessions_on_its_nodes_and_has_others_wait() {
    as_root(|| {
        let there = There::new();
        let Some(cluster) = Cluster::start(&there) else { return };
        let environment = format!("SLURM_CONF = {:?}\n", cluster.configuration);
        let config = there.section("there", "preset = \"slurm\"\npatience = \"60s\"") + &environment;
        let hasty = there.section("hasty", "preset = \"slurm\"\npatience = \"3s\"") + &environment;
        let policy = "default = \"allow\"\n[limits]\nmemory = \"800 MiB\"\n[sandbox]\nlaunchers = [\"there\", \"hasty\"]\n";
        let Some(daemon) = there.daemon_with(&(config + &hasty), policy) else { return };
        let (mut one, mut two, mut three) = (client(&daemon), client(&daemon), client(&daemon));
        let opened = open(&mut one, &there.work());
        assert_eq!(layer(&opened["receipt"], "private-root"), Some(true), "{opened}");
        open(&mut two, &there.work());
        assert_eq!(cluster.busy(), ["n1", "n2"]);
        for agent in [&mut one, &mut two] {
            let done = shell(agent, "a", "pwd; env; head -c 1000000 /dev/zero | wc -c");
            assert!(out(&done).starts_with(&there.work()) && out(&done).ends_with("1000000"), "{done}");
            assert!(!out(&done).contains("SLURM"), "{done}");
        }
        let (code, message) = refused(try_open(&mut three, "hasty", &there.work()));
        assert!(code == 1500 && message.contains("within 3 s"), "{message}");
        one.call("session/close", json!({ "session": opened["session"] })).unwrap();
        open(&mut three, &there.work());
        assert_eq!(out(&shell(&mut three, "a", "echo placed")), "placed");

        // A job that the cluster ends takes its session with it, and no other.
        let mark = format!("71{}", std::process::id());
        let text = format!("(setsid sleep {mark} &) ; sleep {mark}");
        two.call("exec/start", json!({"id": "b", "command": {"shell": text}})).unwrap();
        until("it runs", || processes(&mark).len() >= 2);
        let said = cluster.says("squeue", &["--noheader", "--format=%i", "--sort=i"]);
        let first = String::from_utf8_lossy(&said.stdout).lines().next().unwrap().to_owned();
        assert!(cluster.says("scancel", &[&first]).status.success());
        let report = two.exited("b");
        // Whichever comes first: the scheduler's signal to all of the job, or the end of the stream.
        assert_ne!(report["outcome"], "exited", "{report}");
        until("nothing of it is left", || processes(&mark).is_empty());
        assert_eq!(out(&shell(&mut three, "b", "echo still")), "still");
        drop(daemon);
        until("the cluster is empty", || cluster.busy().is_empty());
    });
}
