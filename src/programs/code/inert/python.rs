//! Python that plainly only computes, reads, prints, and writes files that it names.

mod spelled;
mod tables;

pub(in crate::programs::code) use spelled::spelled;

use tables::{ASKED_BY_NAME, DUNDERS, FORBIDDEN, MODULES, OS, STARTERS, TELLING};

use super::{
    asks_for_credentials, changes_data, is_verb, judged, names_a_change, words, words_at, writes_named_files,
};
use crate::programs::Language;
use crate::programs::code::foreign::is_notebook;

pub(super) fn is_inert(text: &str) -> bool {
    // Letters that are not ASCII are folded in names: `ｏｓ` is `os`.
    if text.chars().any(|letter| !letter.is_ascii() && letter.is_alphanumeric()) || text.contains("\\x") {
        return false;
    }
    let text = &spelled(text);
    let tells = |text: &str| {
        let seen = TELLING.iter().fold(text.to_owned(), |seen, known| seen.replace(known, " safe "));
        without_os(&without_told(&seen))
    };
    // `scipy.signal`
    let waves = text.contains("scipy") && !imports_signal(text);
    let plain = |word: &str| {
        (!FORBIDDEN.contains(&word) || waves && word == "signal")
            && (!word.starts_with('_') || word == "_" || DUNDERS.contains(&word))
    };
    if asks_for_credentials(text) || is_notebook(text) {
        return false;
    }
    if hides_a_write(text) || reaches_out(text) || steers_processes(text) {
        return false;
    }
    // Where only modules of Python's own are used, nothing evaluates a literal: what stands in one is data.
    if let Some(code) = without_literals(text, false)
        && let Some(seen) = tells(&judged::without(text, code))
        && imports(&seen) == Some(false)
        && !seen.contains("sqlite3")
        && words(&seen).all(plain)
    {
        return without_literals(text, true).is_some_and(|text| files(&text));
    }
    let Some(seen) = tells(text) else { return false };
    if !words(&seen).all(plain) {
        return false;
    }
    let Some(foreign) = imports(&seen) else { return false };
    let connects = seen.contains("sqlite3") || seen.contains("execute");
    if (foreign || connects) && changes_data(&seen) || foreign && changes_by_name(&without_writes(&seen)) {
        return false;
    }
    files(text)
}

/// Calls that write a file which they are given by its name, but for those whose files are seen.
fn hides_a_write(text: &str) -> bool {
    let has = |word: &str| text.contains(word);
    let any = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let modes = any(&["'w", "\"w", "'a'", "\"a\"", "'x'", "\"x\""]);
    let elsewhere = any(&["'/", "\"/", "'~", "\"~", ".."]);
    // SQLite runs one statement of a text, and one that selects changes nothing, whatever is put into it
    let one_statement =
        has("sqlite3") && !any(&["psycopg", "mysql", "sqlalchemy", "duckdb", "pymssql", "oracledb"]);
    let literal_queries = text.match_indices("execute").all(|(at, word)| {
        let rest = text.get(at + word.len()..).unwrap_or_default();
        let rest = rest.strip_prefix("many").unwrap_or(rest);
        let Some(query) = rest.strip_prefix('(').map(str::trim_start) else { return false };
        let formatted = query.strip_prefix('f').map(|query| query.trim_start_matches(['\'', '"']));
        let selects = |query: &str| {
            let start = query.trim_start().get(..7).unwrap_or_default().to_ascii_lowercase();
            start.starts_with("select ")
                || query.trim_start().to_ascii_lowercase().starts_with("pragma table_info")
        };
        query.starts_with(['\'', '"']) || one_statement && formatted.is_some_and(selects)
    });
    // `client.query(sql)`; `session.query(User)` asks for what it names
    let unknown_query = text.match_indices("query(").any(|(at, word)| {
        let rest = text.get(at + word.len()..).unwrap_or_default().trim_start();
        let names = rest.starts_with("func.") || rest.starts_with("models.");
        !names
            && rest.starts_with(|letter: char| letter.is_ascii_lowercase() || letter == '*' || letter == '_')
    });
    let joined = any(&["'+", "' +", "\"+", "\" +", ".join(", ".format("]);
    let archives = has("zipfile") || has("tarfile");
    let unpacks = || {
        words(text)
            .any(|word| matches!(word, "extractall" | "extract" | "unpack_archive" | "addfile" | "writestr"))
    };
    archives && (modes || unpacks())
        || has("basicConfig") && has("filename")
        || (has("etree") || has("ElementTree")) && has(".write(")
        || has("mkdir") && elsewhere
        || unknown_query
        || has("execute") && (!literal_queries || joined)
}

/// The text without comments and without what stands in plain literals; with `names`, without those alone that may look like
/// code. `None` where a literal does not end. What f-strings hold is code, and stays.
fn without_literals(text: &str, names: bool) -> Option<String> {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let after = rest.get(letter.len_utf8()..).unwrap_or_default();
        match letter {
            '#' => rest = after.find('\n').and_then(|end| after.get(end..)).unwrap_or_default(),
            '\'' | '"' => {
                let prefix =
                    kept.len() - kept.trim_end_matches(|letter: char| letter.is_ascii_alphabetic()).len();
                let prefix = kept.get(kept.len() - prefix..).unwrap_or_default();
                let formats = prefix.len() <= 2 && prefix.contains(['f', 'F', 't', 'T']);
                let quote = letter.to_string();
                let quote = if after.starts_with(&quote.repeat(2)) { quote.repeat(3) } else { quote };
                let inner = rest.get(quote.len()..)?;
                let end = literal_end(inner, &quote)?;
                let content = inner.get(..end)?;
                let kept_whole =
                    formats || names && content.len() < 128 && !content.contains(['(', '\n', '`']);
                kept.push_str(&quote);
                kept.push_str(if kept_whole { content } else { "" });
                kept.push_str(&quote);
                rest = inner.get(end + quote.len()..)?;
            }
            _ => {
                kept.push(letter);
                rest = after;
            }
        }
    }
    Some(kept)
}

/// Where a literal ends, from behind its opening quote.
fn literal_end(text: &str, quote: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        if rest.starts_with(quote) {
            return Some(at);
        }
        let letter = rest.chars().next()?;
        if letter == '\n' && quote.len() == 1 {
            return None;
        }
        at += letter.len_utf8();
        if letter == '\\' {
            at += text.get(at..)?.chars().next()?.len_utf8();
        }
    }
}

/// The text without the imports of modules that are known by what is asked of them, and without what of `os` only tells; `None`
/// where `os` is used otherwise.
fn without_os(text: &str) -> Option<String> {
    let mut seen = text.to_owned();
    for name in OS {
        seen = seen.replace(name, " safe ");
    }
    let asked = |name: &str| ASKED_BY_NAME.contains(&name.trim());
    let statements = seen.split_inclusive([';', '\n']).map(|statement| {
        let bare = statement.trim_end_matches([';', '\n']);
        let list = bare.trim().strip_prefix("import ").filter(|list| !list.contains(" as "));
        match list.filter(|list| list.split(',').any(asked)) {
            Some(list) => {
                let names = list.split(',').map(|name| if asked(name) { "sys" } else { name.trim() });
                let names: Vec<&str> = names.collect();
                let indent = bare.get(..bare.len() - bare.trim_start().len()).unwrap_or_default();
                let end = statement.get(bare.len()..).unwrap_or_default();
                format!("{indent}import {}{end}", names.join(", "))
            }
            None => statement.to_owned(),
        }
    });
    let seen: String = statements.collect();
    let only_tells = words(&seen).all(|word| word != "os");
    only_tells.then_some(seen)
}

/// The text without what tells by the way that it is put: a signal that only asks whether a process is there, the names in an
/// object that are printed.
fn without_told(text: &str) -> String {
    let mut seen = text.to_owned();
    for (call, end) in [("os.kill(", ", 0)"), ("print(", ".__dict__)")] {
        let mut whole = String::with_capacity(seen.len());
        let mut rest = seen.as_str();
        while let Some(at) = rest.find(call) {
            let (before, behind) = rest.split_at_checked(at).unwrap_or_default();
            let inside = behind.get(call.len()..).unwrap_or_default();
            let plain = |given: &&str| {
                given.chars().all(|letter| letter.is_alphanumeric() || "_., []".contains(letter))
            };
            let given = inside.split_once(end).map(|(given, _)| given).filter(plain);
            whole.push_str(before);
            whole.push_str(if given.is_some() { " safe " } else { call });
            rest = given.and_then(|given| inside.get(given.len() + end.len()..)).unwrap_or(inside);
        }
        whole.push_str(rest);
        seen = whole;
    }
    seen
}

/// Whether a socket is connected to another machine, or to one that is not known.
fn reaches_out(text: &str) -> bool {
    const HERE: &[&str] =
        &["'localhost'", "\"localhost\"", "'127.0.0.1'", "\"127.0.0.1\"", "'::1'", "\"::1\""];
    let sockets = text.match_indices("socket.").any(|(at, _)| {
        !text
            .get(..at)
            .is_some_and(|before| before.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_'))
    });
    sockets
        && ["connect(", "connect_ex(", "create_connection(", "sendto("].iter().any(|call| {
            text.match_indices(call).any(|(at, _)| {
                let given = text.get(at + call.len()..).unwrap_or_default();
                let place = given.strip_prefix('(').unwrap_or(given).trim_start();
                !HERE.iter().any(|here| place.starts_with(here))
            })
        })
}

/// Whether what `psutil` finds is signalled or slowed down.
fn steers_processes(text: &str) -> bool {
    text.contains("psutil")
        && words(text).any(|word| {
            matches!(
                word,
                "kill"
                    | "terminate"
                    | "suspend"
                    | "resume"
                    | "send_signal"
                    | "nice"
                    | "ionice"
                    | "rlimit"
                    | "cpu_affinity"
                    | "Popen"
            )
        })
}

/// Whether a module is imported that is none of Python's own; `None` where it cannot be seen what is.
fn imports(text: &str) -> Option<bool> {
    let mut foreign = false;
    let starts = |module: &str| {
        let root = module.trim_start().split(['.', ' ', ')', '(']).next().unwrap_or_default();
        STARTERS.contains(&root)
    };
    let own = |module: &str| {
        let root = module.trim_start().split(['.', ' ', ')', '(']).next().unwrap_or_default();
        MODULES.contains(&root)
    };
    for statement in text.split([';', '\n']) {
        // `if x: import y`
        let statement = statement.rsplit(": ").next().unwrap_or(statement).trim();
        if let Some(rest) = statement.strip_prefix("from ").filter(|rest| rest.contains(" import ")) {
            if starts(rest) {
                return None;
            }
            foreign |= !own(rest);
        } else if let Some(list) = statement.strip_prefix("import ") {
            if list.split(',').any(starts) {
                return None;
            }
            foreign |= !list.split(',').all(own);
        } else if words(statement).any(|word| word == "import" || word == "__import__") {
            // in a text that is searched for, or where a quote hides what it is
            foreign = true;
            if !statement.contains(['\'', '"']) {
                return None;
            }
        }
    }
    Some(foreign)
}

/// Calls that write a file which they are given by its name.
const SAVES: &[&str] = &[
    "savefig(",
    "to_csv(",
    "to_parquet(",
    "to_json(",
    "to_excel(",
    "to_html(",
    "to_pickle(",
    "to_feather(",
    "savetxt(",
    "savez(",
    "savez_compressed(",
    "save_screenshot(",
    "imwrite(",
    "imsave(",
    "write_parquet(",
    "write_csv(",
    "write_html(",
    "write_image(",
    "to_file(",
    "to_netcdf(",
];

/// Whether the module of signals to processes is asked for.
fn imports_signal(text: &str) -> bool {
    text.split([';', '\n']).map(str::trim).any(|statement| {
        statement.starts_with("from signal ")
            || statement.strip_prefix("import ").is_some_and(|list| {
                list.split(',').any(|name| name.split_whitespace().next() == Some("signal"))
            })
    })
}

/// Whether something is called, or taken from where it belongs, whose name says that it changes something, or a literal that is
/// one word says so. What the text defines itself is seen whole.
fn changes_by_name(text: &str) -> bool {
    let Some(code) = without_literals(text, false) else { return names_a_change(text) };
    for (start, word) in words_at(&code) {
        if !names_a_change(word) {
            continue;
        }
        let before = code.get(..start).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        let called =
            code.get(start + word.len()..).is_some_and(|rest| rest.starts_with('(')) || before.ends_with('.');
        let own = ["def ", "class "].iter().any(|define| code.contains(&format!("{define}{word}(")));
        // by the name of a function of the text, and not by that of a method of something else
        let direct = !before.ends_with('.') || before.ends_with("self.");
        if line.contains("import ") || before.ends_with(" as ") || called && !(own && direct) {
            return true;
        }
    }
    literals(text).any(|literal| {
        let first = literal.split_whitespace().next().unwrap_or_default();
        literal.len() < LONGEST_NAME && !literal.contains(' ') && names_a_change(literal) || is_verb(first)
    })
}

/// How long a literal may be that is a name.
const LONGEST_NAME: usize = 40;

/// The contents of plain literals.
fn literals(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let at = rest.find(['\'', '"', '#'])?;
            let behind = rest.get(at..)?;
            if behind.starts_with('#') {
                rest = behind.find('\n').and_then(|end| behind.get(end..))?;
                continue;
            }
            let quote = behind.get(..1)?;
            let quote = if behind.starts_with(&quote.repeat(3)) { behind.get(..3)? } else { quote };
            let inner = behind.get(quote.len()..)?;
            let end = literal_end(inner, quote)?;
            rest = inner.get(end + quote.len()..)?;
            return inner.get(..end);
        }
    })
}

/// The text without the calls that write files: those are seen by themselves.
fn without_writes(text: &str) -> String {
    let mut seen = text.to_owned();
    for call in SAVES {
        seen = seen.replace(call, "safe(");
    }
    for call in ["save('", "save(\"", "save_pretrained('", "save_pretrained(\""] {
        seen = seen.replace(&format!(".{call}"), " safe('");
    }
    seen = seen.replace("torch.save(", " safe(");
    // in memory: rows and columns of a table
    for call in
        [".drop(columns=", ".drop(index=", ".drop(labels=", ".drop(['", ".drop([\"", ".drop('", ".drop(\""]
    {
        seen = seen.replace(call, " safe('");
    }
    for call in ["execute(", ".write(", ".write_text(", ".write_bytes(", ".writelines(", "sys.stdout.write("]
    {
        seen = seen.replace(call, " safe(");
    }
    seen
}

/// Whether all files that are opened for more than reading are named, and are given something.
fn files(text: &str) -> bool {
    let saves = SAVES.iter().chain(&["save(", "save_pretrained("]).any(|call| text.contains(call));
    // what stands in a literal opens nothing
    let code = without_literals(text, false).unwrap_or_else(|| text.to_owned());
    let text_words =
        || words(&code).filter(|word| word.ends_with("open") && !matches!(*word, "popen" | "Popen"));
    let opens = saves || text_words().next().is_some() || text.contains("write_");
    if !opens {
        return !moves(text);
    }
    let bare = text_words().count();
    let called =
        code.matches("open(").count() - code.matches("popen(").count() - code.matches("Popen(").count();
    let empties = [
        "write('')",
        "write(\"\")",
        "write_text('')",
        "write_text(\"\")",
        "write_bytes(b'')",
        "write_bytes(b\"\")",
    ];
    let gives = saves || ["write", "dump", "file="].iter().any(|word| text.contains(word));
    bare == called
        && !empties.iter().any(|call| text.contains(call))
        && !moves(text)
        && writes_named_files(Language::Python, text).is_some_and(|writes| gives || !writes)
}

/// Whether a path may be moved: `Path.replace` takes one argument, `str.replace` two or more.
fn moves(text: &str) -> bool {
    (text.contains("Path") || text.contains("pathlib"))
        && text.match_indices(".replace(").any(|(at, call)| {
            let rest = text.get(at + call.len()..).unwrap_or_default();
            let line = rest.split('\n').next().unwrap_or_default();
            rest.starts_with('*') || !line.contains(',')
        })
}
