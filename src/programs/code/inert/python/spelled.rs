//! Python with what is said in a roundabout way put plainly, where the two surely mean the same: `getattr(x, 'y')` is `x.y`,
//! `sys.executable` is Python, and what `tempfile` makes lies in `/tmp`.
//!
//! What is not sure to mean that stays as it is, and its words are asked about.

use super::super::is_given_once;
use super::tables::{ASKED_BY_NAME, FORBIDDEN};

/// Where `tempfile` is taken to make what it makes.
const MADE: &str = "'/tmp/tempfile'";

/// How many mentions of one thing are looked at.
const MOST: usize = 64;

/// Modules that are known by other names: `import subprocess as sp`.
const RENAMED: &[&str] =
    &["subprocess", "multiprocessing", "shutil", "asyncio", "socket", "tempfile", "importlib", "psutil"];

/// Modules whose functions take paths: who is called stands behind a name only where that name is theirs.
const HANDS: &[&str] = &["io", "pathlib", "shutil", "subprocess", "glob", "gzip", "bz2", "lzma", "fileinput"];

/// The text, put plainly.
pub(in crate::programs::code) fn spelled(text: &str) -> String {
    let mut seen = text.to_owned();
    if seen.contains("import ") && seen.contains(" as ") {
        seen = with_own_names(seen);
    }
    if seen.contains("sys.executable")
        && !seen.replace(' ', "").replace("executable==", "").contains("executable=")
    {
        seen = seen.replace("sys.executable", "'python3'");
    }
    if seen.contains("getattr(") {
        seen = with_attributes(&seen);
    }
    if seen.contains("setattr(") {
        seen = with_given_attributes(&seen);
    }
    if seen.contains("__import__(") || seen.contains("import_module(") {
        seen = with_imports(&seen);
    }
    if seen.contains("tempfile.") {
        seen = with_temporary(&seen);
    }
    seen
}

fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The name that a text begins with, and what is behind it.
fn name(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|letter| !is_name(letter)).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(name, _)| !name.is_empty())
}

/// What stands in the quotes that a text begins with, where it is the name of something, and what is behind them.
fn quoted_name(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|letter| matches!(letter, '\'' | '"'))?;
    let (inner, behind) = text.get(1..)?.split_once(quote)?;
    let plain = !inner.is_empty() && inner.chars().all(|letter| is_name(letter) || letter == '.');
    (plain && inner.is_ascii()).then_some((inner, behind))
}

/// Modules by the names that they have, and not by those that the text gives them.
fn with_own_names(text: String) -> String {
    let mut seen = text;
    for module in RENAMED {
        let import = format!("import {module} as ");
        let Some(at) = seen.find(&import) else { continue };
        let Some((short, _)) = seen.get(at + import.len()..).and_then(name) else { continue };
        let short = short.to_owned();
        if !is_given_once(&seen, &short) {
            continue;
        }
        seen = seen.replace(&format!("{import}{short}"), &format!("import {module}"));
        seen = with_word(&seen, &format!("{short}."), &format!("{module}."));
    }
    seen
}

/// The text with another word in the place of one, where that begins a name.
fn with_word(text: &str, word: &str, with: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, behind) = rest.split_at_checked(at).unwrap_or_default();
        let last = before.chars().next_back().or_else(|| whole.chars().next_back());
        whole.push_str(before);
        whole.push_str(if last.is_some_and(|last| is_name(last) || last == '.') { word } else { with });
        rest = behind.get(word.len()..).unwrap_or_default();
    }
    whole + rest
}

/// The object and the attribute that a call is given, and what is behind them.
fn attribute(inside: &str) -> Option<(&str, &str, &str)> {
    let end = inside.find(|letter| !is_name(letter) && letter != '.')?;
    let (object, rest) = inside.split_at_checked(end).filter(|(object, _)| !object.is_empty())?;
    let rest = rest.trim_start().strip_prefix(',')?.trim_start();
    let (attribute, rest) = quoted_name(rest).filter(|(attribute, _)| !attribute.contains('.'))?;
    Some((object, attribute, rest.trim_start()))
}

/// `setattr(x, 'y', z)` as `x.y = (z)`.
fn with_given_attributes(text: &str) -> String {
    replaced(text, "setattr(", |inside| {
        let (object, attribute, rest) = attribute(inside)?;
        Some((format!("{object}.{attribute} = ("), rest.strip_prefix(',')?))
    })
}

/// `getattr(x, 'y')` as `x.y`, and with what it gives where there is none `(x.y, ...)`.
fn with_attributes(text: &str) -> String {
    replaced(text, "getattr(", |inside| {
        let (object, attribute, rest) = attribute(inside)?;
        match rest.strip_prefix(')') {
            Some(behind) => Some((format!("{object}.{attribute}"), behind)),
            None => rest.starts_with(',').then(|| (format!("({object}.{attribute}"), rest)),
        }
    })
}

/// A text with calls put otherwise, each by what stands behind its opening.
fn replaced<'t>(text: &'t str, call: &str, with: impl Fn(&'t str) -> Option<(String, &'t str)>) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    for _ in 0..MOST {
        let Some(at) = rest.find(call) else { break };
        let (before, behind) = rest.split_at_checked(at).unwrap_or_default();
        let inside = behind.get(call.len()..).unwrap_or_default();
        whole.push_str(before);
        let part = before.chars().next_back().is_some_and(is_name);
        match with(inside).filter(|_| !part) {
            Some((put, behind)) => {
                whole.push_str(&put);
                rest = behind;
            }
            None => {
                whole.push_str(call);
                rest = inside;
            }
        }
    }
    whole + rest
}

/// Modules that are asked for by literal names, as if by statements.
fn with_imports(text: &str) -> String {
    let mut modules: Vec<&str> = Vec::new();
    let mut seen = text.to_owned();
    for call in ["importlib.import_module(", "__import__("] {
        let mut asked: Vec<&str> = Vec::new();
        for (at, _) in text.match_indices(call).take(MOST) {
            let inside = text.get(at + call.len()..).unwrap_or_default();
            match quoted_name(inside) {
                Some((module, behind)) if behind.starts_with(')') => asked.push(module),
                _ => match name(inside).filter(|(_, behind)| behind.starts_with(')')) {
                    Some((variable, _)) => match looped(text, variable) {
                        Some(names) => asked.extend(names),
                        None => return text.to_owned(),
                    },
                    None => return text.to_owned(),
                },
            }
        }
        modules.extend(asked);
        seen = replaced(&seen, call, |inside| {
            let (root, behind) = match quoted_name(inside) {
                Some((module, behind)) => (module.split('.').next().unwrap_or_default(), behind),
                None => name(inside)?,
            };
            Some((root.to_owned(), behind.strip_prefix(')')?))
        });
    }
    let root = |module: &&str| module.split('.').next().unwrap_or_default().to_owned();
    let reaches = |module: &&str| {
        let root = root(module);
        let listed = |list: &[&str]| list.contains(&root.as_str());
        listed(ASKED_BY_NAME) || listed(HANDS) || listed(FORBIDDEN) || root.starts_with('_')
    };
    if modules.is_empty() || modules.iter().any(reaches) {
        return text.to_owned();
    }
    for module in modules {
        // as the project's own: what is done with what a name stands for is looked at more closely
        seen.push_str("\nimport project, ");
        seen.push_str(module);
    }
    seen
}

/// The names of a list of literals that a variable goes through: `for m in ['a', 'b']`, `for m in NAMES`.
fn looped<'t>(text: &'t str, variable: &str) -> Option<Vec<&'t str>> {
    if !is_given_once(text, variable) {
        return None;
    }
    let start = format!("for {variable} in ");
    let list = text.get(text.find(&start)? + start.len()..)?;
    if let Some(names) = listed(list) {
        return Some(names);
    }
    let (all, _) = name(list).filter(|_| is_given_once(text, name(list).map_or("", |(all, _)| all)))?;
    let given = format!("{all} = ");
    listed(text.get(text.find(&given)? + given.len()..)?)
}

/// The literals of a list that holds nothing but names.
fn listed(text: &str) -> Option<Vec<&str>> {
    let close = match text.chars().next()? {
        '[' => ']',
        '(' => ')',
        '{' => '}',
        _ => return None,
    };
    let (inner, _) = text.get(1..)?.split_once(close)?;
    let items = inner.split(',').map(str::trim).filter(|item| !item.is_empty());
    items
        .map(|item| quoted_name(item).filter(|(_, behind)| behind.is_empty()).map(|(name, _)| name))
        .collect()
}

/// What `tempfile` makes, as a place in `/tmp`.
fn with_temporary(text: &str) -> String {
    let plain = |inside: &str| !inside.contains(['/', '\\', '(', '*', '{']) && !inside.contains("dir");
    let mut seen = text.to_owned();
    for (call, file) in [("tempfile.TemporaryDirectory(", false), ("tempfile.NamedTemporaryFile(", true)] {
        seen = replaced(&seen, call, |inside| {
            let (_, behind) = inside.split_once(')').filter(|(options, _)| plain(options))?;
            match behind.strip_prefix(" as ").and_then(name) {
                Some((_, _)) if file => Some(("open('/tmp/tempfile', 'w')".to_owned(), behind)),
                Some((directory, behind)) => Some((format!("({directory} := {MADE})"), behind)),
                None => None,
            }
        });
    }
    for call in ["tempfile.mkdtemp(", "tempfile.gettempdir("] {
        seen = replaced(&seen, call, |inside| {
            let (_, behind) = inside.split_once(')').filter(|(options, _)| plain(options))?;
            Some((MADE.to_owned(), behind))
        });
    }
    seen
}
