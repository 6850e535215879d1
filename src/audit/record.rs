//! What is recorded: decisions and ends, redacted and bounded. Pure.
//!
//! The pipeline hands over what it has, secrets included; the one way from there to a [`Record`] leads through a
//! [`Redactor`]. Text too long for a line is cut, and its SHA-256 and length are kept in its place.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod masked;

pub use self::masked::mask_words;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::gate::{self, Command, Facts, Finding, SecretGrant};
use crate::redact::Redactor;
use crate::wire::runner::{self, Aftermath, Receipt};

use super::chain::Hash;
use super::checkpoint::Checkpoint;

/// The kind of record that follows a torn line.
pub(in crate::audit) const REPAIRED: &str = "repaired";

/// The kind of record that vouches for those before it.
pub(in crate::audit) const CHECKPOINT: &str = "checkpoint";

/// A keyed digest: `hmac-sha256:` and 64 hex digits. Made by [`super::Key`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest(pub(in crate::audit) String);

/// Who asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requester {
    /// User id, from the kernel.
    pub uid: u32,
    /// Group id, from the kernel.
    pub gid: u32,
    /// Process id, from the kernel.
    pub pid: i32,
    /// The principal it was taken for; `None` where there are none (the embedded run).
    pub principal: Option<String>,
}

/// Who approved, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// `terminal`, `operator`, `grant`, ...
    pub how: String,
    /// Who: a principal or a user name.
    pub by: String,
    /// Whether a uid boundary stood between requester and approver.
    pub separation: bool,
    /// The reason that was given, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The standing grant that covered it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// What the approver took from it: `offline`, `read_only`, `timeout_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub narrower: Option<Value>,
    /// Hosts that the approver lets this one command reach, with their ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}

/// What an operator changed about who may do what: a grant, a mode, a principal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// `grant-given`, `grant-revoked`, `mode-set`, `paired`, ...
    pub action: String,
    /// Who did it: a user id.
    pub by_uid: u32,
    /// Who did it: a name.
    pub by: String,
    /// What it is about.
    pub subject: Value,
}

/// What a model said of a command that a person would be asked about.
#[derive(Debug, Clone, Serialize)]
pub struct Assessment {
    /// Of the decision that follows.
    pub id: String,
    /// Who asked.
    pub requester: Requester,
    /// The session it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Keyed digest of the exact command.
    pub digest: Digest,
    /// `approve`, `deny`, `escalate`.
    pub verdict: String,
    /// Why, in words of execward's.
    pub why: String,
    /// Whose answer it is; `None` where nobody answered.
    pub provider: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// Providers that were asked before and did not answer, each with its reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
    /// How long it took, in milliseconds.
    pub ms: u64,
}

/// People elsewhere were told by a webhook that questions wait.
#[derive(Debug, Clone, Serialize)]
pub struct Notification {
    /// Scheme and host: the path of a webhook may be all that protects it.
    pub to: String,
    /// How many questions waited.
    pub waiting: usize,
    /// Why it did not arrive, where it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How the pipeline decided in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It may run.
    Run,
    /// The gate refused.
    Denied,
    /// A person refused.
    Refused,
    /// Nobody could be asked, or nobody answered in time.
    Unanswered,
    /// Something failed before it could run.
    Failed,
}

/// A decision, as the pipeline hands it over. Text in it may hold secrets: only [`Record::decision`] makes a record.
#[derive(Debug, Clone, Serialize)]
pub struct Decision {
    /// Binds decision and end: unique for each request.
    pub id: String,
    /// Who asked.
    pub requester: Requester,
    /// The session it belongs to; `None` where there are none (the embedded run).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// What for.
    pub command: Command,
    /// Keyed digest of the exact command.
    pub digest: Digest,
    /// What the gate was told.
    pub facts: Facts,
    /// What the gate said.
    pub verdict: gate::Decision,
    /// Why.
    pub findings: Vec<Finding>,
    /// What became of it.
    pub outcome: Outcome,
    /// Who approved; `None` where nobody was asked.
    pub approval: Option<Approval>,
    /// SHA-256 of the policy in force, hex.
    pub policy: String,
    /// The secrets that it is given, and by which rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretGrant>,
    /// What went wrong, where something did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The end of a command.
#[derive(Debug, Clone, Serialize)]
pub struct End {
    /// Of the decision.
    pub id: String,
    /// Number of the decision's record.
    pub decision: u64,
    /// How it ended; `None` where it was never executed.
    pub end: Option<runner::End>,
    /// What confined it.
    pub receipt: Option<Receipt>,
    /// Wall-clock time in microseconds.
    pub wall_us: u64,
    /// CPU time in microseconds.
    pub cpu_us: u64,
    /// Places masked in its output.
    pub masked: u64,
    /// What it left in the workspace that others would execute or obey later.
    #[serde(skip_serializing_if = "Aftermath::is_empty")]
    pub aftermath: Aftermath,
    /// The limits that it ran into.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reached: Vec<runner::Reached>,
    /// What went wrong, where something did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A connection that a command asked the proxy for.
#[derive(Debug, Clone, Serialize)]
pub struct Connection {
    /// Binds it and its end: the session or the request, and a number.
    pub id: String,
    /// Whose command.
    pub requester: Requester,
    /// The session it belongs to; `None` where there are none (the embedded run).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// `run` where it was dialled, `denied` where not.
    pub outcome: Outcome,
    /// `CONNECT`, or the method of a plain request.
    pub method: String,
    /// `host:port`, in its one spelling.
    pub target: String,
    /// Path and query of a plain request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What the name led to, each judged: what may be dialled.
    pub addresses: Vec<String>,
    /// Why it was refused, where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The end of a connection.
#[derive(Debug, Clone, Serialize)]
pub struct ConnectionEnd {
    /// Of the connection.
    pub id: String,
    /// The session it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// What was dialled; `None` where nothing answered.
    pub address: Option<String>,
    /// Bytes from the command.
    pub sent: u64,
    /// Bytes to the command.
    pub received: u64,
    /// Wall-clock time in microseconds.
    pub wall_us: u64,
    /// What went wrong, where something did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A record that may be written: redacted, bounded.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub(in crate::audit) kind: &'static str,
    pub(in crate::audit) body: Value,
    /// The request that may run once this is on disk.
    pub(in crate::audit) clears: Option<String>,
    /// Of a decision that lets nothing run: a hash of everything in it but the request's own name and process. Two
    /// with the same one say the same.
    pub(in crate::audit) same: Option<Hash>,
}

impl Record {
    /// Redacts a decision. `redacted` in the record is the number of places masked: where it is not 0, the record says
    /// `approximate`, for a replay would judge another text.
    pub fn decision(decision: &Decision, redactor: &Redactor) -> Self {
        let mut record = Self::new("decision", decision, redactor);
        if decision.outcome == Outcome::Run {
            record.clears = Some(decision.id.clone());
        } else {
            record.same = Some(record.hash_without_names());
        }
        record
    }

    /// What the record says, apart from who it says it to.
    fn hash_without_names(&mut self) -> Hash {
        let take =
            |value: &mut Value, name: &str| value.as_object_mut().and_then(|fields| fields.remove(name));
        let id = take(&mut self.body, "id");
        let pid = self.body.get_mut("requester").and_then(|requester| take(requester, "pid"));
        let hash = Hash::of(self.body.to_string().as_bytes());
        if let (Some(fields), Some(id)) = (self.body.as_object_mut(), id) {
            fields.insert("id".to_owned(), id);
        }
        let requester = self.body.get_mut("requester").and_then(Value::as_object_mut);
        if let (Some(fields), Some(pid)) = (requester, pid) {
            fields.insert("pid".to_owned(), pid);
        }
        hash
    }

    /// Of a decision that lets nothing run: the same for two that say the same of different requests.
    pub fn same(&self) -> Option<Hash> {
        self.same
    }

    /// Stands for decisions that all say the same, and of which an example is in the log as record `of`: it counts
    /// them, names each request, and repeats what a query asks for.
    pub fn repeated(of: u64, records: &[(&Self, Timestamp)]) -> Self {
        let ids: Vec<&Value> = records.iter().filter_map(|(record, _)| record.body.get("id")).collect();
        let mut body = serde_json::Map::new();
        let mut put = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
        put("of", of.into());
        put("count", records.len().into());
        put("ids", serde_json::json!(ids));
        if let (Some((sample, first)), Some((_, last))) = (records.first(), records.last()) {
            put("first", first.to_string().into());
            put("last", last.to_string().into());
            for name in [
                "requester",
                "session",
                "command",
                "digest",
                "verdict",
                "outcome",
                "method",
                "target",
                "error",
                "redacted",
            ] {
                if let Some(value) = sample.body.get(name) {
                    put(name, value.clone());
                }
            }
        }
        Self::plain("repeated", body.into())
    }

    fn plain(kind: &'static str, body: Value) -> Self {
        Self { kind, body, clears: None, same: None }
    }

    /// Redacts a change of who may do what.
    pub fn authority(authority: &Authority, redactor: &Redactor) -> Self {
        Self::new("authority", authority, redactor)
    }

    /// Redacts an assessment. It clears nothing: the decision that follows does.
    pub fn assessment(assessment: &Assessment, redactor: &Redactor) -> Self {
        Self::new("assessment", assessment, redactor)
    }

    /// Redacts a notification.
    pub fn notification(notification: &Notification, redactor: &Redactor) -> Self {
        Self::new("notification", notification, redactor)
    }

    /// Redacts an end.
    pub fn end(end: &End, redactor: &Redactor) -> Self {
        Self::new("end", end, redactor)
    }

    /// Redacts a connection. Refusals that say the same may be counted in one record; no record of one clears a request.
    pub fn connection(connection: &Connection, redactor: &Redactor) -> Self {
        let mut record = Self::new("connection", connection, redactor);
        if connection.outcome != Outcome::Run {
            record.same = Some(record.hash_without_names());
        }
        record
    }

    /// Redacts the end of a connection.
    pub fn connection_end(end: &ConnectionEnd, redactor: &Redactor) -> Self {
        Self::new("connection-end", end, redactor)
    }

    /// A statement about the chain up to the record before it.
    pub(in crate::audit) fn checkpoint(checkpoint: &Checkpoint) -> Self {
        let body = serde_json::to_value(checkpoint).unwrap_or_default();
        Self::plain(CHECKPOINT, body)
    }

    /// The first record of a file: the one before it was put aside under this name, and ended so.
    pub(in crate::audit) fn rotated(name: &str, seq: u64, hash: Hash) -> Self {
        let body = serde_json::json!({ "file": name, "last": seq, "hash": hash.to_string() });
        Self::plain("rotated", body)
    }

    /// The log found a torn last line, kept it, and went on after it.
    pub(in crate::audit) fn repaired(torn: &[u8]) -> Self {
        let body = serde_json::json!({ "torn_bytes": torn.len(), "torn_sha256": Hash::of(torn).to_string() });
        Self::plain(REPAIRED, body)
    }

    fn new(kind: &'static str, content: &impl Serialize, redactor: &Redactor) -> Self {
        let mut count = 0;
        let redacted = match serde_json::to_value(content) {
            Ok(mut value) => {
                // A name of execward's own, which looks like a secret and is none.
                let session = value.as_object_mut().and_then(|fields| fields.remove("session"));
                masked::redact(&mut value, redactor, &mut count);
                if let (Some(fields), Some(session)) = (value.as_object_mut(), session) {
                    fields.insert("session".to_owned(), session);
                }
                value
            }
            // Cannot happen with these types; a record that says so is better than none.
            Err(error) => serde_json::json!({ "unreadable": error.to_string() }),
        };
        let (mut body, cut) = masked::bound(redacted);
        if let Value::Object(fields) = &mut body {
            fields.insert("redacted".to_owned(), count.into());
            if count > 0 || cut {
                // What is judged in a replay is then not what was judged.
                fields.insert("approximate".to_owned(), true.into());
            }
        }
        Self::plain(kind, body)
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
pub(in crate::audit) mod tests {
    use std::collections::BTreeMap;

    use super::super::chain::Key;
    use super::*;
    use crate::redact::{Rules, Secret};
    use crate::shell::Dialect;

    pub(in crate::audit) fn decision(command: Command) -> Decision {
        Decision {
            id: "r1".into(),
            requester: Requester { uid: 1000, gid: 1000, pid: 4242, principal: None },
            session: None,
            digest: Key::new(zeroize::Zeroizing::new([1; 32])).command(&command),
            command,
            facts: Facts {
                cwd: "/w".into(),
                home: "/home/u".into(),
                user: "u".into(),
                uid: 1000,
                workspaces: vec!["/w".into()],
                homes: BTreeMap::new(),
                environment: BTreeMap::from([("APP_TOKEN".into(), "s3cret-in-env".into())]),
                dialect: Dialect::Bash,
                backend: "jail".into(),
                profile: String::new(),
            },
            verdict: gate::Decision::Allow,
            findings: Vec::new(),
            outcome: Outcome::Run,
            approval: None,
            secrets: Vec::new(),
            policy: "00".into(),
            error: None,
        }
    }

    fn redactor() -> Redactor {
        Redactor::new(&Rules::builtin(), vec![Secret::new("PIN", "known-value-1")])
    }

    #[test]
    fn no_secret_reaches_a_record() {
        let argv = [
            "curl",
            "-H",
            "Authorization: Bearer k7Qm2ZxV9bTf4RnW8cHs",
            "--password",
            "hunter22",
            "known-value-1",
        ];
        let decision = decision(Command::Argv(argv.iter().map(ToString::to_string).collect()));
        let record = Record::decision(&decision, &redactor());
        let text = record.body.to_string();
        for secret in ["k7Qm2ZxV9bTf4RnW8cHs", "hunter22", "known-value-1", "s3cret-in-env"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        assert_eq!(record.body["redacted"], 4);
        assert_eq!(record.body["command"]["argv"][0], "curl");
        assert_eq!(record.body["facts"]["cwd"], "/w");
        assert_eq!(record.body["digest"], decision.digest.0);
    }

    #[test]
    fn an_innocent_record_is_kept_as_it_is() {
        let decision = decision(Command::Shell("make -j2 && ls # tokens".into()));
        let mut innocent = decision.clone();
        innocent.facts.environment.clear();
        let record = Record::decision(&innocent, &redactor());
        assert_eq!(record.body["redacted"], 0);
        assert_eq!(record.body["command"]["shell"], "make -j2 && ls # tokens");
    }

    #[test]
    fn what_was_masked_makes_a_replay_approximate() {
        let mut masked = decision(Command::Shell("curl -u a:hunter22 --password hunter22 x".into()));
        masked.facts.environment.clear();
        let record = Record::decision(&masked, &redactor());
        assert_eq!(record.body["approximate"], record.body["redacted"].as_u64().is_some_and(|it| it > 0));
        assert_eq!(record.body["approximate"], true);
        masked.command = Command::Shell("true".into());
        assert!(Record::decision(&masked, &redactor()).body.get("approximate").is_none());
    }

    #[test]
    fn only_refusals_that_say_the_same_are_the_same() {
        let denied = Decision { outcome: Outcome::Denied, ..decision(Command::Shell("x".into())) };
        let same = |change: &dyn Fn(&mut Decision)| {
            let mut changed = denied.clone();
            change(&mut changed);
            Record::decision(&changed, &redactor()).same()
        };
        let first = same(&|_| {});
        assert!(first.is_some());
        assert_eq!(same(&|it| it.id = "r2".into()), first);
        assert_eq!(same(&|it| it.requester.pid = 1), first);
        let changes: [&dyn Fn(&mut Decision); 6] = [
            &|it| it.requester.uid = 1,
            &|it| it.session = Some("s".into()),
            &|it| it.facts.cwd = "/x".into(),
            &|it| it.digest = Digest("hmac-sha256:00".into()),
            &|it| it.error = Some("e".into()),
            &|it| it.outcome = Outcome::Unanswered,
        ];
        for (index, change) in changes.iter().enumerate() {
            assert_ne!(same(change), first, "{index}");
        }
        assert_eq!(same(&|it| it.outcome = Outcome::Run), None);
        // Taking the names out for the hash has put them back.
        let record = Record::decision(&denied, &redactor());
        assert_eq!((&record.body["id"], &record.body["requester"]["pid"]), (&"r1".into(), &4242.into()));
    }

    #[test]
    fn a_record_is_bounded_whatever_comes_in() {
        let mut huge = decision(Command::Argv(vec!["x".repeat(100_000); 20]));
        huge.facts.environment = (0..5000).map(|index| (format!("V{index}"), "y".repeat(300))).collect();
        let record = Record::decision(&huge, &redactor());
        let text = record.body.to_string();
        assert!(text.len() <= masked::MAX_RECORD + 1024, "{}", text.len());
        assert!(text.contains("100000 bytes, sha256 "));
    }
}
