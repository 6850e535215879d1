//! The gate's door to the shell reader: contexts, budget, and what could not be read.

use crate::programs::Effect;
use crate::shell::{Dialect, Evaluation, Invocation, Piece, Span, Value};

use super::Facts;

/// What is left to spend on one request, over all texts found in it.
#[derive(Debug, Default)]
pub(super) struct Budget {}

/// Why a text has no evaluation.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// A bound was reached.
    TooMuch(String),
    /// The text is no program.
    Syntax { span: Span, message: String },
}

/// What a text starts with.
#[derive(Debug)]
pub(super) struct Context {}

impl Context {
    pub(super) fn of_request(_facts: &Facts) -> Self {
        Self {}
    }

    pub(super) fn of_script(
        _facts: &Facts,
        _invocation: &Invocation,
        _dialect: Dialect,
        _arguments: &[Value],
    ) -> Self {
        Self {}
    }
}

/// Reads and evaluates a text.
pub(super) fn read(_text: &str, _context: &Context, _budget: &mut Budget) -> Result<Evaluation, Unreadable> {
    Err(Unreadable::Syntax { span: Span::default(), message: "shell text is not read yet".to_owned() })
}

/// A text whose holes are written as variables of which nothing is known, so that what stands around them is judged.
pub(super) fn with_holes(text: &Value) -> String {
    let mut readable = Vec::new();
    for (index, piece) in text.pieces.iter().enumerate() {
        match piece {
            Piece::Known(bytes) | Piece::Glob(bytes) => readable.extend_from_slice(bytes),
            Piece::Unknown(_) => readable.extend_from_slice(format!("${{EXECWARD_HOLE_{index}}}").as_bytes()),
        }
    }
    String::from_utf8_lossy(&readable).into_owned()
}

/// Line and column of a span, both from 1; columns count characters.
pub(super) fn place(text: &str, span: Span) -> (usize, usize) {
    let start = usize::try_from(span.start).unwrap_or(usize::MAX).min(text.len());
    let before = (0..=start).rev().find_map(|at| text.get(..at)).unwrap_or("");
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before.get(line_start..).unwrap_or("").chars().count() + 1)
}

#[allow(dead_code)]
fn unused(_: &Effect) {}
