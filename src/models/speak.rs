//! One question to one provider with one key: the request, and what its answer means.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::config::{Api, Provider, TokenLimit};
use super::{Prompt, headers};
use crate::http::{Client, HttpError, Key, Post};

/// Largest answer that is read, in bytes.
const MAX_ANSWER: usize = 256 << 10;

/// The version of Anthropic's API that is spoken.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// Words in a refused key's error that say that it never comes back.
const DEAD: &[&str] = &[
    "invalid_api_key",
    "account_deactivated",
    "key_revoked",
    "token_revoked",
    "api_key_disabled",
    "token_expired",
    "organization_deactivated",
];

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The model's words.
    Text(String),
    /// The key has been used too much; how long to wait, where that is said.
    Limited(Option<Duration>),
    /// The key is not accepted.
    Unauthorised,
    /// The key never will be again.
    Dead,
    /// The account has no money left.
    Payment,
    /// It has no answer to this question, and may have one to the next.
    Refused(String),
    /// The provider is not to be had; how long, where it says so.
    Down(String, Option<Duration>),
}

/// Asks.
pub(super) async fn ask(
    client: &Client,
    provider: &Provider,
    key: &Key,
    prompt: &Prompt,
    time: Duration,
) -> Outcome {
    let post = Post {
        url: &match provider.api {
            Api::Openai => provider.base_url.with("/chat/completions"),
            // Its own libraries want the address without the version, others with it.
            Api::Anthropic if provider.base_url.ends_with("/v1") => provider.base_url.with("/messages"),
            Api::Anthropic => provider.base_url.with("/v1/messages"),
        },
        ca: provider.ca.as_deref(),
        fields: fields(provider.api, key),
        body: body(provider, prompt).to_string().into_bytes(),
        time,
        largest: MAX_ANSWER,
    };
    match client.post(post).await {
        Ok(answer) => {
            let fields = answer.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let wait = headers::reset(fields, Timestamp::now());
            meaning(provider.api, answer.status, answer.body.as_deref(), wait)
        }
        // An answer that is long in coming may be this question's doing, but a chain that waits for it each time is of no use.
        Err(error @ HttpError::Field) => Outcome::Refused(error.to_string()),
        Err(error) => Outcome::Down(error.to_string(), None),
    }
}

fn fields(api: Api, key: &Key) -> Vec<(&'static str, Zeroizing<String>)> {
    let plain = |text: &str| Zeroizing::new(text.to_owned());
    let mut fields = vec![("content-type", plain("application/json")), ("accept", plain("application/json"))];
    match api {
        Api::Openai => {
            let mut value = Zeroizing::new(String::with_capacity(key.expose().len() + 7));
            value.push_str("Bearer ");
            value.push_str(key.expose());
            fields.push(("authorization", value));
        }
        Api::Anthropic => {
            fields.push(("x-api-key", plain(key.expose())));
            fields.push(("anthropic-version", plain(ANTHROPIC_VERSION)));
        }
    }
    fields
}

fn body(provider: &Provider, prompt: &Prompt) -> Value {
    let user = json!({ "role": "user", "content": prompt.user });
    let limit = match (provider.api, provider.token_limit) {
        (Api::Openai, TokenLimit::MaxCompletionTokens) => "max_completion_tokens",
        _ => "max_tokens",
    };
    let mut body = json!({ "model": provider.model, "temperature": 0, limit: prompt.max_tokens });
    match provider.api {
        Api::Openai => body["messages"] = json!([{ "role": "system", "content": prompt.system }, user]),
        Api::Anthropic => {
            body["system"] = json!(prompt.system);
            body["messages"] = json!([user]);
        }
    }
    body
}

/// What an answer means. Its words go nowhere: what a provider says of a refused key may hold the key.
fn meaning(api: Api, status: u16, body: Option<&[u8]>, wait: Option<Duration>) -> Outcome {
    let answer: Option<Value> = body.and_then(|body| serde_json::from_slice(body).ok());
    let said = |word: &str| {
        ["/error/code", "/error/type"].iter().any(|place| {
            answer.as_ref().and_then(|answer| answer.pointer(place)).and_then(Value::as_str) == Some(word)
        })
    };
    match status {
        200..=299 => match &answer {
            None if body.is_none() => {
                Outcome::Down("its answer was too large, or broke off".to_owned(), None)
            }
            None => Outcome::Down("its answer is no JSON".to_owned(), None),
            Some(answer) => text(api, answer).map_or_else(
                || Outcome::Refused("its answer has no text where its API has it".to_owned()),
                Outcome::Text,
            ),
        },
        300..=399 => Outcome::Down(format!("it redirects (HTTP {status}), which is not followed"), None),
        401 | 403 if DEAD.iter().any(|word| said(word)) => Outcome::Dead,
        401 | 403 => Outcome::Unauthorised,
        402 => Outcome::Payment,
        429 if said("insufficient_quota") || said("billing_error") => Outcome::Payment,
        429 => Outcome::Limited(wait),
        400 | 413 | 422 => Outcome::Refused(format!("it does not take the question (HTTP {status})")),
        _ => Outcome::Down(format!("HTTP {status}"), wait),
    }
}

/// The words in an answer.
fn text(api: Api, answer: &Value) -> Option<String> {
    match api {
        Api::Openai => Some(answer.pointer("/choices/0/message/content")?.as_str()?.to_owned()),
        Api::Anthropic => {
            let parts = answer.get("content")?.as_array()?;
            let texts: Vec<&str> = parts
                .iter()
                .filter(|part| part.get("type").and_then(Value::as_str) == Some("text"))
                .filter_map(|part| part.get("text")?.as_str())
                .collect();
            (!texts.is_empty()).then(|| texts.concat())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_means_what_its_status_says() {
        let fine = br#"{"choices":[{"message":{"content":"yes"}}]}"#;
        let error = |code: &str| format!(r#"{{"error":{{"code":"{code}","type":"x"}}}}"#).into_bytes();
        let wait = Some(Duration::from_secs(7));
        let meaning = |status, body: &[u8]| meaning(Api::Openai, status, Some(body), wait);
        assert_eq!(meaning(200, fine), Outcome::Text("yes".into()));
        assert!(matches!(meaning(200, b"garbage"), Outcome::Down(..)));
        // What a question can bring about says nothing of the provider.
        assert!(matches!(meaning(200, br#"{"choices":[]}"#), Outcome::Refused(_)));
        assert!(matches!(
            meaning(200, br#"{"choices":[{"message":{"content":null}}]}"#),
            Outcome::Refused(_)
        ));
        assert!(matches!(
            meaning(400, br#"{"error":{"code":"context_length_exceeded"}}"#),
            Outcome::Refused(_)
        ));
        assert!(matches!(super::meaning(Api::Openai, 200, None, None), Outcome::Down(..)));
        assert!(matches!(meaning(404, b""), Outcome::Down(..)));
        assert!(matches!(meaning(307, fine), Outcome::Down(..)));
        assert_eq!(meaning(401, b""), Outcome::Unauthorised);
        assert_eq!(meaning(403, &error("something")), Outcome::Unauthorised);
        assert_eq!(meaning(401, &error("invalid_api_key")), Outcome::Dead);
        assert_eq!(meaning(402, b""), Outcome::Payment);
        assert_eq!(meaning(429, &error("insufficient_quota")), Outcome::Payment);
        assert_eq!(meaning(429, &error("rate_limit_exceeded")), Outcome::Limited(wait));
        assert_eq!(meaning(503, fine), Outcome::Down("HTTP 503".into(), wait));
        let anthropic = br#"{"content":[{"type":"thinking","text":"no"},{"type":"text","text":"yes"}]}"#;
        assert_eq!(super::meaning(Api::Anthropic, 200, Some(anthropic), None), Outcome::Text("yes".into()));
        assert!(matches!(super::meaning(Api::Anthropic, 200, Some(fine), None), Outcome::Refused(_)));
    }
}
