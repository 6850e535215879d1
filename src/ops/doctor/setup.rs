//! What was set up: configuration, policy, principals, the log, and the daemon that serves.

use std::fs;
use std::path::Path;

use super::{Check, Examined, PATIENCE};
use crate::audit;
use crate::client::{Client, ClientError};
use crate::http::Keys;
use crate::secrets::Secrets;
use crate::supervisor::{Configured, Source, configured, jobs_found, load_policy, load_policy_alone};
use crate::wire::rpc::{Jobs, Nothing, Socket};

/// A log up to this size is read whole; a larger one takes longer than a short look may.
const QUICK: u64 = 32 << 20;

/// Groups whose members can become root, or read what nobody may, without execward: with what each gives.
const POWERFUL: &[(&str, &str)] = &[
    ("root", "root's files"),
    ("sudo", "sudo"),
    ("wheel", "sudo"),
    ("admin", "sudo"),
    ("docker", "root, through any container"),
    ("podman", "containers"),
    ("lxd", "root, through any container"),
    ("incus-admin", "root, through any container"),
    ("libvirt", "virtual machines with any disk"),
    ("disk", "every disk"),
    ("kmem", "the kernel's memory"),
    ("shadow", "password hashes"),
    ("adm", "system logs"),
    ("systemd-journal", "system logs"),
    ("execward-operators", "its own approvals"),
];

/// And the configuration itself, where it can be read.
pub(super) fn checks(examined: &Examined<'_>) -> (Vec<Check>, Option<Configured>) {
    let mut checks = Vec::new();
    let config = config(examined, &mut checks);
    if let Some(config) = &config {
        checks.push(principals(config));
    }
    checks.push(keys(examined));
    checks.push(secrets(examined));
    checks.push(policy(examined));
    checks.extend(jobs(examined));
    checks.push(log(&examined.local.directories.audit()));
    checks.push(daemon(examined.sockets.as_deref()));
    (checks, config)
}

/// Finds whoever serves, and waits no longer for it than a short look may.
fn find(sockets: Option<&Path>, socket: Socket) -> Result<Client, ClientError> {
    match sockets {
        Some(directory) => {
            Client::connect_within(&directory.join(format!("{}.sock", socket.name())), true, PATIENCE)
        }
        None => Client::find_within(socket, PATIENCE),
    }
}

fn config(examined: &Examined<'_>, checks: &mut Vec<Check>) -> Option<Configured> {
    const NAME: &str = "configuration";
    match configured(examined.config.as_deref(), examined.local) {
        Ok(configured) if configured.unknown.is_empty() => {
            checks.push(Check::ok(NAME, "can be read"));
            Some(configured)
        }
        Ok(configured) => {
            checks.push(Check::warning(
                NAME,
                format!("nobody is called {}", configured.unknown.join(", ")),
                "a name that nobody has gives nobody anything: a slip of the pen, or a user that is gone",
                "mend `[principals]` in execward.toml, or make the user or group",
            ));
            Some(configured)
        }
        Err(error) => {
            checks.push(Check::failure(
                NAME,
                error.brief(),
                "the daemon does not start with it, and never takes a part of it",
                "execward config check shows the line",
            ));
            None
        }
    }
}

/// The file of keys: whose it is, who may read it, whether it can be read. No check quotes it.
fn keys(examined: &Examined<'_>) -> Check {
    const NAME: &str = "keys";
    let path = examined.local.directories.keys();
    match Keys::read(&path, examined.local.principal.uid) {
        Ok(_) if path.exists() => Check::ok(NAME, format!("{}, for its owner alone", path.display())),
        Ok(_) => Check::ok(NAME, "none"),
        Err(error) => Check::failure(
            NAME,
            error.to_string(),
            "no model is asked and no webhook signed; a key that others could read is theirs too",
            format!("replace the keys in it, then: chmod 0600 {}", path.display()),
        ),
    }
}

/// The file of secrets, likewise; and whether what the policy gives is there.
fn secrets(examined: &Examined<'_>) -> Check {
    const NAME: &str = "secrets";
    let path = examined.local.directories.secrets();
    let uid = examined.local.principal.uid;
    let secrets = match Secrets::read(&path, uid) {
        Ok(secrets) => secrets,
        Err(error) => {
            return Check::failure(
                NAME,
                error.to_string(),
                "a command that is to be given a secret does not run; one that others could read is theirs too",
                format!("replace the secrets in it, then: chmod 0600 {}", path.display()),
            );
        }
    };
    let given = load_policy(examined.policy.as_deref(), &examined.local.directories, uid)
        .map(|policy| policy.secrets());
    let missing: Vec<String> = given
        .unwrap_or_default()
        .into_iter()
        .filter(|given| secrets.get(&given.grant.name).is_none())
        .map(|given| given.grant.name)
        .collect();
    match missing.first() {
        Some(first) => Check::warning(
            NAME,
            format!("the policy gives {}, and there is none of that name", missing.join(", ")),
            "the commands that are to be given it do not run",
            format!("execward secret set {first}"),
        ),
        None => Check::ok(NAME, format!("{}", secrets.names().count())),
    }
}

/// Agents that could go around execward.
fn principals(configured: &Configured) -> Check {
    const NAME: &str = "agents";
    let (groups, users) = (fs::read_to_string("/etc/group"), fs::read_to_string("/etc/passwd"));
    let found = powers(&groups.unwrap_or_default(), &users.unwrap_or_default(), &configured.agents);
    if found.is_empty() {
        let agents =
            if configured.agents.is_empty() { "none".to_owned() } else { configured.agents.join(", ") };
        return Check::ok(NAME, agents);
    }
    Check::warning(
        NAME,
        found.join("; "),
        "what an agent's user may do without execward, an agent that is not made to use it does",
        "run agents as a user of their own, without such groups (gpasswd -d USER GROUP), or under `execward wrap`",
    )
}

/// Who of the agents is in which powerful group, from group(5) and, for the group that a user has first, passwd(5).
fn powers(groups: &str, users: &str, agents: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for line in groups.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [group, _, gid, members] = fields[..] else { continue };
        let Some((_, gives)) = POWERFUL.iter().find(|(name, _)| *name == group) else { continue };
        let first = users.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, of) = (fields.next()?, fields.nth(2)?);
            (of == gid).then_some(name)
        });
        let mut members: Vec<&str> = members.split(',').chain(first).collect();
        members.retain(|member| agents.iter().any(|agent| agent == member));
        members.sort_unstable();
        members.dedup();
        found.extend(members.iter().map(|member| format!("{member} is in {group}, which gives {gives}")));
    }
    found
}

fn policy(examined: &Examined<'_>) -> Check {
    const NAME: &str = "policy";
    let local = examined.local;
    let uid = local.principal.uid;
    let read = match &examined.policy {
        Some(path) => load_policy_alone(path, uid),
        None => load_policy(None, &local.directories, uid),
    };
    match read {
        Ok(Source::Builtin(_)) => Check::ok(NAME, "the one that is compiled in"),
        Ok(source) => Check::ok(
            NAME,
            format!("{}, {} rules, and its examples hold", source.name(), source.rule_ids().count()),
        ),
        Err(error) => {
            let text = error.to_string();
            Check::failure(
                NAME,
                text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
                "nothing runs under a policy that cannot be used, and a daemon keeps the one before",
                "execward policy test shows the line",
            )
        }
    }
}

/// Files of jobs, and whether the daemon does what they say. Nothing where there are none.
fn jobs(examined: &Examined<'_>) -> Option<Check> {
    const NAME: &str = "jobs";
    let found = match jobs_found(examined.config.as_deref(), examined.local) {
        Ok(found) if found.is_empty() => return None,
        Ok(found) => found,
        Err(error) => {
            return Some(Check::failure(
                NAME,
                error.to_string(),
                "a daemon does not start with it, and one that runs keeps the jobs that it had",
                "mend the line that is named, then: execward policy reload",
            ));
        }
    };
    let asked = find(examined.sockets.as_deref(), Socket::Operator)
        .and_then(|mut client| client.ask::<Jobs>("job/list", &Nothing {}));
    let all = match asked {
        Ok(all) => all,
        Err(ClientError::NoDaemon(_)) if examined.at_rest => {
            return Some(Check::ok(
                NAME,
                format!("{} are there, for the daemon that is started next", found.len()),
            ));
        }
        Err(ClientError::NoDaemon(_)) => {
            return Some(Check::failure(
                NAME,
                format!("{} are there, and no daemon runs them", found.len()),
                "what is due does not happen; what was missed is told by the next daemon",
                "systemctl start execward.service",
            ));
        }
        Err(error) => {
            return Some(Check::warning(
                NAME,
                format!("{} are there; what became of them is not known: {error}", found.len()),
                "whether they run is not looked at",
                "ask as an operator",
            ));
        }
    };
    Some(judged(&all))
}

fn judged(all: &Jobs) -> Check {
    const NAME: &str = "jobs";
    let named = |which: &dyn Fn(&crate::wire::rpc::Job) -> bool| -> Vec<&str> {
        all.jobs.iter().filter(|job| which(job)).map(|job| job.name.as_str()).collect()
    };
    let overdue = named(&|job| job.overdue);
    if !overdue.is_empty() {
        return Check::failure(
            NAME,
            format!("overdue: {}", overdue.join(", ")),
            "they are due, and the daemon does not begin them",
            "look at the daemon's log, then: systemctl restart execward.service",
        );
    }
    if all.dead_letters > 0 {
        return Check::failure(
            NAME,
            format!("{} results could not be delivered", all.dead_letters),
            "whoever should know does not",
            "execward jobs dead-letters",
        );
    }
    let failing = named(&|job| {
        job.last.as_ref().is_some_and(|last| !matches!(last.state.as_str(), "ok" | "scheduled" | "running"))
    });
    if !failing.is_empty() || all.unread > 0 {
        let unread = if all.unread > 0 { format!("; {} unread messages", all.unread) } else { String::new() };
        return Check::warning(
            NAME,
            format!(
                "did not end well: {}{unread}",
                if failing.is_empty() { "none".to_owned() } else { failing.join(", ") }
            ),
            "the last run failed, was refused or missed, or nobody has read of one",
            "execward jobs history; execward jobs inbox",
        );
    }
    Check::ok(NAME, format!("{} as they should be", all.jobs.len()))
}

fn log(directory: &Path) -> Check {
    const NAME: &str = "audit-log";
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Check::ok(NAME, "nothing is recorded yet");
        }
        Err(error) => {
            return Check::failure(
                NAME,
                format!("{}: {error}", directory.display()),
                "what cannot be recorded does not run",
                "execward must be able to read and write its own state",
            );
        }
        Ok(entries) => entries,
    };
    let size: u64 = entries.flatten().filter_map(|entry| Some(entry.metadata().ok()?.len())).sum();
    if size > QUICK {
        return Check::ok(NAME, format!("{} MiB: `execward audit verify` reads all of it", size >> 20));
    }
    let broken = |found: String| {
        Check::failure(
            NAME,
            found,
            "records were changed, cut off or put in by something else than execward",
            "keep a copy of the directory, then: execward audit verify, and hold it against a checkpoint kept elsewhere",
        )
    };
    match audit::verify::verify(directory) {
        Ok(report) => match report.problems.first() {
            None => Check::ok(NAME, format!("{} records, whole", report.records)),
            Some(problem) => broken(format!("{} line {}: {}", problem.file, problem.line, problem.what)),
        },
        Err(error) => broken(error.to_string()),
    }
}

fn daemon(sockets: Option<&Path>) -> Check {
    const NAME: &str = "daemon";
    match find(sockets, Socket::Agent) {
        Ok(client) => {
            let (version, own) = (&client.welcome().server.version, env!("CARGO_PKG_VERSION"));
            let found = format!("version {version} serves {}", client.path().display());
            if version == own {
                return Check::ok(NAME, found);
            }
            Check::warning(
                NAME,
                found,
                format!("this program is version {own}: what serves is not what is installed"),
                "restart the daemon",
            )
        }
        Err(ClientError::NoDaemon(_)) => {
            Check::ok(NAME, "none listens: `execward run` is its own supervisor")
        }
        Err(ClientError::Refused(error)) => {
            Check::ok(NAME, format!("one listens, and does not serve this user: {}", error.message))
        }
        Err(error) => Check::failure(
            NAME,
            error.to_string(),
            "agents and operators that use it are not served",
            error.hint(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Health;
    use super::*;

    #[test]
    fn a_job_that_is_overdue_or_told_to_nobody_is_a_failure() {
        let job = |overdue, state: &str| {
            serde_json::json!({
                "name": "nightly", "description": "", "user": "ann", "schedule": "every 1h UTC", "enabled": true,
                "overdue": overdue,
                "last": {"run": 1, "job": "nightly", "due": "", "count": 1, "attempt": 1, "state": state, "reason": ""},
            })
        };
        let all = |job, dead: u64, unread: u64| -> Jobs {
            serde_json::from_value(serde_json::json!({"jobs": [job], "dead_letters": dead, "unread": unread}))
                .expect("they read")
        };
        for (all, health) in [
            (all(job(false, "ok"), 0, 0), Health::Ok),
            (all(job(false, "running"), 0, 0), Health::Ok),
            (all(job(false, "missed"), 0, 0), Health::Warning),
            (all(job(false, "ok"), 0, 2), Health::Warning),
            (all(job(false, "ok"), 1, 0), Health::Failure),
            (all(job(true, "ok"), 0, 0), Health::Failure),
        ] {
            assert_eq!(judged(&all).health, health, "{all:?}");
        }
    }

    #[test]
    fn an_agent_with_a_way_around_is_named() {
        let groups = "docker:x:5:ann,ben\nsudo:x:27:\nusers:x:100:ann\nbroken\n";
        let agents = ["ann".to_owned(), "cay".to_owned()];
        let users = "bob:x:1001:27::/home/bob:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n";
        let found = powers(groups, users, &agents);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found.iter().all(|line| line.contains("ann is in docker")));
    }
}
