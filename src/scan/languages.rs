//! Languages other than English: what they drop, and what they keep from the user, as stems in any order.
//!
//! The order of words is not the same everywhere, and stems take endings: so a phrase is one stem of each class, in whatever
//! order, with little between them. That finds less than a rule does that knows the language, and needs a line for each class.

use serde::Deserialize;

use super::Severity;
use super::rules::RuleDocument;

/// Most bytes between two stems of a phrase, which stands in one sentence.
const GAP: u8 = 60;

/// The same for what is kept from the user, whose stems are words of every day.
const GAP_SECRECY: u8 = 32;

/// What a space in a stem stands for.
const BETWEEN: &str = "(?-u:[^0-9a-z]{1,4})";

/// The stems of a language: lower case, letters of Latin scripts without their accents.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Language {
    /// Its code in ISO 639.
    code: String,
    /// To ignore, to forget.
    drop: Vec<String>,
    /// What came before; a text is looked at where one of these stands.
    earlier: Vec<String>,
    /// Instructions.
    orders: Vec<String>,
    /// Not; none where the verb has it in it.
    #[serde(default)]
    not: Vec<String>,
    /// To tell.
    tell: Vec<String>,
    /// To keep secret, which needs no `not`.
    #[serde(default)]
    hush: Vec<String>,
    /// The user; a text is looked at where one of these stands.
    user: Vec<String>,
    hits: Vec<String>,
    #[serde(rename = "hits-secrecy")]
    hits_secrecy: Vec<String>,
    misses: Vec<String>,
}

impl Language {
    /// The rules that the stems stand for.
    pub(super) fn rules(self) -> [RuleDocument; 2] {
        let Self { code, drop, earlier, orders, not, tell, hush, user, hits, hits_secrecy, misses } = self;
        let secrecy: Vec<&[String]> =
            [&not, &tell, &user].into_iter().filter(|stems| !stems.is_empty()).map(Vec::as_slice).collect();
        let mut secrets = orders_of(&secrecy, GAP_SECRECY);
        if !hush.is_empty() {
            secrets = format!("{secrets}|{}", orders_of(&[&hush, &user], GAP_SECRECY));
        }
        let rule = |id: &str, document, reason: &str, expression, words, hits, misses| RuleDocument {
            id: format!("{id}.{code}"),
            severity: Severity::High,
            document,
            configuration: None,
            reason: reason.to_owned(),
            literal: false,
            begins: false,
            hidden: false,
            foreign: true,
            words,
            expression,
            unless: None,
            unless_before: None,
            hits,
            misses,
        };
        [
            rule(
                "override.instructions",
                None,
                "tells the reader to drop the instructions it has",
                orders_of(&[&drop, &earlier, &orders], GAP),
                earlier,
                hits,
                misses.clone(),
            ),
            rule(
                "secrecy.user",
                Some(Severity::Medium),
                "asks to hide something from the user",
                secrets,
                user,
                hits_secrecy,
                misses,
            ),
        ]
    }
}

/// One stem of each class, in any order.
fn orders_of(classes: &[&[String]], gap: u8) -> String {
    let classes: Vec<String> = classes
        .iter()
        .map(|stems| {
            let stems: Vec<String> =
                stems.iter().map(|stem| regex::escape(stem).replace(' ', BETWEEN)).collect();
            format!("(?u:{})", stems.join("|"))
        })
        .collect();
    let mut orders = Vec::new();
    permute(&classes, &format!("(?-u:[^.!?\\n]{{0,{gap}}}?)"), &mut Vec::new(), &mut orders);
    orders.join("|")
}

fn permute(classes: &[String], gap: &str, chosen: &mut Vec<usize>, orders: &mut Vec<String>) {
    if chosen.len() == classes.len() {
        let parts: Vec<&str> = chosen.iter().filter_map(|at| classes.get(*at)).map(String::as_str).collect();
        orders.push(parts.join(gap));
        return;
    }
    for at in 0..classes.len() {
        if !chosen.contains(&at) {
            chosen.push(at);
            permute(classes, gap, chosen, orders);
            chosen.pop();
        }
    }
}
