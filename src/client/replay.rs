//! Replays transcripts of the protocol against a daemon: the golden tests, and the conformance run.
//!
//! A transcript is JSON lines. `{"row": "..."}` starts a row, which has connections of its own; then come, in order:
//!
//! | line | what it does |
//! |---|---|
//! | `{"send": {..}}` | sends this text as it stands |
//! | `{"raw": "text"}`, `{"raw": {"base64": ".."}}`, `{"raw": {"repeat": "x", "times": 9}}` | sends these bytes, without a line end |
//! | `{"expect": {"id": 1, ..}}` | the reply to that request |
//! | `{"expect": {"method": "..", ..}}` | the next notification of that method |
//! | `{"expect": {"id": null, ..}}` | the next reply to what could not be read |
//! | `{"output": {"id": "..", "stdout": ".."}}` | everything that the command wrote, by its notifications, until `exec/closed` |
//! | `{"end": true}` | the daemon closes the connection |
//! | `{"drop": true}` | the client closes it |
//! | `{"connect": "name", "socket": "operator"}` | opens one more connection |
//!
//! A line with `"on": "name"` is about that connection. What is expected is a part of what comes: an object may have more
//! fields, as the protocol permits. Strings in angle brackets stand for values: `<any>`, `<string>`, `<integer>`,
//! `<hex>`, `<name=hex>` keeps the value, and `<name>`, also within a string and in what is sent, is the kept one.
//! `<workspace>` is given. An array that ends in `<more>` may have more elements.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::connection::{Connection, Incoming};

/// How long anything that is expected may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// The transcripts of this version, by name.
pub const TRANSCRIPTS: &[(&str, &str)] = &[
    ("hello", include_str!("../../tests/protocol/hello.jsonl")),
    ("framing", include_str!("../../tests/protocol/framing.jsonl")),
    ("parameters", include_str!("../../tests/protocol/parameters.jsonl")),
    ("sessions", include_str!("../../tests/protocol/sessions.jsonl")),
    ("commands", include_str!("../../tests/protocol/commands.jsonl")),
    ("output", include_str!("../../tests/protocol/output.jsonl")),
    ("operator", include_str!("../../tests/protocol/operator.jsonl")),
];

/// Where to replay.
#[derive(Debug, Clone)]
pub struct Target {
    /// agent.sock.
    pub agent: PathBuf,
    /// operator.sock; rows that need it are skipped without it.
    pub operator: Option<PathBuf>,
    /// A directory that the daemon takes as a workspace of the caller.
    pub workspace: String,
}

/// One row: what is sent and what is expected, from the first connection to the last.
#[derive(Debug)]
pub struct Row {
    /// What it shows.
    pub title: String,
    steps: Vec<(usize, Step)>,
}

/// How a row came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As expected.
    Ok,
    /// It cannot be tried here.
    Skipped(String),
    /// Otherwise than expected.
    Failed(String),
}

/// A transcript that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct TranscriptError {
    line: usize,
    reason: String,
}

#[derive(Debug)]
struct Step {
    on: String,
    what: What,
}

#[derive(Debug)]
enum What {
    Connect(bool),
    Send(String),
    Raw(Vec<u8>),
    Expect(Value),
    Output(Expected),
    End,
    Drop,
}

/// A line of a transcript.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    row: Option<String>,
    on: Option<String>,
    connect: Option<String>,
    socket: Option<String>,
    send: Option<Box<RawValue>>,
    raw: Option<Raw>,
    expect: Option<Value>,
    output: Option<Expected>,
    end: Option<bool>,
    drop: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Raw {
    Text(String),
    Base64 { base64: String },
    Repeat { repeat: String, times: usize },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    id: String,
    #[serde(default)]
    stdout: String,
    #[serde(default)]
    stderr: String,
    pty: Option<String>,
}

/// Reads a transcript.
///
/// # Errors
/// When a line of it is none of those above.
pub fn read(text: &str) -> Result<Vec<Row>, TranscriptError> {
    let mut rows: Vec<Row> = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |reason: String| TranscriptError { line: number, reason };
        let line: Line = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
        if let Some(title) = line.row {
            rows.push(Row { title, steps: Vec::new() });
            continue;
        }
        let row = rows.last_mut().ok_or_else(|| wrong("no row has been started".to_owned()))?;
        let mut on = line.on.unwrap_or_else(|| "agent".to_owned());
        let what = if let Some(name) = line.connect {
            on = name;
            What::Connect(line.socket.as_deref() == Some("operator"))
        } else if let Some(send) = line.send {
            What::Send(send.get().to_owned())
        } else if let Some(raw) = line.raw {
            What::Raw(match raw {
                Raw::Text(text) => text.into_bytes(),
                Raw::Base64 { base64 } => {
                    STANDARD.decode(base64).map_err(|error| wrong(error.to_string()))?
                }
                Raw::Repeat { repeat, times } => repeat.repeat(times).into_bytes(),
            })
        } else if let Some(expect) = line.expect {
            What::Expect(expect)
        } else if let Some(output) = line.output {
            What::Output(output)
        } else if line.end == Some(true) {
            What::End
        } else if line.drop == Some(true) {
            What::Drop
        } else {
            return Err(wrong("neither a row nor anything to do".to_owned()));
        };
        row.steps.push((number, Step { on, what }));
    }
    Ok(rows)
}

impl Row {
    /// Replays it.
    pub fn replay(&self, target: &Target) -> Outcome {
        let operator = |step: &Step| matches!(step.what, What::Connect(true));
        if target.operator.is_none() && self.steps.iter().any(|(_, step)| operator(step)) {
            return Outcome::Skipped("it needs the operators' socket".to_owned());
        }
        let mut run = Run {
            target,
            connections: BTreeMap::new(),
            kept: BTreeMap::from([("workspace".to_owned(), Value::from(target.workspace.clone()))]),
        };
        for (line, step) in &self.steps {
            if let Err(problem) = run.step(step) {
                return Outcome::Failed(format!("line {line}: {problem}"));
            }
        }
        Outcome::Ok
    }
}

struct Run<'a> {
    target: &'a Target,
    connections: BTreeMap<String, (Connection, Vec<Value>)>,
    kept: BTreeMap<String, Value>,
}

impl Run<'_> {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        if let What::Connect(operator) = step.what {
            return self.connect(&step.on, operator);
        }
        if step.on == "agent" && !self.connections.contains_key("agent") {
            self.connect("agent", false)?;
        }
        match &step.what {
            What::Connect(_) => Ok(()),
            What::Send(text) => {
                let line = self.fill(text) + "\n";
                self.send(&step.on, line.as_bytes())
            }
            What::Raw(bytes) => self.send(&step.on, bytes),
            What::Expect(expected) => {
                let found = self.find(&step.on, |message| concerns(expected, message), expected)?;
                self.compare(expected, &found, "").map_err(|problem| format!("{problem}\n    in {found}"))
            }
            What::Output(expected) => self.output(&step.on, expected),
            What::End => self.ends(&step.on),
            What::Drop => {
                self.connections.remove(&step.on);
                Ok(())
            }
        }
    }

    fn connect(&mut self, name: &str, operator: bool) -> Result<(), String> {
        let path = match (operator, &self.target.operator) {
            (true, Some(path)) => path,
            _ => &self.target.agent,
        };
        let connection = Connection::open(path, super::PATIENCE).map_err(|error| error.to_string())?;
        self.connections.insert(name.to_owned(), (connection, Vec::new()));
        Ok(())
    }

    fn connection(&mut self, name: &str) -> Result<&mut (Connection, Vec<Value>), String> {
        self.connections.get_mut(name).ok_or_else(|| format!("there is no connection {name:?}"))
    }

    fn send(&mut self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let (connection, _) = self.connection(name)?;
        match connection.send(bytes, &[]) {
            // What is sent past a limit may not all be taken; the reply to it says so.
            Err(super::ClientError::Closed) if bytes.len() > 1 << 20 => Ok(()),
            other => other.map_err(|error| error.to_string()),
        }
    }

    /// The text with every kept value in the place of its name.
    fn fill(&self, text: &str) -> String {
        self.kept.iter().fold(text.to_owned(), |text, (name, value)| match value {
            Value::String(value) => {
                let escaped = Value::from(value.as_str()).to_string();
                text.replace(&format!("<{name}>"), escaped.trim_matches('"'))
            }
            other => text.replace(&format!("\"<{name}>\""), &other.to_string()),
        })
    }

    /// The next message that is wanted; others are kept for later.
    fn find(
        &mut self,
        name: &str,
        wanted: impl Fn(&Value) -> bool,
        what: &impl std::fmt::Display,
    ) -> Result<Value, String> {
        let deadline = Instant::now() + PATIENCE;
        let (connection, waiting) = self.connection(name)?;
        if let Some(at) = waiting.iter().position(&wanted) {
            return Ok(waiting.remove(at));
        }
        loop {
            let there = |waiting: &[Value]| {
                waiting.iter().fold(String::new(), |mut text, message| {
                    let _ = write!(text, "\n    not it: {message}");
                    text
                })
            };
            match connection.receive(Some(deadline)).map_err(|error| error.to_string())? {
                Incoming::Line(line) => {
                    let message: Value = serde_json::from_slice(&line).map_err(|error| error.to_string())?;
                    if wanted(&message) {
                        return Ok(message);
                    }
                    waiting.push(message);
                }
                Incoming::Nothing => {
                    return Err(format!(
                        "nothing within {} s for {what}{}",
                        PATIENCE.as_secs(),
                        there(waiting)
                    ));
                }
                Incoming::End => return Err(format!("the connection ended before {what}{}", there(waiting))),
            }
        }
    }

    fn ends(&mut self, name: &str) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let (connection, _) = self.connection(name)?;
        loop {
            match connection.receive(Some(deadline)).map_err(|error| error.to_string())? {
                Incoming::Line(_) => {}
                Incoming::Nothing => return Err("the daemon keeps the connection open".to_owned()),
                Incoming::End => return Ok(()),
            }
        }
    }

    /// Puts a command's output together from its chunks, which must be numbered without gaps.
    fn output(&mut self, name: &str, expected: &Expected) -> Result<(), String> {
        let mut streams: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut last = 0;
        loop {
            let of_it = |message: &Value| {
                let method = message["method"].as_str().unwrap_or_default();
                message["params"]["id"] == expected.id.as_str()
                    && matches!(method, "exec/output" | "exec/closed")
            };
            let message = self.find(name, of_it, &format!("the output of {}", expected.id))?;
            let params = &message["params"];
            if message["method"] == "exec/closed" {
                if params["last_seq"] != last {
                    return Err(format!(
                        "the last chunk was {last}, and exec/closed says {}",
                        params["last_seq"]
                    ));
                }
                break;
            }
            last += 1;
            if params["seq"] != last {
                return Err(format!("chunk {last} was expected, and {} came", params["seq"]));
            }
            let bytes = match (&params["text"], &params["base64"]) {
                (Value::String(text), Value::Null) => text.clone().into_bytes(),
                (Value::Null, Value::String(text)) => {
                    STANDARD.decode(text).map_err(|error| error.to_string())?
                }
                _ => return Err(format!("a chunk has `text` or `base64`: {params}")),
            };
            streams
                .entry(params["stream"].as_str().unwrap_or_default().to_owned())
                .or_default()
                .extend(bytes);
        }
        let pty = expected.pty.clone().unwrap_or_default();
        for (stream, text) in [("stdout", &expected.stdout), ("stderr", &expected.stderr), ("pty", &pty)] {
            let came = streams.remove(stream).unwrap_or_default();
            if came != text.as_bytes() {
                return Err(format!("{stream} was {:?}", String::from_utf8_lossy(&came)));
            }
        }
        Ok(())
    }

    /// Compares what came with what is expected of it, and keeps what has a name.
    fn compare(&mut self, expected: &Value, found: &Value, at: &str) -> Result<(), String> {
        match (expected, found) {
            (Value::String(pattern), _) if pattern.starts_with('<') && pattern.ends_with('>') => self
                .stands_for(pattern.trim_start_matches('<').trim_end_matches('>'), found)
                .map_err(|problem| format!("{at}: {problem}")),
            (Value::String(text), Value::String(other)) if self.fill(text) == *other => Ok(()),
            (Value::Object(fields), Value::Object(others)) => fields.iter().try_for_each(|(name, value)| {
                let at = format!("{at}/{name}");
                match others.get(name) {
                    Some(other) => self.compare(value, other, &at),
                    None if value == "<none>" => Ok(()),
                    None => Err(format!("{at}: it is missing")),
                }
            }),
            (Value::Array(values), Value::Array(others)) => {
                let more = values.last().is_some_and(|last| last == "<more>");
                let count = values.len() - usize::from(more);
                if others.len() < count || (!more && others.len() > count) {
                    return Err(format!("{at}: {} elements, not {count}", others.len()));
                }
                values.iter().take(count).zip(others).enumerate().try_for_each(|(index, (value, other))| {
                    self.compare(value, other, &format!("{at}/{index}"))
                })
            }
            (expected, found) if expected == found => Ok(()),
            (expected, found) => Err(format!("{at}: {expected} was expected, and {found} came")),
        }
    }

    fn stands_for(&mut self, pattern: &str, found: &Value) -> Result<(), String> {
        let (name, kind) = match pattern.split_once('=') {
            Some((name, kind)) => (Some(name), kind),
            None => (None, pattern),
        };
        let fits = match kind {
            "any" => true,
            "string" => found.as_str().is_some_and(|text| !text.is_empty()),
            "integer" => found.is_u64() || found.is_i64(),
            "boolean" => found.is_boolean(),
            "hex" => found.as_str().is_some_and(|text| {
                text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            }),
            kept => match self.kept.get(kept) {
                Some(value) => value == found,
                None => return Err(format!("nothing is called {kept:?}")),
            },
        };
        if !fits {
            return Err(format!("<{pattern}> was expected, and {found} came"));
        }
        if let Some(name) = name {
            self.kept.insert(name.to_owned(), found.clone());
        }
        Ok(())
    }
}

/// Whether a message is the one that an expectation is about.
fn concerns(expected: &Value, message: &Value) -> bool {
    match (expected.get("method"), expected.get("id")) {
        (Some(method), _) => {
            let id = &expected["params"]["id"];
            message.get("method") == Some(method) && (id.is_null() || message["params"]["id"] == *id)
        }
        (None, Some(id)) => message.get("method").is_none() && message.get("id") == Some(id),
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn every_transcript_reads() {
        for (name, text) in TRANSCRIPTS {
            let rows = read(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!rows.is_empty(), "{name}");
            for row in rows {
                assert!(!row.steps.is_empty(), "{name}: {}", row.title);
            }
        }
    }

    /// Replays a row against a server that answers each line with the next of these.
    fn against(transcript: &str, answers: &'static [&'static str]) -> Outcome {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            for answer in answers {
                lines.next();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let target = Target { agent: path, operator: None, workspace: "/w".to_owned() };
        read(transcript).unwrap()[0].replay(&target)
    }

    #[test]
    fn a_row_can_fail() {
        let row = r#"{"row":"x"}
            {"send":{"id":1}}
            {"expect":{"id":1,"result":{"s":"<s=hex>","n":"<integer>","list":[1,"<more>"],"at":"<workspace>/a"}}}
            {"send":{"s":"<s>"}}
            {"expect":{"id":2,"result":"<s>"}}
            {"end":true}"#;
        let right = "{\"method\":\"other\",\"params\":{}}\n{\"id\":1,\"result\":{\"s\":\"00112233445566778899aabbccddeeff\",\"n\":3,\"list\":[1,2],\"at\":\"/w/a\",\"more\":1}}\n";
        let kept = "{\"id\":2,\"result\":\"00112233445566778899aabbccddeeff\"}\n";
        let other = "{\"id\":2,\"result\":\"00112233445566778899aabbccddeef0\"}\n";
        let short = "{\"id\":1,\"result\":{\"s\":\"00\",\"n\":3,\"list\":[1,2],\"at\":\"/w/a\"}}\n";
        let empty = "{\"id\":1,\"result\":{\"s\":\"00112233445566778899aabbccddeeff\",\"n\":3,\"list\":[],\"at\":\"/w/a\"}}\n";
        let refused = "{\"id\":1,\"error\":{\"code\":1}}\n";
        let right: &'static [&'static str] = Box::leak(Box::new([right, kept]));
        assert_eq!(against(row, right), Outcome::Ok);
        for wrong in [&[right[0], other][..], &[short], &[empty], &[refused], &["junk\n"], &[]] {
            let wrong = Box::leak(wrong.to_vec().into_boxed_slice());
            assert!(matches!(against(row, wrong), Outcome::Failed(_)), "{wrong:?}");
        }
    }

    #[test]
    fn output_is_put_together_and_must_have_no_gaps() {
        let row = r#"{"row":"x"}
            {"send":{}}
            {"output":{"id":"a","stdout":"hi\n","stderr":"\u0000"}}"#;
        let chunk = |seq: u64, stream: &str, data: &str| {
            format!(
                r#"{{"method":"exec/output","params":{{"id":"a","seq":{seq},"stream":"{stream}",{data}}}}}"#
            )
        };
        let closed = r#"{"method":"exec/closed","params":{"id":"a","last_seq":3}}"#;
        let lines = [
            chunk(1, "stdout", r#""text":"h""#),
            chunk(2, "stderr", r#""base64":"AA==""#),
            chunk(3, "stdout", r#""text":"i\n""#),
        ];
        let answer = |lines: &[&str]| -> &'static [&'static str] {
            let text: &'static str = Box::leak((lines.join("\n") + "\n").into_boxed_str());
            Box::leak(Box::new([text]))
        };
        assert_eq!(against(row, answer(&[&lines[0], &lines[1], &lines[2], closed])), Outcome::Ok);
        for wrong in [
            [&lines[0][..], &lines[2], &lines[1], closed],
            [&lines[0], &lines[1], closed, &lines[2]],
            [&lines[0], &lines[1], &lines[2].replace("i\\n", "i"), closed],
        ] {
            assert!(matches!(against(row, answer(&wrong)), Outcome::Failed(_)), "{wrong:?}");
        }
    }
}
