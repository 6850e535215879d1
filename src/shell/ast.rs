//! The syntax tree of a text, in arenas: nothing in it owns another part of it, so that building, walking and
//! dropping it need no native stack, however deep the text nests.

use smallvec::SmallVec;

use super::{Dialect, Span};

/// An index into one of the arenas of [`Script`].
pub(super) type Id = u32;

/// A run of neighbours in an arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Slice {
    /// The first.
    pub(super) start: u32,
    /// How many.
    pub(super) len: u32,
}

/// A text that was read, in part or whole.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// The text, followed by what backquotes with escapes in them contain once the escapes are removed.
    pub(super) text: Vec<u8>,
    /// How much of `text` is what was given.
    pub(super) source: u32,
    /// Where each appended part begins, and the span of the backquotes that it came from.
    pub(super) segments: Vec<(u32, Span)>,
    pub(super) nodes: SmallVec<[Node; 4]>,
    pub(super) ids: SmallVec<[Id; 16]>,
    pub(super) items: SmallVec<[Item; 2]>,
    pub(super) words: SmallVec<[Word; 6]>,
    pub(super) parts: SmallVec<[Part; 6]>,
    pub(super) params: Vec<Param>,
    pub(super) redirs: Vec<Redir>,
    pub(super) assigns: Vec<Assign>,
    pub(super) arms: Vec<Arm>,
    pub(super) heredocs: Vec<HereDoc>,
    pub(super) root: Id,
    /// What is wrong further down, where only the first lines could be read.
    pub(super) tail: Option<super::ParseError>,
    pub(super) dialect: Dialect,
}

/// A command of any kind, with its redirections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) redirs: Slice,
    pub(super) span: Span,
}

/// What a command is. `Slice`s of ids point into `Script::ids`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Assignments and words.
    Simple {
        assigns: Slice,
        words: Slice,
    },
    /// Items with what follows each.
    List {
        items: Slice,
    },
    /// Commands joined by `|`.
    Pipeline {
        commands: Slice,
    },
    Group {
        list: Id,
    },
    Subshell {
        list: Id,
    },
    /// Condition, body, condition, body, ..., and a last body for `else`.
    If {
        lists: Slice,
    },
    While {
        condition: Id,
        body: Id,
    },
    For {
        name: Span,
        words: Option<Slice>,
        body: Id,
    },
    ForArith {
        words: Slice,
        body: Id,
    },
    Select {
        name: Span,
        words: Option<Slice>,
        body: Id,
    },
    Case {
        word: Id,
        arms: Slice,
    },
    /// The words of `[[ ]]` in order; operators are words too.
    Cond {
        words: Slice,
    },
    Arith {
        word: Id,
    },
    Function {
        name: Span,
        body: Id,
    },
    Coproc {
        body: Id,
    },
}

/// A pipeline in a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) node: Id,
    pub(super) then: Then,
}

/// What stands behind a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Next,
    And,
    Or,
    Background,
}

/// A word; also an operand of `${}`, an arithmetic expression, a subscript or the body of a here-document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word {
    pub(super) parts: Slice,
    pub(super) span: Span,
}

/// A part of a word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) kind: PartKind,
    pub(super) quoted: bool,
    pub(super) span: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartKind {
    /// The bytes of the span as they are.
    Literal,
    /// The inside of `$'...'`, escapes not yet removed.
    AnsiC,
    /// `$x`, `${...}`
    Param(Id),
    /// `$(...)`, backquotes
    Command(Id),
    /// `<(...)`, and `>(...)` with `out` false.
    Process { list: Id, out: bool },
    /// `$((...))`, `$[...]`
    Arith(Id),
}

/// A parameter expansion.
#[derive(Debug, Clone, Copy)]
pub(super) struct Param {
    pub(super) name: Span,
    pub(super) subscript: Option<Id>,
    /// `${!...}`
    pub(super) indirect: bool,
    pub(super) op: Op,
    pub(super) operand: Option<Id>,
    pub(super) replacement: Option<Id>,
}

/// What a parameter expansion does to the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    None,
    Length,
    /// `-`, `=`, `?`, `+`; whether with a colon.
    Default(u8, bool),
    Substring,
    /// `#`, `%`; whether doubled.
    Strip(u8, bool),
    /// `/`: `b' '` once, or what stands doubled (`/`, `#`, `%`).
    Replace(u8),
    /// `^`, `,`, `~`; whether doubled.
    Case(u8, bool),
    /// `@Q` and so on.
    Transform(u8),
    /// `${!prefix*}`, `${!prefix@}`
    Names,
}

/// `NAME=value`, `NAME[i]+=value`, `NAME=(...)`, or an element of such a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Assign {
    pub(super) name: Span,
    pub(super) append: bool,
    pub(super) subscript: Option<Id>,
    pub(super) value: Assigned,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Assigned {
    Word(Id),
    /// Elements, as assignments with empty names.
    Array(Slice),
}

/// A redirection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Redir {
    pub(super) op: RedirOp,
    pub(super) fd: Option<u32>,
    /// `{name}>`
    pub(super) variable: bool,
    pub(super) target: Target,
    pub(super) span: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RedirOp {
    Read,
    Write,
    Append,
    ReadWrite,
    ReadDuplicate,
    WriteDuplicate,
    WriteBoth,
    AppendBoth,
    HereString,
    HereDoc,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    Word(Id),
    HereDoc(Id),
}

/// The body of a here-document, filled in when the line after it is read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct HereDoc {
    pub(super) body: Option<Id>,
}

/// One arm of a `case`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arm {
    pub(super) patterns: Slice,
    pub(super) body: Option<Id>,
}

impl Slice {
    pub(super) fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

impl Script {
    /// Whether all of the text could be read, and not only its first lines.
    pub fn is_whole(&self) -> bool {
        self.tail.is_none()
    }

    /// The bytes at a span of the tree.
    pub(super) fn bytes(&self, span: Span) -> &[u8] {
        self.text.get(span.start as usize..span.end as usize).unwrap_or(&[])
    }

    /// The same place in the text that was given: what stands in unescaped backquotes is put down to the backquotes.
    pub(super) fn origin(&self, span: Span) -> Span {
        if span.end <= self.source && span.start < self.source.max(1) {
            return span;
        }
        let after = self.segments.partition_point(|(start, _)| *start <= span.start);
        let found = after.checked_sub(1).and_then(|index| self.segments.get(index));
        match found {
            Some((_, span)) if span.end > self.source => {
                // A segment made from a segment: segments are appended in order, so this ends.
                self.origin(*span)
            }
            Some((_, span)) => *span,
            None => Span { start: span.start.min(self.source), end: self.source },
        }
    }

    pub(super) fn node(&self, id: Id) -> Option<&Node> {
        self.nodes.get(id as usize)
    }

    pub(super) fn word(&self, id: Id) -> Option<&Word> {
        self.words.get(id as usize)
    }

    pub(super) fn parts(&self, word: Id) -> &[Part] {
        self.word(word).and_then(|word| self.parts.get(word.parts.range())).unwrap_or(&[])
    }

    pub(super) fn ids(&self, slice: Slice) -> &[Id] {
        self.ids.get(slice.range()).unwrap_or(&[])
    }

    /// The word as written, where it is one unquoted literal.
    pub(super) fn plain(&self, word: Id) -> Option<&[u8]> {
        match self.parts(word) {
            [Part { kind: PartKind::Literal, quoted: false, span }] => Some(self.bytes(*span)),
            _ => None,
        }
    }
}
