//! SQL, and what its clients understand beside it: shell escapes, files that are read and written.

use super::super::effect::Effect;
use super::lines::{find, write};
use super::shell;
use crate::shell::Value;

/// Commands of clients behind which shell text stands: psql, mysql, sqlite3, duckdb, Oracle's.
const ESCAPES: &[&[u8]] = &[
    b"\\!",
    b".shell ",
    b".system ",
    b"system ",
    b"! ",
    b"host ",
    b"HOST ",
    b"pager ",
    b"\\P ",
    b".sh ",
    b".sy ",
];

/// Commands behind which a file with more commands, or a library, stands.
const SOURCES: &[&[u8]] = &[b"\\i ", b".read ", b"source ", b"\\. ", b"\\ir ", b".load ", b"\\include "];

/// Commands behind which a file stands that is written.
const OUTPUTS: &[&[u8]] = &[
    b".output ",
    b".once ",
    b"\\o ",
    b"\\out ",
    b".backup ",
    b".save ",
    b"tee ",
    b"\\T ",
    b".log ",
    b".trace ",
    b"spool ",
    b"SPOOL ",
];

/// Functions and clauses that lose data, or run and write where only the server's own rights hold them.
const REACHES: &[&str] = &[
    "SYS_EXEC",
    "SYS_EVAL",
    "XP_CMDSHELL",
    "LOAD_EXTENSION",
    "INTO OUTFILE",
    "INTO DUMPFILE",
    "PG_READ_FILE",
    "LO_EXPORT",
    "WRITEFILE",
    "PG_TERMINATE_BACKEND",
    "EDIT(",
];

/// What reads a file whose name stands in a literal.
const READERS: &[&str] = &[
    "READFILE",
    "LOAD_FILE",
    "READ_TEXT",
    "READ_BLOB",
    "READ_CSV",
    "READ_JSON",
    "INFILE",
    "PG_READ",
    "LO_IMPORT",
    "ATTACH",
    "FROM '",
    "OPENROWSET",
    "BULK",
];

/// What writes one.
const WRITERS: &[&str] =
    &["OUTFILE", "DUMPFILE", "WRITEFILE", "LO_EXPORT", "EXPORT DATABASE", "BACKUP DATABASE", "VACUUM INTO"];

/// Adds what SQL text destroys, and the shell escapes of its clients.
pub(super) fn sql(text: &[u8], effects: &mut Vec<Effect>) {
    for line in text.split(|byte| *byte == b'\n') {
        client_line(line.trim_ascii(), effects);
    }
    let text = String::from_utf8_lossy(text);
    let plain = without_literals(&text);
    let mut programs = false;
    for statement in plain.split(';') {
        let upper = statement.to_uppercase();
        if destroys(statement, &upper) || REACHES.iter().any(|name| upper.contains(name)) {
            effects.push(Effect::Database { statement: Value::known(statement.trim()) });
        }
        programs |= upper.contains("COPY ") && upper.contains("PROGRAM");
    }
    // SQLite's client starts an editor.
    if text.to_uppercase().contains(" EDIT(") {
        effects.push(Effect::Database { statement: Value::known(text.trim()) });
        let literals = text.split('\'').skip(1).step_by(2);
        effects.extend(literals.map(|command| shell(Value::known(command))));
    }
    files(&text, programs, effects);
}

/// One line of a client: what it understands beside SQL.
fn client_line(line: &[u8], effects: &mut Vec<Effect>) {
    let behind =
        |starts: &[&[u8]]| starts.iter().find_map(|start| line.strip_prefix(*start)).map(<[u8]>::trim_ascii);
    if let Some(command) = behind(ESCAPES) {
        effects.push(shell(Value::known(command)));
    } else if let Some(source) = behind(&[b".import "]) {
        match source.iter().position(|byte| *byte == b'|') {
            Some(at) => {
                let command = source.get(at + 1..).unwrap_or_default();
                let end =
                    command.iter().position(|byte| matches!(byte, b'\'' | b'"')).unwrap_or(command.len());
                effects.push(shell(Value::known(command.get(..end).unwrap_or_default())));
            }
            None => {
                let words = source.split(u8::is_ascii_whitespace).filter(|word| !word.starts_with(b"-"));
                effects.extend(words.take(1).map(|path| Effect::Read { path: Value::known(path) }));
            }
        }
    } else if let Some(path) = behind(SOURCES) {
        match path.strip_prefix(b"|") {
            Some(command) => effects.push(shell(Value::known(command))),
            None => effects.push(Effect::RunFile { path: Value::known(path), language: None }),
        }
    } else if let Some(at) = line.iter().position(|byte| *byte == b'|')
        && [b"\\o".as_slice(), b"\\g", b"\\w", b".o"].iter().any(|start| line.starts_with(start))
    {
        effects.push(shell(Value::known(line.get(at + 1..).unwrap_or_default())));
    } else if let Some(path) = behind(OUTPUTS) {
        write(path, effects);
    } else if line.starts_with(b"\\") {
        // `\set x `command``
        let quoted = line.split(|byte| *byte == b'`').skip(1).step_by(2);
        effects.extend(quoted.map(|command| shell(Value::known(command))));
    }
    // they may stand behind a statement: `select 1 \! rm`, `select 1 \g |rm`
    if let Some(at) = find(line, b" \\! ") {
        effects.push(shell(Value::known(line.get(at + 4..).unwrap_or_default())));
    }
    if let Some(at) = find(line, b" \\g")
        && let Some(rest) = line.get(at..)
        && let Some(bar) = rest.iter().position(|byte| *byte == b'|')
    {
        effects.push(shell(Value::known(rest.get(bar + 1..).unwrap_or_default())));
    }
}

fn destroys(statement: &str, upper: &str) -> bool {
    let first = upper.split_whitespace().next().unwrap_or_default();
    let destroys = match first {
        "DROP" | "TRUNCATE" | "FLUSH" | "PURGE" | "DELETE" | "SHUTDOWN" | "KILL" => true,
        "UPDATE" => !upper.contains("WHERE"),
        "ALTER" => upper.contains(" DROP ") || upper.contains("USER") || upper.contains("ROLE"),
        "WITH" | "EXPLAIN" | "BEGIN" | "DO" | "CALL" => upper.contains("DELETE ") || upper.contains("DROP "),
        "REPLACE" | "GRANT" | "REVOKE" | "VACUUM" => first == "GRANT" || first == "REVOKE",
        "CREATE" => upper.contains("USER") || upper.contains(" ROLE"),
        _ => false,
    };
    destroys
        || [".drop", "deleteMany", "deleteOne", ".remove(", "dropDatabase"]
            .iter()
            .any(|call| statement.contains(call))
}

/// The files that literals name, where the text has what reads or writes files, and the commands of `COPY ... PROGRAM`.
fn files(text: &str, programs: bool, effects: &mut Vec<Effect>) {
    let upper = text.to_uppercase();
    let has = |names: &[&str]| names.iter().any(|name| upper.contains(name));
    let copies = upper.contains("COPY ");
    let (reads, writes) = (has(READERS), has(WRITERS) || copies && has(&["TO '", "TO  '"]));
    if !(programs || reads || writes) {
        return;
    }
    for literal in literals(text) {
        if programs {
            effects.push(shell(Value::known(literal.as_str())));
        }
        if literal.starts_with(['/', '~', '.']) {
            if reads || copies {
                effects.push(Effect::Read { path: Value::known(literal.as_str()) });
            }
            if writes {
                write(literal.as_bytes(), effects);
            }
        }
    }
}

/// The literals of SQL text; a doubled quote stands for itself.
fn literals(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut parts = text.split('\'').skip(1);
    while let Some(part) = parts.next() {
        let mut literal = part.to_owned();
        // what stands between two literals is empty where a quote is doubled
        while let Some("") = parts.next() {
            let Some(more) = parts.next() else { break };
            literal.push('\'');
            literal.push_str(more);
        }
        found.push(literal);
    }
    found
}

/// SQL without its string literals and comments, so that words in data are not taken for statements.
fn without_literals(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => {
                quoted = !quoted;
                plain.push(letter);
            }
            _ if quoted => {}
            '-' if letters.peek() == Some(&'-') => {
                for skipped in letters.by_ref() {
                    if skipped == '\n' {
                        break;
                    }
                }
                plain.push(' ');
            }
            '/' if letters.peek() == Some(&'*') => {
                let mut before = ' ';
                letters.next();
                for skipped in letters.by_ref() {
                    if before == '*' && skipped == '/' {
                        break;
                    }
                    before = skipped;
                }
                plain.push(' ');
            }
            _ => plain.push(letter),
        }
    }
    // an odd quote must not hide what stands behind it
    if quoted { text.to_owned() } else { plain }
}
