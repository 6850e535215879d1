//! Errors: stable codes, and data from which a program or a model can go on.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::RequestId;
use crate::gate::Finding;

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Which kind.
    pub code: Code,
    /// One sentence for a person.
    pub message: String,
    /// The same for a program.
    pub data: Box<Detail>,
}

/// What a program or a model gets to know of an error. Never another principal's data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Detail {
    /// The code's name: `refused`, `unknown-session`, ...
    pub kind: String,
    /// The rule that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Why.
    pub reason: String,
    /// What to do instead; empty where there is nothing.
    #[serde(default)]
    pub hint: String,
    /// The request, as the audit log names it; there when one reached the gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// Everything that the gate found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// When trying again makes sense, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Error {
    /// An error with nothing but its reason.
    pub fn new(code: Code, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        let detail = Detail { kind: code.name().to_owned(), reason: reason.clone(), ..Detail::default() };
        Self { code, message: reason, data: Box::new(detail) }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.data.hint = hint.into();
        self
    }

    /// Adds the rule that decided.
    #[must_use]
    pub fn rule(mut self, rule: impl Into<String>) -> Self {
        self.data.rule = Some(rule.into());
        self
    }

    /// Adds the name under which the audit log has it.
    #[must_use]
    pub fn request(mut self, id: RequestId) -> Self {
        self.data.request_id = Some(id);
        self
    }

    /// Adds what the gate found; the first, which is the strictest, gives the rule and, where there is none, the hint.
    #[must_use]
    pub fn findings(mut self, findings: Vec<Finding>) -> Self {
        if let Some(first) = findings.first() {
            self.data.rule = Some(first.rule.clone());
            if self.data.hint.is_empty() {
                self.data.hint.clone_from(&first.hint);
            }
        }
        self.data.findings = findings;
        self
    }

    /// Adds when to try again.
    #[must_use]
    pub fn retry_after(mut self, time: std::time::Duration) -> Self {
        self.data.retry_after_ms = Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// A session that is not there or not the caller's: which of the two it is shows nowhere.
    pub fn unknown_session() -> Self {
        Self::new(Code::UnknownSession, "there is no such session").hint(
            "open one with session/open; a session ends with session/close, its lifetime, or the daemon",
        )
    }

    /// A command that its session does not have.
    pub fn unknown_exec() -> Self {
        Self::new(Code::UnknownExec, "the session has no such command")
            .hint("start it with exec/start; exec/list says what the session has")
    }
}

/// Makes the table of codes: variant, number, name.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// Every code. Numbers and names are stable; new ones may come, so that a client treats one that it does not know as
        /// a failure. Those below zero are JSON-RPC's own.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $variant,)*
            /// One that this version does not know; only a client meets it.
            Other(i32),
        }

        impl Code {
            /// All of this version.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// As JSON carries it.
            pub const fn number(self) -> i32 {
                match self {
                    $(Self::$variant => $number,)*
                    Self::Other(number) => number,
                }
            }

            /// As `data.kind` has it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Other(_) => "other",
                }
            }

            const fn of(number: i32) -> Self {
                match number {
                    $($number => Self::$variant,)*
                    other => Self::Other(other),
                }
            }
        }
    };
}

codes! {
    /// The line is no JSON that is accepted: broken, a duplicate key, too deep, not UTF-8, too long. The connection
    /// ends: what follows cannot be trusted to be what was meant.
    Unreadable = -32700, "unreadable";
    /// JSON, but no request: no id, a batch, an unknown field.
    NotARequest = -32600, "not-a-request";
    /// No such method on this socket.
    UnknownMethod = -32601, "unknown-method";
    /// The parameters do not fit: a wrong type, an unknown field, a number out of range, a command that is none.
    BadParameters = -32602, "bad-parameters";
    /// execward failed.
    Internal = -32603, "internal";

    /// The first request must be `hello`, and only the first. Where the first is another, the connection ends.
    Hello = 1000, "hello";
    /// No version of the protocol in common.
    Version = 1001, "version";
    /// The peer may not do that.
    NotPermitted = 1002, "not-permitted";
    /// The descriptors that came are not those that the request names.
    Descriptors = 1003, "descriptors";
    /// The daemon is stopping and starts nothing more.
    Stopping = 1004, "stopping";

    /// No such session, or not the caller's.
    UnknownSession = 1100, "unknown-session";
    /// The session has no such command.
    UnknownExec = 1101, "unknown-exec";
    /// No such profile.
    UnknownProfile = 1103, "unknown-profile";
    /// No such grant, or it is over.
    UnknownGrant = 1104, "unknown-grant";
    /// No such principal, or no code that waits.
    UnknownPrincipal = 1105, "unknown-principal";
    /// There is no such job, or letter of one.
    UnknownJob = 1106, "unknown-job";

    /// The id belongs to a command that was started with other parameters.
    IdInUse = 1200, "id-in-use";
    /// The command does not run: it has ended, or a person is being asked.
    NotRunning = 1201, "not-running";
    /// The command has no standard input from here, or it was ended.
    StdinClosed = 1202, "stdin-closed";
    /// The command has no terminal.
    NoTerminal = 1203, "no-terminal";
    /// The output goes elsewhere: it is collected, or was passed on through descriptors.
    NotReadable = 1204, "not-readable";
    /// The output after this number is not kept any more.
    Gone = 1205, "gone";
    /// There is no such question: it has been answered, withdrawn, or has run out, or never was.
    Settled = 1206, "settled";

    /// The policy refuses the command; its findings say why.
    Refused = 1300, "refused";
    /// A person must agree, and did not or could not.
    NotApproved = 1301, "not-approved";
    /// The workspace is refused.
    Workspace = 1302, "workspace";
    /// The working directory is refused.
    Directory = 1303, "directory";
    /// The variables are refused.
    Environment = 1304, "environment";
    /// The policy does not permit these terms: network, limits.
    Terms = 1305, "terms";

    /// There are as many as there may be: sessions, commands, connections, requests under way.
    Limit = 1400, "limit";
    /// Too many in too short a time; `retry_after_ms` says when to try again.
    Rate = 1401, "rate";
    /// Another request of this kind for the same thing is under way.
    Busy = 1402, "busy";

    /// No sandbox of the strength that the policy demands can be made here.
    Sandbox = 1500, "sandbox";
    /// No record can be kept, so that nothing runs.
    Record = 1501, "record";
    /// The policy cannot be used.
    Policy = 1502, "policy";
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i32(self.number())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i32::deserialize(deserializer).map(Self::of)
    }
}

impl JsonSchema for Code {
    fn schema_name() -> Cow<'static, str> {
        "Code".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let known: Vec<serde_json::Value> = Self::ALL
            .iter()
            .map(|code| serde_json::json!({"const": code.number(), "title": code.name()}))
            .collect();
        json_schema!({ "type": "integer", "anyOf": known })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_has_every_code() {
        let document = include_str!("../../../docs/protocol.md");
        for code in Code::ALL {
            let row = format!("| {} | `{}` |", code.number(), code.name());
            assert!(document.contains(&row), "{row}");
        }
        let rows =
            document.lines().filter(|line| line.starts_with("| -3") || line.starts_with("| 1")).count();
        assert_eq!(rows, Code::ALL.len());
    }

    #[test]
    fn numbers_and_names_are_unique_and_survive() {
        let numbers: BTreeSet<i32> = Code::ALL.iter().map(|code| code.number()).collect();
        let names: BTreeSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!((numbers.len(), names.len()), (Code::ALL.len(), Code::ALL.len()));
        for code in Code::ALL {
            let json = serde_json::to_string(code).unwrap();
            assert_eq!(serde_json::from_str::<Code>(&json).unwrap(), *code);
        }
        assert_eq!(serde_json::from_str::<Code>("4711").unwrap(), Code::Other(4711));
    }
}
