//! What is written into a client's settings so that it asks the hook, and how that is taken out again.
//!
//! Clients run a command when its hook crashes, takes too long or cannot be started. So what is installed is a line of
//! shell that gives the hook less time than the client does, and turns every end but a good one into the client's own block.
//! Settings keep their order and everything that is not execward's.

use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{BLOCK, Client};

/// Seconds that the client waits for the hook, and that the hook has: it must be the hook that ends first.
const CLIENT_SECONDS: u32 = 60;
const HOOK_SECONDS: u32 = 50;

/// What surrounds the lines in settings that are no JSON.
const BEGIN: &str = "# execward hook: begin";
const END: &str = "# execward hook: end";

/// New settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// They say it already.
    None,
    /// Their new text.
    To(String),
}

/// Why settings are not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// They are not what the client reads.
    #[error("the settings are not of the form that {client} reads: {what}")]
    Form {
        /// The client's name.
        client: &'static str,
        /// What is wrong.
        what: String,
    },
    /// They have a section that cannot be changed without knowing all of the language.
    #[error("the settings have `hooks:` already; put this below it:\n{0}")]
    ByHand(String),
    /// The program's path cannot be written into a line of shell without quoting.
    #[error("the path of execward, {0:?}, has characters that a hook's command line may not have")]
    Program(String),
}

/// Settings that ask the hook. `text` is what they say now; nothing where there are none. `program` is execward's path.
///
/// # Errors
/// When they cannot be read.
pub fn install(client: Client, text: &str, program: &str) -> Result<Change, SettingsError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    if !program.starts_with('/') || !program.chars().all(plain) {
        return Err(SettingsError::Program(program.to_owned()));
    }
    // An older one, perhaps of another path, is replaced.
    let base = match uninstall(client, text)? {
        Change::None => text.to_owned(),
        Change::To(text) => text,
    };
    let new = if client == Client::Hermes {
        with_lines(&base, program)?
    } else {
        with_group(client, &base, program)?
    };
    Ok(if new == text { Change::None } else { Change::To(new) })
}

/// Settings that do not ask the hook any more.
///
/// # Errors
/// When they cannot be read.
pub fn uninstall(client: Client, text: &str) -> Result<Change, SettingsError> {
    let new = if client == Client::Hermes { without_lines(text) } else { without_group(client, text)? };
    Ok(if new == text { Change::None } else { Change::To(new) })
}

/// The line of shell. `sh -c` for clients that split a line into words as well as for those that give it to a shell.
fn line(client: Client, program: &str) -> String {
    let name = client.name();
    let hook = format!("timeout -k 5 {HOOK_SECONDS} {program} hook {name}");
    let failed = "execward: the hook failed; nothing was run";
    match client {
        // It reads no exit code: what is printed decides, and nothing printed allows.
        Client::Hermes => format!(
            "sh -c 'if said=$({hook}); then printf %s \"$said\"; else printf %s \
             \"{{\\\"action\\\":\\\"block\\\",\\\"message\\\":\\\"{failed}\\\"}}\"; fi'"
        ),
        _ => format!("sh -c '{hook} || {{ echo \"{failed}\" >&2; exit {BLOCK}; }}'"),
    }
}

/// The event, and the group of hooks for it.
fn group(client: Client, program: &str) -> (&'static str, Value) {
    let command = line(client, program);
    let matcher = client.tools().join("|");
    match client {
        Client::Gemini => (
            "BeforeTool",
            json!({"matcher": matcher, "hooks": [{
                "name": "execward", "type": "command", "command": command, "timeout": CLIENT_SECONDS * 1000}]}),
        ),
        Client::Cursor => {
            ("preToolUse", json!({"matcher": matcher, "command": command, "timeout": CLIENT_SECONDS}))
        }
        _ => (
            "PreToolUse",
            json!({"matcher": matcher, "hooks": [{
                "type": "command", "command": command, "timeout": CLIENT_SECONDS}]}),
        ),
    }
}

/// An object whose fields keep their order, and their text where nobody touches it.
#[derive(Debug, Default)]
struct Ordered(Vec<(String, Box<RawValue>)>);

impl Ordered {
    fn read(client: Client, text: &str) -> Result<Self, SettingsError> {
        serde_json::from_str(text)
            .map_err(|error| SettingsError::Form { client: client.name(), what: error.to_string() })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.get())
    }

    fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }
}

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Ordered;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut fields = Ordered::default();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if fields.get(&name).is_some() {
                        return Err(de::Error::custom(format!("`{name}` is there twice")));
                    }
                    fields.0.push((name, value));
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl Serialize for Ordered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Writes a value as it stands `depth` levels deep. A line's end in JSON is never part of a string.
fn raw(client: Client, value: &impl Serialize, depth: usize) -> Result<Box<RawValue>, SettingsError> {
    let form =
        |error: serde_json::Error| SettingsError::Form { client: client.name(), what: error.to_string() };
    let text = serde_json::to_string_pretty(value).map_err(form)?;
    RawValue::from_string(text.replace('\n', &format!("\n{}", "  ".repeat(depth)))).map_err(form)
}

/// The settings, their hooks, and the groups of the event.
fn open(
    client: Client,
    text: &str,
    event: &str,
) -> Result<(Ordered, Ordered, Vec<Box<RawValue>>), SettingsError> {
    let settings = if text.trim().is_empty() { Ordered::default() } else { Ordered::read(client, text)? };
    let hooks =
        settings.get("hooks").map(|hooks| Ordered::read(client, hooks)).transpose()?.unwrap_or_default();
    let groups = hooks
        .get(event)
        .map(|groups| {
            serde_json::from_str(groups)
                .map_err(|error| SettingsError::Form { client: client.name(), what: error.to_string() })
        })
        .transpose()?
        .unwrap_or_default();
    Ok((settings, hooks, groups))
}

fn with_group(client: Client, text: &str, program: &str) -> Result<String, SettingsError> {
    let (event, group) = group(client, program);
    let (mut settings, mut hooks, mut groups) = open(client, text, event)?;
    if client == Client::Cursor && settings.get("version").is_none() {
        settings.set("version", raw(client, &1, 0)?);
    }
    groups.push(raw(client, &group, 3)?);
    hooks.set(event, raw(client, &groups, 2)?);
    settings.set("hooks", raw(client, &hooks, 1)?);
    Ok(raw(client, &settings, 0)?.get().to_owned() + "\n")
}

fn without_group(client: Client, text: &str) -> Result<String, SettingsError> {
    let event = group(client, "").0;
    let (mut settings, mut hooks, groups) = open(client, text, event)?;
    let mut kept = Vec::new();
    let mut changed = false;
    for group in groups {
        let form =
            |error: serde_json::Error| SettingsError::Form { client: client.name(), what: error.to_string() };
        let mut value: Value = serde_json::from_str(group.get()).map_err(form)?;
        let own = |hook: &Value| {
            hook.get("command").and_then(Value::as_str).is_some_and(|line| is_own(client, line))
        };
        if own(&value) {
            changed = true;
            continue;
        }
        let Some(list) = value.get_mut("hooks").and_then(Value::as_array_mut) else {
            kept.push(group);
            continue;
        };
        let before = list.len();
        list.retain(|hook| !own(hook));
        let (after, empty) = (list.len(), list.is_empty());
        changed |= after != before;
        match (after == before, empty) {
            (true, _) => kept.push(group),
            (false, true) => {}
            (false, false) => kept.push(raw(client, &value, 3)?),
        }
    }
    if !changed {
        return Ok(text.to_owned());
    }
    if kept.is_empty() {
        hooks.0.retain(|(name, _)| name != event);
    } else {
        hooks.set(event, raw(client, &kept, 2)?);
    }
    if hooks.0.is_empty() {
        settings.0.retain(|(name, _)| name != "hooks");
    } else {
        settings.set("hooks", raw(client, &hooks, 1)?);
    }
    Ok(raw(client, &settings, 0)?.get().to_owned() + "\n")
}

/// Whether a line is one that this module wrote, of whatever path.
fn is_own(client: Client, line: &str) -> bool {
    line.contains("execward") && line.contains(&format!(" hook {}", client.name()))
}

fn lines(program: &str) -> String {
    let command = line(Client::Hermes, program).replace('\'', "''");
    // Its matcher is held against the whole of a tool's name. Versions that do not know `fail_closed` pass over it.
    let matcher = Client::Hermes.tools().join("|");
    format!(
        "hooks:\n  pre_tool_call:\n    - matcher: {matcher}\n      command: '{command}'\n      timeout: {CLIENT_SECONDS}\n      \
         fail_closed: true\n"
    )
}

fn with_lines(text: &str, program: &str) -> Result<String, SettingsError> {
    let own = lines(program);
    // The key may be quoted, and the whole of the file one line (`{hooks: ...}`). A second document is another configuration.
    let is_key = |line: &str| {
        let name = line.trim_start_matches(['{', ' ', '"', '\'']);
        let rest = name.strip_prefix("hooks").map(|rest| rest.trim_start_matches(['"', '\'', ' ']));
        let is_top = !line.starts_with(' ');
        is_top && rest.is_some_and(|rest| rest.starts_with(':'))
    };
    let is_flow = text.trim_start().starts_with('{');
    let begins_another = |(at, line): (usize, &str)| at > 0 && matches!(line.trim_end(), "---" | "...");
    if is_flow || text.lines().any(is_key) || text.lines().enumerate().any(begins_another) {
        return Err(SettingsError::ByHand(own));
    }
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    Ok(format!("{text}{gap}{BEGIN}\n{own}{END}\n"))
}

fn without_lines(text: &str) -> String {
    let Some((before, rest)) = text.split_once(&format!("{BEGIN}\n")) else { return text.to_owned() };
    let Some((_, after)) = rest.split_once(&format!("{END}\n")) else { return text.to_owned() };
    format!("{before}{after}")
}
