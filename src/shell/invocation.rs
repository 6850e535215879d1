//! What a text will run: every simple command in every position, with its words expanded.

use std::sync::Arc;

use serde::Serialize;

use super::{Dialect, Span, Value};

/// All that a text may run, in the order in which a shell would meet it. The order of `invocations` is the order of
/// execution where both run; a branch, a loop body, a function body and a trap are walked once each.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Evaluation {
    /// Every simple command. Bodies of functions that are never called are here too: a later command may call them.
    pub invocations: Vec<Invocation>,
    /// Facts about the structure that are findings by themselves.
    pub oddities: Vec<Oddity>,
    /// The files that the text writes, once for each time.
    pub written: Vec<Written>,
}

/// A file that a text writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Its path: absolute where the directory of the command is known.
    pub path: Vec<u8>,
    /// What is then in it; `None` where nothing of it is known.
    pub content: Option<Value>,
}

/// One simple command.
#[derive(Debug, Clone, Serialize)]
pub struct Invocation {
    /// The program word and its arguments after expansion. Empty for a command that only assigns or redirects. Shared with
    /// all that is said of the command.
    #[serde(serialize_with = "within")]
    pub argv: Arc<Vec<Value>>,
    /// Where the whole simple command stands.
    pub span: Span,
    /// `NAME=value` before the program: in its environment, and in nothing else's.
    pub assignments: Vec<(String, Value)>,
    /// Variables exported or assigned earlier in the text that are now in the environment of what runs, where they
    /// differ from the environment the text started with.
    pub exported: Vec<(String, Value)>,
    /// Redirections in order, those of enclosing groups first.
    pub redirects: Vec<Redirect>,
    /// What standard input is.
    pub stdin: Input,
    /// The directory it runs in, as far as `cd`, `pushd` and subshells earlier in the text tell.
    #[serde(serialize_with = "within")]
    pub cwd: Arc<Value>,
    /// Started with `&`, or in a coprocess.
    pub background: bool,
    /// How the text leads to it.
    pub origin: Origin,
    /// Process substitutions that are named in `argv`, in an assignment or in a redirection, as `/dev/fd/63` and downwards,
    /// with what is read from them.
    pub files: Vec<(Value, Input)>,
}

/// What feeds standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Input {
    /// Whatever the whole text was given.
    Inherited,
    /// Exactly this: a here-string, a here-document without holes, constant output of `echo`, `printf`, `base64 -d`.
    Known(Vec<u8>),
    /// A file, by `<`.
    File(Value),
    /// Output of these earlier invocations (indices into [`Evaluation::invocations`]); its bytes are not known.
    Pipe(Vec<usize>),
    /// A here-document or here-string with holes.
    Text(Value),
}

/// A redirection.
#[derive(Debug, Clone, Serialize)]
pub struct Redirect {
    /// What it does.
    pub kind: RedirectKind,
    /// The descriptor it changes; `None` for `{name}>` and `&>`.
    pub fd: Option<u32>,
    /// The file or descriptor named; for a here-document its text.
    pub target: Value,
    /// Where it stands.
    pub span: Span,
}

/// Kinds of redirection, by effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum RedirectKind {
    /// `<`
    Read,
    /// `>`, `>|`, `&>`: truncates.
    Write,
    /// `>>`, `&>>`
    Append,
    /// `<>`
    ReadWrite,
    /// `<<`, `<<-`, `<<<`
    Here,
    /// `<&`, `>&` to a descriptor
    Duplicate,
}

/// How the text leads to a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Origin {
    /// A plain command of the text.
    Plain,
    /// Inside `$(...)` or backquotes.
    Substitution,
    /// Inside `<(...)` or `>(...)`. `feeds` is the invocation that is given the name, `out` is true for `<(...)`.
    ProcessSubstitution {
        /// Index of the invocation in whose words the substitution stands, once known.
        feeds: Option<usize>,
        /// Whether its output is read (`<(...)`) rather than its input written (`>(...)`).
        out: bool,
    },
    /// In the body of the function of this name.
    Function(String),
    /// Runs on a signal or at exit.
    Trap(String),
    /// Words that are evaluated as text again (`eval`, PS4, `${x@P}`, a subscript in arithmetic, an alias).
    Reparsed(String),
}

/// A fact about the structure of a text that is a finding by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Oddity {
    /// A function that starts itself again more than once, or in the background: a fork bomb under any name.
    SelfForking {
        /// The function.
        name: String,
        /// Its definition.
        span: Span,
    },
    /// A loop that starts more processes at once than a machine may bear, or adds to a file without end.
    Crowd {
        /// The loop.
        span: Span,
    },
    /// Text after this point does not parse. A shell runs line by line: what stands before has run by then.
    TailDoesNotParse {
        /// The rest of the text.
        span: Span,
        /// What is wrong.
        message: String,
    },
    /// Something that the dialects read differently and that this text relies on.
    Dialect {
        /// The place.
        span: Span,
        /// The dialect in which it was read.
        dialect: Dialect,
        /// What differs.
        message: String,
    },
    /// A construct that is read but whose effect cannot be followed (sourcing an unknown file, an unknown `eval`).
    Opaque {
        /// The place.
        span: Span,
        /// What it is.
        message: String,
    },
}

/// Writes what is shared as if it were not.
pub(crate) fn within<T: Serialize, S: serde::Serializer>(
    shared: &Arc<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    T::serialize(shared, serializer)
}
