//! What a grammar cannot say: programs whose arguments are a language of their own.

mod data;
mod find;
mod found;
mod git;
mod jobs;
mod launch;
pub(super) mod remote;
mod signals;
mod transfer;

pub(super) use find::{listed_by_fd, listed_by_find};
pub use found::Listing;
pub use jobs::READ;
pub(crate) use jobs::cron_command;
pub(crate) use signals::fits_nearly_all;

use super::effect::{Effect, Target};
use super::engine::Context;
use super::knowledge::Program;
use crate::shell::Value;

/// How many inner commands one program may start before the rest is refused.
const MAX_COMMANDS: usize = 32;

/// Runs the hook of a program. `false`: the program's table applies as well.
pub(super) fn run(
    name: &str,
    program: &Program,
    arguments: &[Value],
    context: &Context<'_>,
    effects: &mut Vec<Effect>,
) -> bool {
    match name {
        "find" => find::find(program, arguments, context, effects),
        "git-checkout" => {
            git::checkout(program, arguments, effects);
            return false;
        }
        "git-show" => {
            git::show(program, arguments, effects);
            return false;
        }
        "git-transport" => {
            git::transport(arguments, effects);
            return false;
        }
        "git-config" => git::config(program, arguments, effects),
        "fd" => find::fd(arguments, context, effects),
        "xargs" => jobs::xargs(program, arguments, context, effects),
        "parallel" => jobs::parallel(program, arguments, context, effects),
        "crontab" => return jobs::crontab(program, arguments, context, effects),
        "python" => return launch::python(program, arguments, context, effects),
        "socat" => launch::socat(program, arguments, effects),
        "redis" => data::redis(program, arguments, context, effects),
        "database" => data::database(program, arguments, context, effects),
        "cmake" => data::cmake(arguments, context, effects),
        "transfer" => return transfer::transfer(program, arguments, context, effects),
        "flock" => launch::flock(program, arguments, effects),
        "remote-script" => {
            remote::scripts(program, arguments, effects);
            return false;
        }
        "after-dashes" => return launch::after_dashes(program, arguments, context, effects),
        "nix" => return launch::nix(program, arguments, effects),
        "capsh" => launch::capsh(arguments, effects),
        "bwrap" => launch::bwrap(program, arguments, context, effects),
        "kill" => signals::kill(arguments, context, effects),
        "pkill" => signals::pkill(program, arguments, effects),
        _ => effects.push(Effect::Unreadable { program: program.name.clone(), word: Value::known(name) }),
    }
    true
}

/// Starts a command here.
pub(super) fn exec(argv: Vec<Value>, via: &str) -> Effect {
    Effect::Exec {
        argv: argv.into(),
        via: via.to_owned(),
        target: Target::Here,
        assignments: Vec::new(),
        cwd: None,
    }
}
