//! The place in the text, and what stands around it.

use super::super::Dialect;
use super::{Parser, Step};

impl Parser {
    /// The byte at a place, 0 at and past the end of what is being read (the text holds no NUL).
    pub(super) fn at(&self, pos: usize) -> u8 {
        if pos < self.end { self.script.text.get(pos).copied().unwrap_or(0) } else { 0 }
    }

    /// The first place from `pos` on that is no line continuation.
    pub(super) fn joined(&self, mut pos: usize) -> usize {
        while self.at(pos) == b'\\' && self.at(pos + 1) == b'\n' {
            pos += 2;
        }
        pos
    }

    /// The byte under the cursor, behind any line continuations.
    pub(super) fn here(&mut self) -> u8 {
        self.pos = self.joined(self.pos);
        self.at(self.pos)
    }

    /// The byte after the one under the cursor, and its place.
    pub(super) fn second(&self) -> (u8, usize) {
        let pos = self.joined(self.pos + 1);
        (self.at(pos), pos)
    }

    /// Skips blanks, line continuations and a comment. Called between tokens only, where `#` begins a comment.
    pub(super) fn skip_blanks(&mut self) {
        loop {
            match self.here() {
                b' ' | b'\t' => self.pos += 1,
                b'#' => {
                    while self.pos < self.end && self.at(self.pos) != b'\n' {
                        self.pos += 1;
                    }
                }
                _ => return,
            }
        }
    }

    /// Skips blanks, comments and newlines.
    pub(super) fn skip_lines(&mut self) -> Step {
        loop {
            self.skip_blanks();
            if self.here() != b'\n' {
                return Ok(());
            }
            self.newline()?;
        }
    }

    pub(super) fn bash(&self) -> bool {
        self.script.dialect == Dialect::Bash
    }
}
