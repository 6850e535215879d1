//! `execward secret`: the secrets that the policy gives to commands that need them. No value is ever an argument, which
//! everybody on the host can read, nor ever printed.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::exit::Exit;
use super::screen::{Screen, print, shown};
use super::session::{Trouble, done};
use super::silent;
use crate::policy::Given;
use crate::secrets::{LARGEST, Secrets};
use crate::supervisor::{Local, load_policy};

pub(super) const EXAMPLES: &str = "\
A rule of the policy names a secret and the command that needs it:
  [[rule]]
  id = \"deploy.token\"
  program = \"deploy\"
  arguments = { exactly = [\"--to\", \"prod\"] }
  decision = \"ask\"
  reason = \"deploys to production\"
  secrets = [{ name = \"deploy-token\", env = \"DEPLOY_TOKEN\" }]
That command alone gets it, by itself and in places of its own; in all that execward shows and keeps it is masked. A daemon
takes a change at once.

Examples:
  execward secret set deploy-token                 asks for the value, and does not show it
  pass show deploy | execward secret set deploy-token
  execward secret list                             names, and the rules that give them
  execward secret remove deploy-token

Exit codes: 0 done, 2 not.";

/// Secrets for commands.
#[derive(Debug, Subcommand)]
pub(super) enum Secret {
    /// Show the names, and by which rules each is given to what
    List {
        #[command(flatten)]
        at: At,
        /// The policy file; without it the system's, and below it your own
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Keep a secret, in the place of one of the same name; the value comes from standard input, less one line's end
    Set {
        #[command(flatten)]
        at: At,
        /// Its name: lower-case letters, digits, `-`, `_` and `.`
        name: String,
    },
    /// Forget a secret
    Remove {
        #[command(flatten)]
        at: At,
        /// Its name
        name: String,
    },
}

/// Where the secrets are.
#[derive(Debug, Args)]
pub(super) struct At {
    /// The state directory: a daemon's, or the one of your own runs
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

pub(super) fn secret(arguments: Secret, screen: Screen) -> Exit {
    done(carry_out(arguments, screen), screen)
}

fn carry_out(arguments: Secret, screen: Screen) -> Result<Exit, Trouble> {
    let find = |at: At| -> Result<Local, Trouble> {
        Local::look(at.state).map_err(|error| error.to_string().into())
    };
    match arguments {
        Secret::List { at, policy, json } => {
            let local = find(at)?;
            let uid = local.principal.uid;
            let secrets =
                Secrets::read(&local.directories.secrets(), uid).map_err(|error| error.to_string())?;
            let policy = load_policy(policy.as_deref(), &local.directories, uid);
            let given = policy.map_err(|error| error.to_string())?.secrets();
            let mut all: BTreeMap<&str, (bool, Vec<&Given>)> =
                secrets.names().map(|name| (name, (true, Vec::new()))).collect();
            for given in &given {
                all.entry(&given.grant.name).or_default().1.push(given);
            }
            let text = if json { as_json(&all) } else { as_lines(&all) };
            Ok(print(screen, &text, Exit::SUCCESS))
        }
        Secret::Set { at, name } => {
            let local = find(at)?;
            let value = read(&name)?;
            let path = local.directories.secrets();
            Secrets::set(&path, local.principal.uid, &name, &value).map_err(|error| error.to_string())?;
            Ok(Exit::SUCCESS)
        }
        Secret::Remove { at, name } => {
            let local = find(at)?;
            let path = local.directories.secrets();
            Secrets::remove(&path, local.principal.uid, &name).map_err(|error| error.to_string())?;
            Ok(Exit::SUCCESS)
        }
    }
}

/// A value: typed, or all of standard input.
fn read(name: &str) -> Result<Zeroizing<String>, Trouble> {
    let failed = |error| format!("the value on standard input: {error}");
    if let Some(typed) = silent::ask(&format!("the secret {}", shown(name))).map_err(failed)? {
        return Ok(typed);
    }
    // Room from the start: a text that grows leaves copies behind.
    let mut value = Zeroizing::new(String::with_capacity(LARGEST + 4));
    std::io::stdin().take(LARGEST as u64 + 3).read_to_string(&mut value).map_err(failed)?;
    let line = value.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let length = line.unwrap_or(&value).len();
    value.truncate(length);
    Ok(value)
}

fn as_lines(all: &BTreeMap<&str, (bool, Vec<&Given>)>) -> String {
    if all.is_empty() {
        return "no secret: `execward secret set NAME` keeps one\n".to_owned();
    }
    let mut out = String::new();
    for (name, (is_set, given)) in all {
        out += &format!("{}{}\n", shown(name), if *is_set { "" } else { "  not set" });
        if given.is_empty() {
            out += "    no rule gives it\n";
        }
        for Given { layer, grant } in given {
            out += &format!("    by {} ({layer}) {}\n", shown(&grant.rule), shown(&grant.way()));
        }
    }
    out
}

fn as_json(all: &BTreeMap<&str, (bool, Vec<&Given>)>) -> String {
    let one = |(name, (is_set, given)): (&&str, &(bool, Vec<&Given>))| serde_json::json!({"name": name, "set": is_set, "given": given});
    let all: Vec<serde_json::Value> = all.iter().map(one).collect();
    format!("{}\n", serde_json::Value::from(all))
}
