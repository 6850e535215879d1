//! Hooks: what an agent's client runs before it uses a tool, and how each client says what it is about to do.
//!
//! A hook is advice. The client decides whether to ask it, and several run the command when it fails: so everything that is
//! not understood is blocked here, in the words and with the exit code that the client takes for a block, and what is
//! installed ([`settings`]) blocks where this program cannot be started. What allows is the pipeline: where the client lets a
//! hook change a command, the command becomes a *pass* ([`super::pass`]), and the run that the pass leads to is judged,
//! confined and recorded like any other.
//!
//! The shapes are those of the clients' own documentation as of August 2026; each has a transcript in `tests/hooks/`.

mod settings;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::gate::{Command, Decision, Finding};

pub use self::settings::{Change, SettingsError, install, uninstall};

/// Longest message of a client.
pub const LONGEST: u64 = 4 << 20;

/// An agent's client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Client {
    /// Claude Code: `PreToolUse` of `Bash`.
    Claude,
    /// Codex: `PreToolUse` of its shell tools.
    Codex,
    /// Gemini CLI: `BeforeTool` of `run_shell_command`.
    Gemini,
    /// Hermes: `pre_tool_call` of `terminal`, `execute_code` and `process`.
    Hermes,
    /// Cursor: `preToolUse` of `Shell`.
    Cursor,
}

/// A command that a client is about to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The command.
    pub command: Command,
    /// Where.
    pub cwd: PathBuf,
    /// The tool's input, to be given back changed.
    input: Map<String, Value>,
}

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It is about to run a command.
    Command(Box<Intent>),
    /// It is about to do what cannot be judged: why.
    Unjudged(String),
    /// It is about to do something that this hook says nothing about.
    Other,
}

/// What was decided about a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The strictest of the findings.
    pub decision: Decision,
    /// Strictest first.
    pub findings: Vec<Finding>,
}

/// What the hook says: standard output and exit code; a block is also said on standard error, which some clients show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// JSON, or nothing.
    pub stdout: String,
    /// Text, or nothing.
    pub stderr: String,
    /// The exit code.
    pub code: u8,
}

/// What the clients send. Other fields are passed over: each release adds some, and none of them can allow anything.
#[derive(Debug, Deserialize)]
struct Message {
    #[serde(default)]
    cwd: Option<String>,
    /// Where Cursor has no `cwd`.
    #[serde(default)]
    workspace_roots: Vec<String>,
    #[serde(default)]
    tool_name: Option<String>,
    #[serde(default)]
    tool_input: Option<Map<String, Value>>,
}

impl Client {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Claude, Self::Codex, Self::Gemini, Self::Hermes, Self::Cursor];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
            Self::Hermes => "hermes",
            Self::Cursor => "cursor",
        }
    }

    /// The names of its tools that run commands.
    const fn tools(self) -> &'static [&'static str] {
        match self {
            Self::Claude => &["Bash"],
            Self::Codex => &["Bash", "shell", "shell_command", "local_shell", "exec_command", "unified_exec"],
            Self::Gemini => &["run_shell_command"],
            Self::Hermes => &["terminal", EXECUTE_CODE, PROCESS],
            Self::Cursor => &["Shell"],
        }
    }

    /// Whether a hook may change the command.
    pub const fn rewrites(self) -> bool {
        !matches!(self, Self::Hermes)
    }

    /// Reads what the client says.
    ///
    /// # Errors
    /// A sentence: it cannot be understood, and must be blocked.
    pub fn read(self, text: &[u8]) -> Result<Asked, String> {
        let message: Message =
            serde_json::from_slice(text).map_err(|error| format!("the client's message: {error}"))?;
        let tool = message.tool_name.ok_or("the client's message names no tool")?;
        if !self.tools().contains(&tool.as_str()) {
            return Ok(Asked::Other);
        }
        let input = message.tool_input.ok_or("the client's message has no `tool_input`")?;
        if tool == PROCESS {
            return Ok(process(&input));
        }
        let word =
            |name: &str| input.get(name).map(|value| value.as_str().ok_or(format!("`{name}` is no text")));
        let command = match input.get("command").or_else(|| input.get("cmd")) {
            _ if tool == EXECUTE_CODE => {
                let code = word("code").transpose()?.ok_or("the client's message has no `code`")?;
                Command::Argv(vec!["python3".to_owned(), "-c".to_owned(), code.to_owned()])
            }
            Some(Value::String(text)) => Command::Shell(text.clone()),
            Some(Value::Array(words)) => {
                let words: Option<Vec<String>> =
                    words.iter().map(|word| word.as_str().map(str::to_owned)).collect();
                Command::Argv(words.ok_or("`command` has words that are no text")?)
            }
            _ => return Err("the client's message has no command".to_owned()),
        };
        // What the shell of the tool would start in: all but one name it beside the command.
        let here = message.cwd.or_else(|| message.workspace_roots.into_iter().next()).map(PathBuf::from);
        let here = here.filter(|cwd| cwd.is_absolute());
        let within = ["dir_path", "workdir", "cwd", "directory", "working_directory"]
            .into_iter()
            .find_map(word)
            .transpose()?;
        let cwd = match (here, within) {
            (Some(here), Some(within)) => here.join(within),
            (Some(here), None) => here,
            (None, Some(within)) if Path::new(within).is_absolute() => PathBuf::from(within),
            (None, _) => {
                return Err("the client's message does not say where the command would run".to_owned());
            }
        };
        Ok(Asked::Command(Box::new(Intent { command, cwd, input })))
    }

    /// Nothing to say: the client goes on as it would without a hook.
    pub fn passes_over(self) -> Said {
        self.allows()
    }

    /// It may run as it is, as far as this hook is concerned. For clients whose command cannot be changed.
    pub fn allows(self) -> Said {
        Said { stdout: String::new(), stderr: String::new(), code: 0 }
    }

    /// It runs as this text. The client's own question to its user is not asked any more: execward's pipeline asks.
    pub fn rewrites_to(self, intent: &Intent, text: &str) -> Said {
        let mut input = intent.input.clone();
        // What would have the command run outside of the client's own sandbox, or out of this hook's sight, is not wanted:
        // the pass runs in execward's.
        for escape in
            ["dangerouslyDisableSandbox", "sandbox_permissions", "additional_permissions", "prefix_rule"]
        {
            input.remove(escape);
        }
        let name = if input.contains_key("command") { "command" } else { "cmd" };
        let words = || text.split(' ').map(Value::from).collect::<Vec<_>>();
        let new = match input.get(name) {
            Some(Value::Array(_)) => Value::Array(words()),
            _ => Value::from(text),
        };
        input.insert(name.to_owned(), new);
        let stdout = match self {
            Self::Claude | Self::Codex => json!({"hookSpecificOutput": {
                "hookEventName": "PreToolUse",
                "permissionDecision": "allow",
                "permissionDecisionReason": "execward judges, confines and records it",
                "updatedInput": input,
            }}),
            Self::Gemini => json!({"decision": "allow", "hookSpecificOutput": {"tool_input": input}}),
            Self::Cursor => json!({"permission": "allow", "updated_input": input}),
            // It would run the command as it was.
            Self::Hermes => return self.blocks("this client's commands cannot be changed"),
        };
        Said { stdout: stdout.to_string(), stderr: String::new(), code: 0 }
    }

    /// It must not run. The model is told why.
    pub fn blocks(self, reason: &str) -> Said {
        let reason = if reason.is_empty() { "execward refuses it" } else { reason };
        let stdout = match self {
            Self::Claude | Self::Codex => json!({"hookSpecificOutput": {
                "hookEventName": "PreToolUse",
                "permissionDecision": "deny",
                "permissionDecisionReason": reason,
            }}),
            Self::Gemini => json!({"decision": "deny", "reason": reason}),
            Self::Hermes => json!({"action": "block", "message": reason}),
            Self::Cursor => json!({"permission": "deny", "user_message": reason, "agent_message": reason}),
        };
        Said { stdout: stdout.to_string(), stderr: String::new(), code: 0 }
    }

    /// It must not run, because this hook could not do its work: by the exit code that the client takes for a block, and
    /// for the one that has none, by what it reads.
    pub fn fails(self, error: &str) -> Said {
        let error = format!("execward: {error}; nothing was run");
        match self {
            Self::Hermes => self.blocks(&error),
            _ => Said { stdout: String::new(), stderr: error, code: BLOCK },
        }
    }
}

/// Hermes' tool that runs Python, and the one that has to do with what runs in the background.
const EXECUTE_CODE: &str = "execute_code";
const PROCESS: &str = "process";

/// What Hermes' `process` is asked to do. What is typed into a process may be a line of a shell's, in as many pieces as one likes,
/// and nothing says which program reads it: only answers go through of which no number in a row makes a command.
fn process(input: &Map<String, Value>) -> Asked {
    let text = |name: &str| input.get(name).and_then(Value::as_str);
    match text("action") {
        Some("list" | "poll" | "log" | "wait" | "kill" | "close") => Asked::Other,
        Some("write" | "submit") if input.get("data").is_none_or(|data| data.as_str().is_some_and(is_answer)) => {
            Asked::Other
        }
        Some("write" | "submit") => Asked::Unjudged(
            "input for a process that runs cannot be judged: it may be a command to a shell. Answers go through (`y`, `n`, `yes`, \
             `no`, `q`, a number). Start the command again with its input in it, as in `printf '...' | command`"
                .to_owned(),
        ),
        _ => Asked::Unjudged("what `process` is asked to do is not known to execward".to_owned()),
    }
}

/// Whether it is an answer to a question, and nothing else.
fn is_answer(data: &str) -> bool {
    let line = data.strip_suffix('\n').unwrap_or(data);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let is_number = line.len() <= 9 && line.bytes().all(|byte| byte.is_ascii_digit());
    is_number || matches!(line, "y" | "Y" | "n" | "N" | "yes" | "no" | "q")
}

/// The exit code that Claude Code, Codex, Gemini CLI and Cursor take for a block, with standard error as the reason. Any
/// other code but 0 lets the command run.
pub const BLOCK: u8 = 2;

/// What a model is told of a refusal: why, and what to do instead.
pub fn told(findings: &[Finding]) -> String {
    let mut text = String::from("refused by execward");
    for finding in findings.iter().filter(|finding| finding.decision > Decision::Allow).take(8) {
        text.push_str(&format!("\n- {} [{}]", finding.reason, finding.rule));
        if !finding.hint.is_empty() {
            text.push_str(&format!("\n  instead: {}", finding.hint));
        }
    }
    text
}

#[cfg(test)]
mod tests;
