//! Finding records, and handing them out: by time, principal, decision, rule, session or text. Nothing is shown that is
//! not in the log; what was masked there stays masked.

use jiff::Timestamp;
use serde_json::Value;

use super::chain::Line;

/// What a record must be. What is `None` does not count.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Not before.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// Who asked: a user id or a name.
    pub principal: Option<String>,
    /// The verdict (`allow`, `ask`, `deny`, `hardline`) or the outcome (`run`, `denied`, `refused`, ...).
    pub decision: Option<String>,
    /// A rule that was found; `delete.` finds every rule that begins so.
    pub rule: Option<String>,
    /// The session.
    pub session: Option<String>,
    /// The kind of record.
    pub kind: Option<String>,
    /// The request: its records are the decision and the end.
    pub id: Option<String>,
    /// Letters that stand in the command, in a reason or in an error, whatever their case.
    pub text: Option<String>,
}

impl Filter {
    /// Whether the record is one of those.
    pub fn matches(&self, line: &Line) -> bool {
        let at = || line.time.parse::<Timestamp>().ok();
        let body = &line.body;
        let fits = |wanted: &Option<String>, test: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(test);
        self.since.is_none_or(|since| at().is_some_and(|at| at >= since))
            && self.until.is_none_or(|until| at().is_some_and(|at| at <= until))
            && fits(&self.kind, &|kind| line.kind == kind)
            && fits(&self.id, &|id| text_at(body, &["id"]) == Some(id))
            && fits(&self.principal, &|who| {
                let uid = body.pointer("/requester/uid").and_then(Value::as_u64);
                text_at(body, &["requester", "principal"]) == Some(who)
                    || uid.is_some_and(|uid| uid.to_string() == who)
            })
            && fits(&self.decision, &|decision| {
                text_at(body, &["verdict"]) == Some(decision) || text_at(body, &["outcome"]) == Some(decision)
            })
            && fits(&self.rule, &|rule| {
                rules(body).any(|found| found == rule || (rule.ends_with('.') && found.starts_with(rule)))
            })
            && fits(&self.session, &|session| text_at(body, &["session"]) == Some(session))
            && fits(&self.text, &|text| contains(body, &text.to_lowercase()))
    }
}

/// Whether the letters stand in a text of the record.
fn contains(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text.to_lowercase().contains(wanted),
        Value::Array(items) => {
            // An argv is looked through as a person types it.
            let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            words.join(" ").to_lowercase().contains(wanted) || items.iter().any(|it| contains(it, wanted))
        }
        Value::Object(fields) => fields.values().any(|it| contains(it, wanted)),
        _ => false,
    }
}

/// The rules that were found.
fn rules(body: &Value) -> impl Iterator<Item = &str> {
    let findings = body.get("findings").and_then(Value::as_array);
    findings.into_iter().flatten().filter_map(|finding| finding.get("rule")?.as_str())
}

fn text_at<'a>(body: &'a Value, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(body, |value, name| value.get(name))?.as_str()
}

/// The command of a decision as a person writes it, as far as it was recorded.
pub fn command(body: &Value) -> Option<String> {
    let command = body.get("command")?;
    if let Some(text) = command.get("shell").and_then(Value::as_str) {
        return Some(text.to_owned());
    }
    let argv = command.get("argv")?.as_array()?;
    Some(shell_words::join(argv.iter().filter_map(Value::as_str)))
}

/// The names of the columns of [`csv_row`].
pub const CSV_HEADER: &str = "seq,time,kind,id,uid,principal,session,verdict,outcome,rules,command,approved_how,approved_by,error,masked";

/// A record as a row of CSV (RFC 4180), without a line break.
///
/// Each cell is made safe to show, and one that a spreadsheet would compute (`=`, `+`, `-`, `@` in front) gets an
/// apostrophe before it: the command's text is an agent's, and a spreadsheet runs formulas.
pub fn csv_row(line: &Line, show: impl Fn(&str) -> String) -> String {
    let body = &line.body;
    let text = |path: &[&str]| text_at(body, path).unwrap_or_default().to_owned();
    let number = |pointer: &str| body.pointer(pointer).map(Value::to_string).unwrap_or_default();
    let cells = [
        line.seq.to_string(),
        line.time.clone(),
        line.kind.clone(),
        text(&["id"]),
        number("/requester/uid"),
        text(&["requester", "principal"]),
        text(&["session"]),
        text(&["verdict"]),
        text(&["outcome"]),
        rules(body).collect::<Vec<_>>().join(" "),
        command(body).unwrap_or_default(),
        text(&["approval", "how"]),
        text(&["approval", "by"]),
        text(&["error"]),
        number("/redacted"),
    ];
    cells.iter().map(|text| cell(&show(text))).collect::<Vec<_>>().join(",")
}

fn cell(text: &str) -> String {
    let guarded =
        if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() };
    if guarded.contains(['"', ',', '\n', '\r', '\'']) {
        format!("\"{}\"", guarded.replace('"', "\"\""))
    } else {
        guarded
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line() -> Line {
        Line {
            seq: 7,
            time: "2026-11-23T12:00:00Z".into(),
            prev: "0".repeat(64),
            kind: "decision".into(),
            body: json!({
                "id": "r1", "requester": {"uid": 1000, "gid": 1000, "pid": 1, "principal": "ann"}, "session": "s1",
                "command": {"argv": ["git", "push", "origin main"]}, "verdict": "ask", "outcome": "run",
                "findings": [{"rule": "git.push", "reason": "publishes"}], "redacted": 0
            }),
        }
    }

    #[test]
    fn each_condition_finds_and_leaves_out() {
        let time = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let some = |text: &str| Some(text.to_owned());
        /// How a condition is set, what it finds, what it leaves out.
        type Case<'a> = (fn(&mut Filter, Option<String>), &'a [&'a str], &'a [&'a str]);
        let cases: [Case<'_>; 8] = [
            (|filter, it| filter.principal = it, &["1000", "ann"], &["100", "an", "r1"]),
            (|filter, it| filter.decision = it, &["ask", "run"], &["deny", "as"]),
            (|filter, it| filter.rule = it, &["git.push", "git."], &["git", "git.pus", "git.pull"]),
            (|filter, it| filter.session = it, &["s1"], &["s"]),
            (|filter, it| filter.kind = it, &["decision"], &["end"]),
            (|filter, it| filter.id = it, &["r1"], &["r"]),
            (|filter, it| filter.text = it, &["GIT push", "publish", "origin main"], &["pull", "2026"]),
            (|filter, _| filter.since = None, &[""], &[]),
        ];
        for (index, (set, found, left_out)) in cases.iter().enumerate() {
            for (texts, expected) in [(found, true), (left_out, false)] {
                for text in *texts {
                    let mut filter = Filter::default();
                    set(&mut filter, some(text));
                    assert_eq!(filter.matches(&line()), expected, "{index}: {text}");
                }
            }
        }
        let at = |since, until| Filter { since, until, ..Filter::default() }.matches(&line());
        assert!(at(time("2026-11-23T12:00:00Z"), time("2026-11-23T12:00:00Z")));
        assert!(!at(time("2026-11-23T12:00:01Z"), None) && !at(None, time("2026-11-23T11:59:59Z")));
    }

    #[test]
    fn a_row_is_one_line_and_computes_nothing() {
        let mut hostile = line();
        hostile.body["command"] = json!({"shell": "=cmd|' /C calc'!A0,\"x\"\n2"});
        let row = csv_row(&hostile, str::to_owned);
        assert!(row.contains(",\"'=cmd|' /C calc'!A0,\"\"x\"\"\n2\","), "{row}");
        let plain = csv_row(&line(), |text| text.replace('\n', "\\n"));
        assert_eq!(
            plain,
            "7,2026-11-23T12:00:00Z,decision,r1,1000,ann,s1,ask,run,git.push,\"git push 'origin main'\",,,,0"
        );
        assert_eq!(CSV_HEADER.split(',').count(), 15);
    }
}
