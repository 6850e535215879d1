//! Answers of persons: each question has one, whatever happens to the supervisor.

use rusqlite::params;

use super::{StateError, Store};

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerRow<'a> {
    /// The question.
    pub approval: &'a str,
    /// The request that it was about.
    pub request: &'a str,
    /// The kind of answer.
    pub answer: &'a str,
    /// Who answered.
    pub approver: u32,
    /// When: milliseconds since 1970.
    pub at: i64,
}

/// Questions are named at random, so that an old one does not come again; its answer is kept for so long all the same.
const KEPT_MS: i64 = 30 * 24 * 3600 * 1000;

impl Store {
    /// Uses the one answer of a question up. `false` where it had one already.
    ///
    /// # Errors
    /// When that is not on disk: then nothing was answered.
    pub fn answer_once(&self, answer: &AnswerRow<'_>) -> Result<bool, StateError> {
        self.change(|all| {
            all.execute("DELETE FROM answers WHERE at < ?1", [answer.at - KEPT_MS])?;
            let AnswerRow { approval, request, answer, approver, at } = answer;
            let added = all.execute(
                "INSERT INTO answers (approval, request, answer, approver_uid, at) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO NOTHING",
                params![approval, request, answer, approver, at],
            )?;
            Ok(added == 1)
        })
    }
}
