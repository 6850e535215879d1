//! Clients of databases whose commands are words, and build tools with a toolbox of their own.

use super::super::effect::{Effect, Language, Target};
use super::super::engine::{self, Context};
use super::super::knowledge::Program;
use super::super::words;
use super::exec;
use crate::shell::{Input, Value};

/// Commands of Redis that lose or change data, run code or stop the server.
const REDIS: &[&str] = &[
    "FLUSHALL",
    "FLUSHDB",
    "DEL",
    "UNLINK",
    "EXPIRE",
    "PEXPIRE",
    "RENAME",
    "SHUTDOWN",
    "DEBUG",
    "CONFIG",
    "SCRIPT",
    "EVAL",
    "EVALSHA",
    "FCALL",
    "FUNCTION",
    "MODULE",
    "SLAVEOF",
    "REPLICAOF",
    "CLUSTER",
    "FAILOVER",
    "MIGRATE",
    "RESTORE",
    "SWAPDB",
    "XTRIM",
    "XDEL",
    "LTRIM",
    "SREM",
    "HDEL",
    "ZREM",
    "ZREMRANGEBYRANK",
    "ACL",
    "SAVE",
    "BGSAVE",
    "BGREWRITEAOF",
    "CLIENT",
    "LPOP",
    "RPOP",
    "SPOP",
    "GETDEL",
    "MOVE",
    "SET",
    "MSET",
    "HSET",
    "LREM",
    "RESET",
];

/// Adds what `redis-cli` does.
pub(super) fn redis(
    program: &Program,
    arguments: &[Value],
    context: &Context<'_>,
    effects: &mut Vec<Effect>,
) {
    let parsed = program.grammar.parse(arguments);
    if parsed.help {
        return;
    }
    let values = |name: &str| program.grammar.find(name).and_then(|id| parsed.values(id).last().cloned());
    if let Some(path) = values("--eval") {
        effects.push(Effect::RunFile { path, language: Some(Language::Lua) });
    }
    if let Some(path) = values("--rdb") {
        effects.push(Effect::Write { path, how: super::super::effect::Operation::Overwrite });
    }
    let mut statements = vec![words::join(&parsed.operands)];
    if parsed.operands.is_empty() {
        match &context.invocation.stdin {
            Input::Known(text) => {
                statements = text.split(|byte| *byte == b'\n').map(Value::known).collect();
            }
            Input::Inherited => {}
            other => statements = vec![engine::stdin_text(other)],
        }
    }
    for statement in statements.into_iter().filter(|statement| !statement.pieces.is_empty()) {
        let prefix = String::from_utf8_lossy(statement.prefix()).trim_start().to_uppercase();
        let first = prefix.split_whitespace().next().unwrap_or_default();
        if first.is_empty() || REDIS.contains(&first) {
            effects.push(Effect::Database { statement });
        }
    }
}

/// Words that lose data wherever a client takes them as a command.
const LOSSES: &[&str] = &[
    "drop",
    "down-to",
    "--down",
    "downgrade",
    "delete",
    "truncate",
    "flush*",
    "purge*",
    "reset",
    "*:drop",
    "*:reset",
    "*:fresh",
    "*:wipe",
    "*:rollback",
    "*:purge",
    "migrate:*",
    "flush",
    "sqlflush",
    "undo",
    "destroy",
    "clean",
    "shutdown",
    "stop",
    "kill",
    "--delete",
    "--drop",
    "force",
    "--force-reset",
    "remove",
    "decommission",
    "db:*:all",
    "delete_queue",
    "delete_vhost",
    "delete_user",
    "stop_app",
    "force_reset",
    "purge_queue",
    "clear",
    "redo",
    "down",
    "revert",
    "undo:*",
    "db:migrate:undo:*",
    "schema:drop",
    "db:schema:load",
    "deleteall",
    "rmr",
    "rm",
    "clearsnapshot",
    "db:structure:load",
    "db:setup",
    "db:seed:replant",
    "db:schema:load:*",
];

/// Programs of the table that do nothing but lose or replace data.
const ALWAYS: &[&str] = &[
    "dropdb",
    "dropuser",
    "createuser",
    "pg_resetwal",
    "pg_rewind",
    "pg_dropcluster",
    "initdb",
    "pg_upgrade",
    "vacuumlo",
    "mongorestore",
    "mongoimport",
    "pg_restore",
    "pgloader",
    "impdp",
    "memcflush",
    "memcrm",
    "kafka-delete-records",
    "mysqlimport",
    "mysql_install_db",
    "mysql_secure_installation",
    "curator",
];

/// Adds what other clients do: their SQL, and the words among their operands that lose data.
pub(super) fn database(
    program: &Program,
    arguments: &[Value],
    context: &Context<'_>,
    effects: &mut Vec<Effect>,
) {
    let parsed = program.grammar.parse(arguments);
    if parsed.help {
        return;
    }
    let name =
        context.argv.first().and_then(words::basename).map(|name| name.to_string()).unwrap_or_default();
    if ALWAYS.contains(&name.as_str()) {
        let last = parsed.operands.last().cloned().unwrap_or_else(|| Value::known(name.as_str()));
        effects.push(Effect::Database { statement: last });
        return;
    }
    for text in program.grammar.find("-e").into_iter().flat_map(|id| parsed.values(id)) {
        let language = if name == "rake" { Language::Ruby } else { Language::Sql };
        super::super::code::effects(language, text, context, effects);
    }
    if let Input::Known(text) = &context.invocation.stdin {
        super::super::code::effects(Language::Sql, &Value::known(text.clone()), context, effects);
    }
    let is_loss = |word: &Value| {
        // what these do goes on from what is there
        let onwards = [
            b"migrate:latest".as_slice(),
            b"migrate:up",
            b"migrate:status",
            b"migrate:list",
            b"migrate:make",
        ];
        word.as_known().is_some_and(|word| {
            !onwards.contains(&word)
                && LOSSES
                    .iter()
                    .any(|pattern| words::wildcard(pattern.as_bytes(), &word.to_ascii_lowercase()))
        })
    };
    if let Some(at) = arguments.iter().position(is_loss) {
        effects.push(Effect::Database { statement: words::join(arguments.get(at..).unwrap_or_default()) });
    }
    // `rails runner 'code'`, `manage.py shell -c code`
    if let Some(at) = parsed
        .operands
        .iter()
        .position(|word| matches!(word.as_known(), Some(b"runner" | b"shell" | b"tinker" | b"console")))
    {
        let text = words::join(parsed.operands.get(at + 1..).unwrap_or_default());
        super::super::code::effects(Language::Ruby, &text, context, effects);
        // what a model of the project is asked for by its methods is told by their names
        let rails = context
            .argv
            .first()
            .and_then(words::basename)
            .is_some_and(|name| name.as_known() == Some(b"rails"));
        let asks = rails && text.as_str().is_some_and(|text| !super::super::code::changes_models(text));
        effects.push(Effect::Script {
            language: if asks { Language::Ruby } else { Language::Other },
            text,
            target: Target::Here,
            arguments: Vec::new(),
        });
    }
}

/// `cmake -P FILE`, `cmake -E COMMAND ...`.
pub(super) fn cmake(arguments: &[Value], context: &Context<'_>, effects: &mut Vec<Effect>) {
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        match word.as_known() {
            Some(b"-P" | b"-C" | b"--toolchain") => {
                if let Some(path) = rest.next() {
                    effects.push(Effect::RunFile { path: path.clone(), language: Some(Language::Other) });
                }
            }
            Some(b"--test-command") => {
                effects.push(exec(rest.by_ref().cloned().collect(), "ctest"));
            }
            Some(b"-E") => {
                let mut argv: Vec<Value> = rest.by_ref().cloned().collect();
                // `cmake -E chdir DIRECTORY COMMAND...`
                if argv.first().and_then(Value::as_known) == Some(b"chdir") && argv.len() > 2 {
                    let directory = argv.get(1).cloned();
                    effects.push(Effect::Exec {
                        argv: argv.split_off(2).into(),
                        via: "cmake".to_owned(),
                        target: Target::Here,
                        assignments: Vec::new(),
                        cwd: directory,
                    });
                    continue;
                }
                // the tools of `cmake -E` under their names in the system
                if let Some(first) = argv.first_mut() {
                    let name = match first.as_known() {
                        Some(b"remove" | b"remove_directory") => "rm",
                        Some(b"copy" | b"copy_if_different" | b"copy_directory") => "cp",
                        Some(b"rename") => "mv",
                        _ => "",
                    };
                    let tree = matches!(first.as_known(), Some(b"remove_directory" | b"copy_directory"));
                    if !name.is_empty() {
                        *first = Value::known(name);
                    }
                    if tree {
                        argv.insert(1, Value::known("-r"));
                    }
                }
                if let Some((word, arguments)) = argv.split_first() {
                    match word.as_str() {
                        Some("env" | "time" | "sleep") => effects.push(exec(argv, "cmake")),
                        Some(name @ ("rm" | "cp" | "mv" | "touch" | "cat" | "echo" | "tar" | "chdir")) => {
                            if let Some(program) = context.knowledge.find(name) {
                                engine::run(program, arguments, context, effects);
                            }
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}
