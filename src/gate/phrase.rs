//! Effects in words: `deletes /usr and everything below it`.

use super::act::Act;
use super::text::render;
use crate::programs::{Attribute, Effect, Operation};
use crate::shell::Value;

/// One short phrase for what an act does. Everything that came from the command is escaped.
pub(crate) fn phrase(act: &Act) -> String {
    let path = |value: &Value| match act.place.as_ref().and_then(|place| place.readings.first()) {
        Some(reading) if !reading.path.is_loose() && !value.pieces.is_empty() => {
            render(&reading.path.to_string())
        }
        _ => quote(value),
    };
    let tree = |recursive: bool| if recursive { " and everything below it" } else { "" };
    match &act.effect {
        Effect::Delete { path: target, recursive, how } => {
            let verb = match how {
                Operation::Truncate => "empties",
                Operation::Overwrite => "overwrites",
                Operation::Move => "moves away",
                Operation::Shred => "shreds",
                _ => "deletes",
            };
            format!("{verb} {}{}", path(target), tree(*recursive))
        }
        Effect::Write { path: target, how } => {
            let verb = match how {
                Operation::Append => "appends to",
                Operation::Edit => "edits",
                Operation::Link => "links",
                Operation::Overwrite | Operation::Truncate => "overwrites",
                _ => "writes",
            };
            format!("{verb} {}", path(target))
        }
        Effect::Read { path: target } => format!("reads {}", path(target)),
        Effect::Metadata { path: target, recursive, attribute, value } => {
            let what = match attribute {
                Attribute::Mode => "mode",
                Attribute::Owner => "owner",
                Attribute::Extended => "attributes",
                Attribute::Times => "times",
            };
            let to = if value.pieces.is_empty() { String::new() } else { format!(" to {}", quote(value)) };
            format!("changes the {what} of {}{}{to}", path(target), tree(*recursive))
        }
        Effect::Exec { argv, .. } => {
            format!("starts {}", argv.first().map_or_else(|| "nothing".to_owned(), quote))
        }
        Effect::Script { text, .. } => match text.as_known() {
            Some(_) => "runs text given to an interpreter".to_owned(),
            None => format!("runs text that is not known before running: {}", quote(text)),
        },
        Effect::RunFile { path: target, .. } => format!("runs the file {}", path(target)),
        Effect::Fetch { url } => format!("receives from {}", quote(url)),
        Effect::Send { url, path: None } => format!("sends to {}", quote(url)),
        Effect::Send { url, path: Some(file) } => format!("sends {} to {}", path(file), quote(url)),
        Effect::Listen { address } => format!("listens or tunnels at {}", quote(address)),
        Effect::Kill { target, .. } => format!("signals {}", quote(target)),
        Effect::Power => "turns the machine off, restarts or suspends it".to_owned(),
        Effect::Privilege { what } => format!("asks for more rights: {}", render(what)),
        Effect::Account { name } => format!("changes the account {}", quote(name)),
        Effect::Package { manager, action, .. } => {
            let verb = match action {
                Operation::Uninstall | Operation::Remove => "removes",
                Operation::Publish => "publishes",
                _ => "installs",
            };
            format!("{verb} packages with {}", render(manager))
        }
        Effect::Service { action, name } => format!("service: {} {}", render(action), quote(name)),
        Effect::Device { path: target, .. } => format!("writes to the device or image {}", path(target)),
        Effect::Mount { path: target } => format!("changes what is mounted at {}", path(target)),
        Effect::Kernel { what, value } => format!("changes kernel state: {} {}", render(what), quote(value)),
        Effect::Repository { action, target } => {
            format!("may lose work in a repository: {} {}", render(action), quote(target))
        }
        Effect::Database { statement } => format!("loses data: {}", quote(statement)),
        Effect::Remote { action, resource, .. } => {
            format!("remote resource: {} {}", render(action), quote(resource))
        }
        Effect::Persist { what, .. } => format!("sets what later commands run: {}", render(what)),
        Effect::Flood { what } => format!("starts processes or fills memory without end: {}", render(what)),
        Effect::Unreadable { program, word } => format!("{}: cannot read {}", render(program), quote(word)),
        Effect::Opaque { argv } => match argv.first() {
            Some(word) if word.as_known().is_some() => format!("runs {}", quote(word)),
            Some(word) => format!("runs a program that is not known before running: {}", quote(word)),
            None => "runs nothing".to_owned(),
        },
        #[allow(unreachable_patterns)]
        _ => "has an effect that this version has no words for".to_owned(),
    }
}

fn quote(value: &Value) -> String {
    render(&value.text())
}
