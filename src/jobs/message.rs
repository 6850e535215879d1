//! What is told of a run, and in which words.
//!
//! What a command printed is in it: redacted by the session that it ran in, and hostile all the same. In a chat it must not
//! call for anybody, nor look as if execward itself had said it.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::target::{Hook, Template};

/// Most characters of a message to a chat: Discord takes 2000, Telegram 4096.
const MOST: usize = 1900;

/// Bytes of output that a message keeps of each stream's beginning and of its end.
pub const OUTPUT: u64 = 8 << 10;

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Names this delivery: one that comes twice is the same one again.
    pub delivery: String,
    /// `result`, `alarm`, `heartbeat` or `test`.
    pub kind: String,
    /// The job.
    pub job: String,
    /// The run, as `execward jobs history` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<i64>,
    /// `ok`, `failed`, `timed-out`, `refused`, `missed`, `unknown`.
    pub state: String,
    /// This machine.
    pub host: String,
    /// Whose commands run.
    pub user: String,
    /// When it was due: RFC 3339, UTC.
    pub due: String,
    /// When the last of those was due that this is about, and how many they are, where it is about several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// How many runs this is about.
    pub count: u64,
    /// Which try of the run it was.
    pub attempt: u32,
    /// When it began and ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// As it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// How it came out, in a sentence.
    pub reason: String,
    /// As the audit log names the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What it wrote, redacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<Said>,
    /// As it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<Said>,
}

/// What a stream said: its beginning, and its end where not all is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// All of it, or the beginning. What is no UTF-8 is replaced.
    pub text: String,
    /// Bytes that are left out after it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
    /// The end.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tail: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Message {
    /// One sentence.
    pub fn headline(&self) -> String {
        let Self { job, state, host, reason, .. } = self;
        let about = match (self.count, &self.until) {
            (count, Some(until)) if count > 1 => format!("{count} runs due from {} to {until}", self.due),
            _ => format!("the run due at {}", self.due),
        };
        let again = if self.attempt > 1 { format!(", try {}", self.attempt) } else { String::new() };
        let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        format!("{job} on {host}: {state}{reason} ({about}{again})")
    }

    /// The end of what it wrote: of its errors where there are any and it did not succeed.
    pub fn output(&self) -> &str {
        let (out, err) = (end(self.stdout.as_ref()), end(self.stderr.as_ref()));
        let both = if self.state == "ok" { [out, err] } else { [err, out] };
        both.into_iter().flatten().next().unwrap_or_default()
    }
}

/// The last that a stream said; `None` where that is nothing.
fn end(said: Option<&Said>) -> Option<&str> {
    let Said { text, tail, .. } = said?;
    let text = if tail.is_empty() { text } else { tail }.trim_end();
    (!text.trim().is_empty()).then_some(text)
}

/// The body of a webhook.
pub fn body(hook: &Hook, message: &Message) -> Vec<u8> {
    let body = match hook.template {
        Template::Json => serde_json::to_value(message).unwrap_or_default(),
        Template::Slack => {
            json!({ "text": chat(message, slack, slack), "unfurl_links": false, "unfurl_media": false })
        }
        // Nobody is called for, whatever the text says.
        Template::Discord => {
            json!({ "content": chat(message, plain, nobody), "allowed_mentions": { "parse": [] } })
        }
        // No markup is read without a `parse_mode`.
        Template::Telegram => json!({
            "chat_id": hook.chat, "text": chat(message, str::to_owned, str::to_owned),
            "link_preview_options": { "is_disabled": true },
        }),
    };
    body.to_string().into_bytes()
}

/// The headline, and the end of what it wrote in a block that it cannot end.
fn chat(message: &Message, escape: fn(&str) -> String, quote: fn(&str) -> String) -> String {
    let visible = |text: &str| -> String {
        text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
    };
    let mut text = escape(&shortened(&visible(&message.headline()), MOST / 2));
    let output = visible(message.output()).replace('`', "\u{2019}");
    if !output.is_empty() {
        let room = MOST.saturating_sub(text.chars().count() + 16);
        let mut kept = String::new();
        // Escaping makes it longer.
        for line in output.lines().rev() {
            let line = quote(line);
            if kept.chars().count() + line.chars().count() + 1 > room {
                break;
            }
            kept.insert_str(0, &format!("{line}\n"));
        }
        if !kept.is_empty() {
            text.push_str(&format!("\n```\n{kept}```"));
        }
    }
    text
}

/// What Slack reads as markup: <https://docs.slack.dev/messaging/formatting-message-text>.
fn slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Without what Discord reads as markup outside of a block.
fn plain(text: &str) -> String {
    nobody(&text.replace(['*', '_', '~', '|', '`'], " "))
}

/// Without names that somebody answers to.
fn nobody(text: &str) -> String {
    text.replace('@', "@\u{200b}")
}

fn shortened(text: &str, most: usize) -> String {
    let line: String = text.chars().map(|c| if c == '\n' { ' ' } else { c }).collect();
    if line.chars().count() <= most { line } else { line.chars().take(most).chain(['\u{2026}']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::target::Place;

    fn message(text: &str) -> Message {
        Message {
            delivery: "d".into(),
            kind: "result".into(),
            job: "nightly".into(),
            run: Some(7),
            state: "failed".into(),
            host: "web1".into(),
            user: "ann".into(),
            due: "2026-01-01T00:00:00Z".into(),
            until: None,
            count: 1,
            attempt: 2,
            started: None,
            ended: None,
            reason: "exit status 3".into(),
            request_id: None,
            stdout: Some(Said { text: text.into(), left_out: 0, tail: String::new() }),
            stderr: None,
        }
    }

    fn told(template: Template, text: &str) -> serde_json::Value {
        let hook = Hook {
            url: Place::Url(String::new()),
            template,
            chat: Some("5".into()),
            secret_file: None,
            ca: None,
        };
        serde_json::from_slice(&body(&hook, &message(text))).expect("JSON")
    }

    #[test]
    fn a_command_calls_for_nobody_in_a_chat() {
        let hostile = "<!channel> @everyone ``` done\n<https://evil|click>\u{1b}[2J";
        let slack = told(Template::Slack, hostile);
        let text = slack["text"].as_str().expect("text");
        assert!(!text.contains('<') && !text.contains('>') && !text.contains('\u{1b}'), "{text}");
        assert_eq!(text.matches("```").count(), 2, "{text}");
        let discord = told(Template::Discord, hostile);
        assert_eq!(discord["allowed_mentions"]["parse"], json!([]));
        assert!(!discord["content"].as_str().expect("text").contains("@everyone"));
        let telegram = told(Template::Telegram, hostile);
        assert_eq!(telegram["chat_id"], "5");
        assert!(telegram.get("parse_mode").is_none());
        // The headline is there in each.
        for text in
            [text, discord["content"].as_str().expect("text"), telegram["text"].as_str().expect("text")]
        {
            assert!(text.starts_with("nightly on web1: failed: exit status 3"), "{text}");
        }
    }

    #[test]
    fn a_chat_gets_the_end_of_what_is_long() {
        let long: String = (0..5000).map(|n| format!("line <{n}>\n")).collect();
        for template in [Template::Slack, Template::Discord] {
            let told = told(template, &long);
            let text = told["text"].as_str().or(told["content"].as_str()).expect("text");
            assert!(text.chars().count() < 2000, "{}", text.chars().count());
            assert!(text.contains("4999"), "{text}");
        }
        assert!(told(Template::Discord, &"x".repeat(9000))["content"].as_str().expect("text").len() < 2000);
    }
}
