//! Finds calls by their names and reads their literal arguments.

use super::super::effect::{Effect, Language, Operation, Target};
use super::shell;
use crate::shell::Value;

/// How many bytes of arguments are read in all, so that nested calls cannot make the work quadratic.
const ARGUMENT_BUDGET: usize = 1 << 18;

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) effects: Vec<Effect>,
    /// A command is started whose words are not literal.
    pub(super) computed: bool,
    /// Literals that the code decodes (hex, base64).
    pub(super) decoded: Vec<Vec<u8>>,
    /// The budget ran out.
    pub(super) exhausted: bool,
}

/// What a call does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    /// One literal is text for a shell, several are an argv.
    Start,
    Delete,
    DeleteTree,
    Write,
    Kill,
    Fork,
    Hex,
    Base64,
    Http,
}

/// The last part of a call's name, and what stands before it where that matters.
const CALLS: &[(&str, Call)] = &[
    ("system", Call::Start),
    ("popen", Call::Start),
    ("popen2", Call::Start),
    ("popen3", Call::Start),
    ("Popen", Call::Start),
    ("getoutput", Call::Start),
    ("getstatusoutput", Call::Start),
    ("check_output", Call::Start),
    ("check_call", Call::Start),
    ("create_subprocess_shell", Call::Start),
    ("create_subprocess_exec", Call::Start),
    ("execv", Call::Start),
    ("execve", Call::Start),
    ("execvp", Call::Start),
    ("execvpe", Call::Start),
    ("execl", Call::Start),
    ("execle", Call::Start),
    ("execlp", Call::Start),
    ("execlpe", Call::Start),
    ("spawnl", Call::Start),
    ("spawnlp", Call::Start),
    ("spawnv", Call::Start),
    ("spawnvp", Call::Start),
    ("posix_spawn", Call::Start),
    ("posix_spawnp", Call::Start),
    ("execSync", Call::Start),
    ("execFile", Call::Start),
    ("execFileSync", Call::Start),
    ("spawn", Call::Start),
    ("spawnSync", Call::Start),
    ("execa", Call::Start),
    ("execaSync", Call::Start),
    ("shell_exec", Call::Start),
    ("passthru", Call::Start),
    ("proc_open", Call::Start),
    ("pcntl_exec", Call::Start),
    ("execute", Call::Start),
    ("exec", Call::Start),
    ("qx", Call::Start),
    ("capture2", Call::Start),
    ("capture2e", Call::Start),
    ("capture3", Call::Start),
    ("syscmd", Call::Start),
    ("esyscmd", Call::Start),
    ("shell", Call::Start),
    ("command", Call::Start),
    ("system2", Call::Start),
    ("Command", Call::Start),
    ("createProcess", Call::Start),
    ("callCommand", Call::Start),
    ("readProcess", Call::Start),
    ("rawSystem", Call::Start),
    ("run", Call::Start),
    ("call", Call::Start),
    ("start_process", Call::Start),
    ("rmtree", Call::DeleteTree),
    ("remove_tree", Call::DeleteTree),
    ("rm_rf", Call::DeleteTree),
    ("rm_r", Call::DeleteTree),
    ("remove_dir", Call::DeleteTree),
    ("remove_entry", Call::DeleteTree),
    ("remove_entry_secure", Call::DeleteTree),
    ("rmSync", Call::DeleteTree),
    ("rimraf", Call::DeleteTree),
    ("removeSync", Call::DeleteTree),
    ("emptyDirSync", Call::DeleteTree),
    ("emptyDir", Call::DeleteTree),
    ("rm", Call::DeleteTree),
    ("removedirs", Call::DeleteTree),
    ("removeDirectoryRecursive", Call::DeleteTree),
    ("removePathForcibly", Call::DeleteTree),
    ("rmdirSync", Call::DeleteTree),
    ("rmdir", Call::Delete),
    ("unlink", Call::Delete),
    ("unlinkSync", Call::Delete),
    ("delete", Call::Delete),
    ("remove", Call::Delete),
    ("truncate", Call::Delete),
    ("truncateSync", Call::Delete),
    ("writeFileSync", Call::Write),
    ("writeFile", Call::Write),
    ("appendFileSync", Call::Write),
    ("write_text", Call::Write),
    ("write_bytes", Call::Write),
    ("file_put_contents", Call::Write),
    ("open", Call::Write),
    ("fopen", Call::Write),
    ("createWriteStream", Call::Write),
    ("copyfile", Call::Write),
    ("copy", Call::Write),
    ("move", Call::Write),
    ("rename", Call::Write),
    ("renameSync", Call::Write),
    ("symlink", Call::Write),
    ("kill", Call::Kill),
    ("killpg", Call::Kill),
    ("posix_kill", Call::Kill),
    ("fork", Call::Fork),
    ("pcntl_fork", Call::Fork),
    ("fromhex", Call::Hex),
    ("unhexlify", Call::Hex),
    ("hex2bin", Call::Hex),
    ("b64decode", Call::Base64),
    ("base64_decode", Call::Base64),
    ("decode_base64", Call::Base64),
    ("atob", Call::Base64),
    ("decode64", Call::Base64),
    ("urlopen", Call::Http),
    ("urlretrieve", Call::Http),
    ("fetch", Call::Http),
];

/// Finds every call in a text, in one pass over its words.
pub(super) fn calls(language: Language, text: &[u8]) -> Found {
    let mut found = Found::default();
    let mut budget = ARGUMENT_BUDGET;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        if *byte == b'`' && commands_in_backquotes(language) {
            // m4 closes a backquote with a quote
            let closes = |byte: &u8| *byte == b'`' || (*byte == b'\'' && language == Language::Other);
            let end = text.iter().skip(at + 1).position(closes).map_or(text.len(), |end| at + 1 + end);
            let command = text.get(at + 1..end).unwrap_or_default();
            found.effects.push(shell(Value::known(unescaped(command))));
            at = end + 1;
            continue;
        }
        if !is_word(*byte) {
            at += 1;
            continue;
        }
        let start = at;
        while text.get(at).is_some_and(|byte| is_word(*byte)) {
            at += 1;
        }
        let word = text.get(start..at).unwrap_or_default();
        let Some((_, call)) = CALLS.iter().find(|(name, _)| name.as_bytes() == word) else { continue };
        let before = text.get(..start).unwrap_or_default();
        if !means_the_call(language, *call, word, before, text) || !is_called(language, word, text, at) {
            continue;
        }
        let arguments = arguments(text, at, language, &mut budget);
        found.exhausted |= budget == 0;
        happens(*call, word, &arguments, before, text, &mut found);
    }
    if language == Language::Awk {
        awk_pipes(text, &mut found);
    }
    found
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn commands_in_backquotes(language: Language) -> bool {
    matches!(language, Language::Perl | Language::Ruby | Language::Php | Language::Other)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}

/// Common words are calls only where the text has what they belong to.
fn means_the_call(language: Language, call: Call, word: &[u8], before: &[u8], text: &[u8]) -> bool {
    let qualifier = |names: &[&str]| names.iter().any(|name| before.ends_with(name.as_bytes()));
    let has = |names: &[&str]| names.iter().any(|name| contains(text, name.as_bytes()));
    match (language, word) {
        (Language::Python, b"run" | b"call" | b"exec" | b"spawn" | b"execute" | b"shell" | b"Command") => {
            has(&["subprocess", "sh.", "pexpect", "pty", "fabric", "invoke"])
                && word != b"execute"
                && word != b"exec"
        }
        (Language::Python, b"remove" | b"truncate" | b"rename" | b"delete" | b"rm" | b"kill" | b"open") => {
            qualifier(&["os.", "os').", "os\").", "sftp."])
                || word == b"open" && !before.ends_with(b"urllib.request.url")
                || (has(&["from os import"]) && !before.ends_with(b"."))
        }
        (
            Language::JavaScript,
            b"exec" | b"spawn" | b"run" | b"Command" | b"shell" | b"execute" | b"fork",
        ) => has(&["child_process", "Deno", "Bun", "execa", "shelljs", "zx"]),
        (
            Language::JavaScript,
            b"rm" | b"rmdir" | b"unlink" | b"truncate" | b"rename" | b"remove" | b"copy" | b"open",
        ) => has(&["fs", "Deno", "Bun"]),
        (Language::JavaScript, b"delete" | b"system" | b"call" | b"move") => false,
        (Language::Ruby, b"run" | b"call" | b"shell" | b"execute" | b"Command") => false,
        (Language::Ruby, b"delete") => qualifier(&["File.", "Dir.", "FileUtils."]),
        (Language::Ruby, b"rm" | b"remove" | b"copy" | b"move" | b"rename") => {
            qualifier(&["FileUtils.", "File."]) || has(&["FileUtils"])
        }
        (Language::Perl | Language::Php | Language::Lua, b"run" | b"call" | b"shell" | b"Command") => false,
        (Language::Perl, b"delete" | b"remove" | b"copy" | b"move") => false,
        (Language::Php, b"delete" | b"remove" | b"move") => false,
        (Language::Lua, b"exec" | b"delete" | b"copy" | b"move") => false,
        (Language::Lua, b"remove" | b"rename" | b"execute") => qualifier(&["os."]),
        (Language::Awk, _) => matches!(word, b"system"),
        (_, b"command") => qualifier(&["shell-"]),
        (
            Language::Other,
            b"call" | b"Command" | b"execute" | b"delete" | b"remove" | b"open" | b"copy" | b"move"
            | b"fetch",
        ) => false,
        (Language::Editor, _) => {
            matches!(word, b"system" | b"delete" | b"writefile" | b"popen" | b"execute_shell")
                && call != Call::Fork
        }
        _ => true,
    }
}

/// Whether arguments follow: in parentheses, or, where the language has that, as a literal right behind the name.
fn is_called(language: Language, word: &[u8], text: &[u8], at: usize) -> bool {
    let next = text.get(at..).unwrap_or_default().trim_ascii_start().first();
    match language {
        Language::Perl | Language::Ruby if word != b"rm" => true,
        Language::Other | Language::Ruby | Language::Perl => matches!(next, Some(b'(' | b'"' | b'\'' | b'`')),
        _ => next == Some(&b'('),
    }
}

/// Literal arguments of a call.
#[derive(Default)]
struct Arguments {
    literals: Vec<Vec<u8>>,
    /// Something in it is not literal.
    computed: bool,
    /// The bytes between the call's name and its end.
    raw: Vec<u8>,
    /// A list stands in it.
    list: bool,
}

/// Reads what follows a call's name: in parentheses, or up to the end of the statement.
fn arguments(text: &[u8], from: usize, language: Language, budget: &mut usize) -> Arguments {
    let mut arguments = Arguments::default();
    let mut at = from;
    let mut depth = 0_usize;
    let mut joins = false;
    let mut named = false;
    let python = language == Language::Python;
    while let Some(&byte) = text.get(at) {
        if *budget == 0 {
            break;
        }
        *budget -= 1;
        match byte {
            b'(' | b'[' | b'{' => {
                depth += 1;
                arguments.list |= byte == b'[';
            }
            b')' | b']' | b'}' => {
                if depth <= 1 {
                    break;
                }
                depth -= 1;
            }
            b';' | b'\n' if depth == 0 => break,
            // a backslash in front of a quote: the whole call stands inside a string
            b'\\' => {}
            b'\'' | b'"' | b'`' => {
                let (literal, end) = quoted(text, at);
                let prefixed = python
                    && text.get(at.wrapping_sub(1)).is_some_and(|before| matches!(before, b'f' | b'F'));
                arguments.computed |= prefixed && literal.contains(&b'{');
                if named {
                    named = false;
                } else if joins && let Some(last) = arguments.literals.last_mut() {
                    last.extend_from_slice(&literal);
                } else {
                    arguments.literals.push(literal);
                }
                *budget = budget.saturating_sub(end.saturating_sub(at));
                at = end;
                joins = python || language == Language::Awk;
                continue;
            }
            b'+' | b'.' => joins = true,
            b'=' => named = text.get(at + 1) != Some(&b'=') && text.get(at + 1) != Some(&b'>'),
            b',' => {
                joins = false;
                named = false;
            }
            b' ' | b'\t' => {}
            _ => {
                // perl's q(...) and qq{...}
                if byte == b'q'
                    && language == Language::Perl
                    && !text.get(at.wrapping_sub(1)).is_some_and(|b| is_word(*b))
                    && let Some((literal, end)) = perl_quote(text, at)
                {
                    arguments.literals.push(literal);
                    at = end;
                    continue;
                }
                if is_word(byte) || byte == b'$' || byte == b'@' || byte == 0 {
                    let prefix = python && text.get(at + 1).is_some_and(|next| matches!(next, b'\'' | b'"'));
                    if !prefix {
                        arguments.computed = true;
                        joins = false;
                    }
                }
            }
        }
        at += 1;
    }
    arguments.raw = text.get(from..at.min(text.len())).unwrap_or_default().to_vec();
    arguments
}

/// `q(...)`, `qq{...}`, `qw/.../` from the `q`.
fn perl_quote(text: &[u8], at: usize) -> Option<(Vec<u8>, usize)> {
    let mut open = at + 1;
    if text.get(open).is_some_and(|byte| matches!(byte, b'q' | b'w' | b'x')) {
        open += 1;
    }
    let close = match text.get(open)? {
        b'(' => b')',
        b'{' => b'}',
        b'[' => b']',
        b'<' => b'>',
        byte @ (b'/' | b'|' | b'!' | b'~' | b'#') => *byte,
        _ => return None,
    };
    let end = text.iter().skip(open + 1).position(|byte| *byte == close)? + open + 1;
    Some((text.get(open + 1..end)?.to_vec(), end + 1))
}

/// A quoted literal from its opening quote: its bytes, and the place behind it.
fn quoted(text: &[u8], at: usize) -> (Vec<u8>, usize) {
    let Some(&quote) = text.get(at) else { return (Vec::new(), at + 1) };
    let triple =
        text.get(at..at + 3).is_some_and(|three| three.iter().all(|byte| *byte == quote)) && quote != b'`';
    let escaped = at > 0 && text.get(at - 1) == Some(&b'\\');
    let start = if triple { at + 3 } else { at + 1 };
    let mut end = start;
    while let Some(&byte) = text.get(end) {
        if byte == b'\\' && !escaped {
            end += 2;
            continue;
        }
        if byte == b'\\' && text.get(end + 1) == Some(&quote) {
            // the closing quote of a literal that stands inside a string
            break;
        }
        // m4 closes a backquote with a quote
        if byte == quote
            && (!triple || text.get(end..end + 3).is_some_and(|three| three.iter().all(|b| *b == quote)))
        {
            break;
        }
        if quote == b'`' && byte == b'\'' && text.get(end + 1) == Some(&b')') {
            break;
        }
        end += 1;
    }
    let end = end.min(text.len());
    let after = if triple { end + 3 } else { end + 1 + usize::from(escaped) };
    (unescaped(text.get(start..end).unwrap_or_default()), after)
}

/// The bytes of a literal with its escapes resolved, and full-width letters as the ASCII that normalisation makes.
fn unescaped(literal: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(literal.len());
    let mut at = 0;
    while let Some(&byte) = literal.get(at) {
        at += 1;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let Some(&escape) = literal.get(at) else { break };
        at += 1;
        match escape {
            b'n' => bytes.push(b'\n'),
            b't' => bytes.push(b'\t'),
            b'x' => {
                let digits = literal.get(at..at + 2).and_then(|digits| std::str::from_utf8(digits).ok());
                match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                    Some(value) => {
                        bytes.push(value);
                        at += 2;
                    }
                    None => bytes.push(b'x'),
                }
            }
            b'u' => {
                let digits = literal.get(at..at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
                match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                    Some(value) => {
                        bytes.push(value);
                        at += 4;
                    }
                    None => bytes.push(b'u'),
                }
            }
            b'0'..=b'7' => {
                let mut value = u32::from(escape - b'0');
                let mut digits = 1;
                while let Some(digit @ b'0'..=b'7') = literal.get(at)
                    && digits < 3
                {
                    value = value * 8 + u32::from(digit - b'0');
                    at += 1;
                    digits += 1;
                }
                bytes.push(u8::try_from(value).unwrap_or(b'?'));
            }
            other => bytes.push(other),
        }
    }
    narrow(bytes)
}

fn narrow(bytes: Vec<u8>) -> Vec<u8> {
    // U+FF01..U+FF5E are EF BC 81 .. EF BD 9E
    if !bytes.contains(&0xEF) {
        return bytes;
    }
    let Ok(text) = std::str::from_utf8(&bytes) else { return bytes };
    let fold = |letter: char| match u32::from(letter) {
        code @ 0xFF01..=0xFF5E => char::from_u32(code - 0xFEE0).unwrap_or(letter),
        0x3000 => ' ',
        _ => letter,
    };
    text.chars().map(fold).collect::<String>().into_bytes()
}

fn happens(call: Call, word: &[u8], arguments: &Arguments, before: &[u8], text: &[u8], found: &mut Found) {
    let literals = &arguments.literals;
    match call {
        Call::Start => start(word, arguments, found),
        Call::Delete | Call::DeleteTree => {
            let recursive = call == Call::DeleteTree || contains(&arguments.raw, b"recursive");
            let how = if word.starts_with(b"truncate") { Operation::Truncate } else { Operation::Remove };
            for path in paths(literals, arguments, before) {
                found.effects.push(Effect::Delete { path, recursive, how });
            }
        }
        Call::Write => {
            let mode = literals.get(1).map(Vec::as_slice).unwrap_or_default();
            if matches!(word, b"open" | b"fopen") {
                if word == b"open"
                    && literals
                        .iter()
                        .any(|part| part.starts_with(b"|") || part.ends_with(b"|") || *part == b"-|")
                {
                    let command = literals.last().cloned().unwrap_or_default();
                    let command: Vec<u8> = command.into_iter().filter(|byte| *byte != b'|').collect();
                    found.effects.push(shell(Value::known(command)));
                    return;
                }
                let reads = mode.is_empty()
                    || mode.starts_with(b"r") && !mode.contains(&b'+')
                    || mode.starts_with(b"<");
                let one_word = literals.first().is_some_and(|name| name.starts_with(b">"));
                if reads && !one_word {
                    found.effects.extend(
                        literals.first().map(|path| Effect::Read { path: Value::known(path.clone()) }),
                    );
                    return;
                }
            }
            let target = match word {
                b"copyfile" | b"copy" | b"move" | b"rename" | b"renameSync" | b"symlink" => literals.get(1),
                _ => literals.iter().find(|part| !matches!(part.as_slice(), b">" | b">>" | b"+<")),
            };
            let path = match target {
                Some(path) => {
                    path.iter().copied().skip_while(|byte| *byte == b'>' || *byte == b' ').collect()
                }
                None => receiver(before).unwrap_or_default(),
            };
            if !path.is_empty() {
                found.effects.push(Effect::Write { path: Value::known(path), how: Operation::Overwrite });
            }
            if matches!(word, b"move" | b"rename" | b"renameSync")
                && let Some(path) = literals.first()
            {
                let path = Value::known(path.clone());
                found.effects.push(Effect::Delete { path, recursive: true, how: Operation::Move });
            }
        }
        Call::Kill => {
            let raw: Vec<u8> =
                arguments.raw.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
            let numbers = raw.split(|byte| matches!(byte, b',' | b'(' | b')' | b'=' | b'>'));
            let everything = numbers.into_iter().any(|number| number == b"-1");
            let target =
                if everything { Value::known("-1") } else { super::words::unknown("a computed process") };
            found.effects.push(Effect::Kill { target, signal: Value::default() });
        }
        Call::Fork => {
            let loops = [b"while".as_slice(), b"for ", b"for(", b"loop", b"until", b"map", b"iter", b"goto"];
            if loops.iter().any(|word| contains(text, word)) {
                found.effects.push(Effect::Flood { what: "forks in a loop".to_owned() });
            }
        }
        Call::Hex => found.decoded.extend(literals.iter().filter_map(|literal| from_hex(literal))),
        Call::Base64 => found.decoded.extend(literals.iter().map(|literal| from_base64(literal))),
        Call::Http => {
            found
                .effects
                .extend(literals.first().map(|url| Effect::Fetch { url: Value::known(url.clone()) }));
        }
    }
}

fn start(word: &[u8], arguments: &Arguments, found: &mut Found) {
    let mut argv = arguments.literals.clone();
    // execlp("rm", "rm", "-rf", "/"): the second is argv[0]
    if word.starts_with(b"exec") || word.starts_with(b"spawn") {
        let name = |path: &[u8]| path.rsplit(|byte| *byte == b'/').next().map(<[u8]>::to_vec);
        if let [first, second, ..] = argv.as_slice()
            && name(first) == name(second)
        {
            argv.remove(1);
        }
    }
    // options of the call, not of the command
    argv.retain(|part| {
        !matches!(part.as_slice(), b"inherit" | b"pipe" | b"utf8" | b"utf-8" | b"buffer" | b"r" | b"w")
    });
    if word.starts_with(b"popen") && argv.len() > 1 && !arguments.list {
        argv.truncate(1);
    }
    match argv.as_slice() {
        [] => found.computed = true,
        [one] if !arguments.computed || !arguments.list => {
            found.computed |= arguments.computed;
            found.effects.push(shell(Value::known(one.clone())));
        }
        _ => {
            found.computed |= arguments.computed;
            found.effects.push(Effect::Exec {
                argv: argv.into_iter().map(Value::known).collect(),
                via: "code".to_owned(),
                target: Target::Here,
                assignments: Vec::new(),
                cwd: None,
            });
        }
    }
}

/// The paths of a deletion: its literals, what `glob` makes of them, or `Path("x")` in front of the call.
fn paths(literals: &[Vec<u8>], arguments: &Arguments, before: &[u8]) -> Vec<Value> {
    use crate::shell::Piece;
    if literals.is_empty() {
        return match receiver(before) {
            Some(path) => vec![Value::known(path)],
            None => vec![super::words::unknown("a computed path")],
        };
    }
    let globs = contains(&arguments.raw, b"glob") || contains(&arguments.raw, b"<");
    let pattern = |path: &Vec<u8>| {
        let active = globs && path.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['));
        if active { Value { pieces: vec![Piece::Glob(path.clone())] } } else { Value::known(path.clone()) }
    };
    literals.iter().map(pattern).collect()
}

/// `Path("x").` in front of a method.
fn receiver(before: &[u8]) -> Option<Vec<u8>> {
    let before = before.strip_suffix(b".")?;
    let before = before.strip_suffix(b")")?;
    let quote = *before.last().filter(|byte| matches!(byte, b'\'' | b'"'))?;
    let inner = before.get(..before.len() - 1)?;
    let start = inner.iter().rposition(|byte| *byte == quote)?;
    inner.get(start + 1..).map(<[u8]>::to_vec)
}

/// awk: `"command" | getline`, `print | "command"`, `print > "file"`.
fn awk_pipes(text: &[u8], found: &mut Found) {
    let mut at = 0;
    let mut last: Option<Vec<u8>> = None;
    let mut operator: Option<u8> = None;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => {
                let (literal, end) = quoted(text, at);
                match operator {
                    Some(b'|') => found.effects.push(shell(Value::known(literal.clone()))),
                    Some(b'>') if printing(text, at) => {
                        let path = Value::known(literal.clone());
                        found.effects.push(Effect::Write { path, how: Operation::Overwrite });
                    }
                    _ => {}
                }
                last = Some(literal);
                operator = None;
                at = end;
                continue;
            }
            b'|' if text.get(at + 1) == Some(&b'|') => at += 1,
            b'|' | b'>' => {
                let rest = text.get(at + 1..).unwrap_or_default().trim_ascii_start();
                if byte == b'|' && rest.starts_with(b"getline") {
                    match last.take() {
                        Some(command) => found.effects.push(shell(Value::known(command))),
                        None => found.computed = true,
                    }
                } else if byte == b'|' && !rest.starts_with(b"\"") && !rest.starts_with(b"&") {
                    found.computed = true;
                }
                operator = Some(byte);
            }
            b' ' | b'\t' | b'&' => {}
            _ => operator = None,
        }
        at += 1;
    }
    if contains(text, b"while") && contains(text, b"system") && contains(text, b"&") {
        found.effects.push(Effect::Flood { what: "starts commands in the background in a loop".to_owned() });
    }
}

/// Whether a `>` belongs to a print statement rather than to a comparison.
fn printing(text: &[u8], at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    let start =
        before.iter().rposition(|byte| matches!(byte, b'{' | b';' | b'\n' | b'}')).map_or(0, |at| at + 1);
    contains(before.get(start..).unwrap_or_default(), b"print")
}

/// Every quoted literal of a text.
pub(super) fn literals(text: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        if matches!(byte, b'\'' | b'"' | b'`') {
            let (literal, end) = quoted(text, at);
            found.push(literal);
            at = end;
        } else {
            at += 1;
        }
    }
    found
}

fn from_hex(literal: &[u8]) -> Option<Vec<u8>> {
    let digits: Vec<u8> = literal.iter().copied().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks_exact(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// Base64 of either alphabet, leniently: a decoder may be lenient too.
fn from_base64(literal: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut bits = 0_u32;
    let mut count = 0;
    for byte in literal {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => continue,
        };
        bits = (bits << 6 | u32::from(value)) & 0xFF_FFFF;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xFF).unwrap_or_default());
        }
    }
    bytes
}
