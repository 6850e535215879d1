//! The gate's door to the shell reader: what a text starts with, and how it is taken apart again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::Facts;
use crate::shell::{Context, Dialect, Input, Invocation, Piece, Unknown, Value, Written};

/// The name under which a hole of a text that is only known in part is given to the reader.
const HOLE: &str = "EXECWARD_HOLE_";

/// The name of the shell, and no arguments.
static NO_ARGUMENTS: LazyLock<[Value; 1]> = LazyLock::new(|| [Value::known("bash")]);

/// What the text of a request starts with: exactly the environment of the facts, no arguments.
pub(super) fn of_request<'f>(facts: &'f Facts, cwd: &Arc<Value>) -> Context<'f> {
    Context {
        dialect: facts.dialect,
        cwd: Arc::clone(cwd),
        home: Cow::Borrowed(&facts.home),
        user: Cow::Borrowed(&facts.user),
        uid: facts.uid,
        homes: Cow::Borrowed(&facts.homes),
        environment: Cow::Borrowed(&facts.environment),
        variables: BTreeMap::new(),
        others_unset: true,
        arguments: Some(Cow::Borrowed(&*NO_ARGUMENTS)),
        stdin: Input::Inherited,
        files: Vec::new(),
        extglob: false,
        posix: false,
        standing: facts.workspaces.iter().chain([&facts.cwd]).cloned().collect(),
    }
}

/// What text that a command gives to a shell starts with.
pub(super) fn of_script<'f>(
    facts: &'f Facts,
    invocation: &Invocation,
    dialect: Dialect,
    arguments: &[Value],
    holes: BTreeMap<String, Value>,
    files: &[Written],
    here: bool,
) -> Context<'f> {
    let mut context = of_request(facts, &invocation.cwd);
    context.dialect = dialect;
    context.variables.extend(invocation.exported.iter().chain(&invocation.assignments).cloned());
    context.variables.extend(holes);
    // what ran before it may have taken them away
    context.standing.clear();
    context.arguments = Some(Cow::Owned(arguments.to_vec()));
    context.stdin = invocation.stdin.clone();
    context.files = files.to_vec();
    // `bash -O extglob`: reading the extended patterns where they are off can only find more.
    let says = |option: &str| invocation.argv.iter().any(|word| word.as_str() == Some(option));
    context.extglob = says("extglob");
    context.posix = says("--posix") || says("posix") || context.variables.contains_key("POSIXLY_CORRECT");
    if matches!(context.stdin, Input::Pipe(_)) {
        // Indices of the outer text mean nothing in the inner one.
        context.stdin = Input::Inherited;
    }
    if !here {
        // Another host, another environment.
        context.others_unset = false;
        context.cwd = Arc::new(Value::unknown(Unknown { source: "$PWD".to_owned(), ..Unknown::default() }));
    }
    context
}

/// A text with its holes written as variables of which nothing is known, so that what stands around them is judged.
pub(super) fn with_holes(text: &Value) -> (String, BTreeMap<String, Value>) {
    let mut readable = Vec::new();
    let mut holes = BTreeMap::new();
    for (index, piece) in text.pieces.iter().enumerate() {
        match piece {
            Piece::Known(bytes) => readable.extend_from_slice(bytes),
            // names that something was expanded to stay names, also in quotes
            Piece::Glob(_) | Piece::Unknown(_) => {
                let name = format!("{HOLE}{index}");
                readable.extend_from_slice(format!("${{{name}}}").as_bytes());
                holes.insert(name, piece.clone().into());
            }
        }
    }
    (String::from_utf8_lossy(&readable).into_owned(), holes)
}

/// The command with every variable that nothing sets read as empty; `None` where there is none.
pub(super) fn unset_empty(invocation: &Invocation) -> Option<Invocation> {
    let in_redirects = invocation.redirects.iter().any(|redirect| redirect.target.has_unset());
    let in_variables = invocation.assignments.iter().any(|(_, value)| value.has_unset());
    if !in_redirects
        && !in_variables
        && !invocation.argv.iter().any(Value::has_unset)
        && !invocation.cwd.has_unset()
    {
        return None;
    }
    let mut emptied = invocation.clone();
    emptied.cwd = Arc::new(invocation.cwd.with_unset_empty());
    for redirect in &mut emptied.redirects {
        redirect.target = redirect.target.with_unset_empty();
    }
    for (_, value) in &mut emptied.assignments {
        *value = value.with_unset_empty();
    }
    // An unquoted word that is left empty is no word.
    let vanishes = |word: &Value| {
        let only_unquoted = word
            .pieces
            .iter()
            .all(|piece| matches!(piece, Piece::Unknown(unknown) if unknown.unset && unknown.splits));
        !word.pieces.is_empty() && only_unquoted
    };
    let kept = invocation.argv.iter().filter(|word| !vanishes(word)).map(Value::with_unset_empty);
    emptied.argv = Arc::new(kept.collect());
    Some(emptied)
}
