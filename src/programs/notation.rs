//! Effects on one line, for examples in the data files and for explanations to people.

use std::fmt::Write as _;

use super::effect::{Attribute, Effect, Language, Operation, Target};
use crate::shell::{Dialect, Value};

/// One effect in a few words: `delete -r /x`, `exec [rm -rf /] as root`.
pub fn brief(effect: &Effect) -> String {
    let mut text = String::new();
    // writing into a String cannot fail
    let _ = write_brief(&mut text, effect);
    text.trim_end().to_owned()
}

fn write_brief(out: &mut String, effect: &Effect) -> std::fmt::Result {
    match effect {
        Effect::Delete { path, recursive, how } => {
            let recursive = if *recursive { " -r" } else { "" };
            write!(
                out,
                "{}{recursive} {path}",
                if *how == Operation::Remove { "delete" } else { deletion(*how) }
            )
        }
        Effect::Write { path, how } => write!(out, "{} {path}", writing(*how)),
        Effect::Read { path } => write!(out, "read {path}"),
        Effect::Metadata { path, recursive, attribute, value } => {
            let name = match attribute {
                Attribute::Mode => "mode",
                Attribute::Owner => "owner",
                Attribute::Extended => "extended",
                Attribute::Times => "times",
            };
            let recursive = if *recursive { " -r" } else { "" };
            write!(out, "{name}{recursive} {value} {path}")
        }
        Effect::Exec { argv, target, assignments, cwd, .. } => {
            write!(out, "exec [{}]{}", joined(argv), place(target))?;
            for (name, value) in assignments {
                write!(out, " with {name}={value}")?;
            }
            cwd.as_ref().map_or(Ok(()), |cwd| write!(out, " in {cwd}"))
        }
        Effect::Script { language, text, target, arguments } => {
            write!(out, "script {} '{text}'{}", language_name(*language), place(target))?;
            if arguments.is_empty() { Ok(()) } else { write!(out, " with [{}]", joined(arguments)) }
        }
        Effect::RunFile { path, .. } => write!(out, "run {path}"),
        Effect::Fetch { url } => write!(out, "fetch {url}"),
        Effect::Send { url, path } => match path {
            Some(path) => write!(out, "send {path} to {url}"),
            None => write!(out, "send to {url}"),
        },
        Effect::Listen { address } => write!(out, "listen {address}"),
        Effect::Kill { target, signal } => {
            let signal = signal.to_string();
            if signal.is_empty() {
                write!(out, "kill {target}")
            } else {
                write!(out, "kill -{signal} {target}")
            }
        }
        Effect::Power => out.write_str("power"),
        Effect::Privilege { what } => write!(out, "privilege {what}"),
        Effect::Account { name } => write!(out, "account {name}"),
        Effect::Package { manager, action, names } => {
            let action = match action {
                Operation::Uninstall => "uninstall",
                Operation::Publish => "publish",
                _ => "install",
            };
            write!(out, "{manager} {action} {}", joined(names))
        }
        Effect::Service { action, name } => write!(out, "service {action} {name}"),
        Effect::Device { path, how } => {
            write!(out, "device {} {path}", if *how == Operation::Format { "format" } else { "write" })
        }
        Effect::Mount { path } => write!(out, "mount {path}"),
        Effect::Kernel { what, value } => write!(out, "kernel {what} {value}"),
        Effect::Repository { action, target } => write!(out, "repository {action} {target}"),
        Effect::Database { statement } => write!(out, "database {statement}"),
        Effect::Remote { action, resource, destructive } => {
            write!(out, "remote{} {action} {resource}", if *destructive { "!" } else { "" })
        }
        Effect::Persist { what, value } => write!(out, "persist {what}={value}"),
        Effect::Flood { what } => write!(out, "flood {what}"),
        Effect::Unreadable { program, word } => write!(out, "unreadable {program} {word}"),
        Effect::Opaque { argv } => write!(out, "opaque [{}]", joined(argv)),
    }
}

fn joined(words: &[Value]) -> String {
    words.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn place(target: &Target) -> String {
    match target {
        Target::Here => String::new(),
        Target::User(user) => format!(" as {user}"),
        Target::Host(host) => format!(" on {host}"),
        Target::Container(container) => format!(" inside {container}"),
    }
}

fn deletion(how: Operation) -> &'static str {
    match how {
        Operation::Truncate => "truncate",
        Operation::Move => "move",
        Operation::Shred => "shred",
        _ => "delete",
    }
}

fn writing(how: Operation) -> &'static str {
    match how {
        Operation::Append => "append",
        Operation::Create => "create",
        Operation::Make => "make",
        Operation::Edit => "edit",
        Operation::Link => "link",
        _ => "write",
    }
}

/// The name of a language as the data files write it.
pub fn language_name(language: Language) -> &'static str {
    match language {
        Language::Shell(Dialect::Bash) => "bash",
        Language::Shell(Dialect::Posix) => "sh",
        Language::OtherShell => "other-shell",
        Language::Python => "python",
        Language::Perl => "perl",
        Language::Ruby => "ruby",
        Language::JavaScript => "javascript",
        Language::Php => "php",
        Language::Lua => "lua",
        Language::Awk => "awk",
        Language::Sed => "sed",
        Language::Make => "make",
        Language::Editor => "editor",
        Language::Sql => "sql",
        Language::Other => "other",
    }
}
