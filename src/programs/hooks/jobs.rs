//! Programs that make command lines of what they read: `xargs`, `parallel`, `crontab`.

use super::super::effect::{Effect, Language, Operation, Target};
use super::super::engine::{self, Context};
use super::super::grammar::Parsed;
use super::super::knowledge::Program;
use super::super::{elsewhere, words};
use super::find::replaced;
use super::{MAX_COMMANDS, exec};
use crate::shell::{Dialect, Input, Piece, Unknown, Value};

/// What the words of a command stand for that `xargs` takes from its standard input.
pub const READ: &str = "what xargs reads";

/// Words that only standard input knows: as many as there are, and any of them may be an option.
fn later(source: &str) -> Value {
    Value::unknown(Unknown {
        source: source.to_owned(),
        may_be_empty: true,
        splits: true,
        ..Unknown::default()
    })
}

/// Adds what `xargs` starts.
pub(super) fn xargs(
    program: &Program,
    arguments: &[Value],
    context: &Context<'_>,
    effects: &mut Vec<Effect>,
) {
    let parsed = program.grammar.parse(arguments);
    if parsed.help {
        return;
    }
    for word in &parsed.unread {
        effects.push(Effect::Unreadable { program: program.name.clone(), word: word.clone() });
        engine::guess(context.argv, context.knowledge, effects);
    }
    let option = |name: &str| program.grammar.find(name).filter(|id| parsed.has(*id));
    let value = |name: &str| program.grammar.find(name).and_then(|id| parsed.values(id).last());
    let hole = match (value("-I"), option("-i")) {
        (Some(hole), _) => hole.as_known().map(<[u8]>::to_vec),
        (None, Some(_)) => Some(value("-i").and_then(Value::as_known).unwrap_or(b"{}").to_vec()),
        (None, None) => None,
    };
    // `xargs -a <(...)`
    let standard = |file: &&Value| {
        matches!(file.as_known(), Some(b"-" | b"/dev/stdin" | b"/dev/fd/0" | b"/proc/self/fd/0"))
    };
    let file = value("-a").filter(|file| !standard(file));
    effects.extend(file.map(|file| Effect::Read { path: file.clone() }));
    let given = context.invocation.files.iter().find(|(name, _)| Some(name) == file).map(|(_, input)| input);
    let input = match given.unwrap_or(&context.invocation.stdin) {
        Input::Known(bytes) if file.is_none() || given.is_some() => {
            items(bytes, &parsed, program, hole.is_some() || option("-L").is_some())
        }
        // what the program in front prints, as far as it is known
        Input::Text(text) if file.is_none() || given.is_some() => Some(vec![without_end(text)]),
        _ => None,
    };
    if value("-P").is_some_and(is_unbounded) && is_endless(&context.invocation.stdin) {
        effects.push(Effect::Flood { what: "xargs -P 0".to_owned() });
    }
    let Some(input) = input else {
        let unknown = file.map_or_else(|| later(READ), |file| later(&format!("the words in {file}")));
        effects.push(exec(filled(&parsed, hole.as_deref(), &[unknown]), "xargs"));
        return;
    };
    let size = if hole.is_some() {
        1
    } else {
        let number = value("-n").or(value("-L")).and_then(Value::as_str).and_then(|text| text.parse().ok());
        number.unwrap_or(usize::MAX).max(1)
    };
    if parsed.operands.is_empty() && option("-p").is_none() {
        // without a command xargs prints
        return;
    }
    let chunks: Vec<&[Value]> = if input.is_empty() { vec![&[]] } else { input.chunks(size).collect() };
    for chunk in chunks.iter().take(MAX_COMMANDS) {
        effects.push(exec(filled(&parsed, hole.as_deref(), chunk), "xargs"));
    }
    if chunks.len() > MAX_COMMANDS {
        effects.push(exec(filled(&parsed, None, &input), "xargs"));
    }
}

/// Whether a number of jobs at once is none, which is as many as there are, or more than a machine may bear.
fn is_unbounded(jobs: &Value) -> bool {
    jobs.as_str().and_then(|jobs| jobs.parse::<u64>().ok()).is_some_and(|jobs| jobs == 0 || jobs > 1000)
}

/// Whether standard input brings words without end.
fn is_endless(stdin: &Input) -> bool {
    matches!(stdin, Input::Text(text) if *text == super::super::output::endless())
}

/// A text without the line end that a program prints last.
fn without_end(text: &Value) -> Value {
    let mut text = text.clone();
    if let Some(Piece::Known(bytes)) = text.pieces.last_mut() {
        bytes.truncate(bytes.trim_ascii_end().len());
        if bytes.is_empty() {
            text.pieces.pop();
        }
    }
    text
}

/// The items of a known input, by the rules that the options choose; `None` when a quote in it does not end.
fn items(bytes: &[u8], parsed: &Parsed, program: &Program, lines: bool) -> Option<Vec<Value>> {
    let has = |name: &str| program.grammar.find(name).is_some_and(|id| parsed.has(id));
    let separated = |separator: u8| {
        let parts = bytes.split(move |byte| *byte == separator);
        parts.filter(|part| !part.is_empty()).map(Value::known).collect()
    };
    if has("-0") {
        return Some(separated(0));
    }
    if let Some(delimiter) = program.grammar.find("-d").and_then(|id| parsed.values(id).last()) {
        return match delimiter.as_known()? {
            b"\\n" => Some(separated(b'\n')),
            b"\\0" => Some(separated(0)),
            b"\\t" => Some(separated(b'\t')),
            [byte] => Some(separated(*byte)),
            _ => None,
        };
    }
    if lines {
        return Some(separated(b'\n'));
    }
    words::split(bytes)
}

fn filled(parsed: &Parsed, hole: Option<&[u8]>, items: &[Value]) -> Vec<Value> {
    match (hole, items.first()) {
        (Some(hole), Some(item)) => parsed.operands.iter().map(|word| replaced(word, hole, item)).collect(),
        _ => parsed.operands.iter().chain(items).cloned().collect(),
    }
}

/// What stands for an item in a command of `parallel`.
const HOLES: [&str; 7] = ["{}", "{.}", "{/}", "{//}", "{/.}", "{1}", "{2}"];

/// Adds what GNU `parallel` starts: its command is text for a shell.
pub(super) fn parallel(
    program: &Program,
    arguments: &[Value],
    context: &Context<'_>,
    effects: &mut Vec<Effect>,
) {
    let parsed = program.grammar.parse(arguments);
    if parsed.help {
        return;
    }
    let values =
        |name: &str| program.grammar.find(name).into_iter().flat_map(|id| parsed.values(id).cloned());
    let results = values("--results").chain(values("--joblog"));
    effects.extend(results.map(|path| Effect::Write { path, how: Operation::Create }));
    effects.extend(values("-a").map(|path| Effect::Read { path }));
    let jobs = program.grammar.find("-j").and_then(|id| parsed.values(id).last());
    if jobs.is_some_and(is_unbounded) && is_endless(&context.invocation.stdin) {
        effects.push(Effect::Flood { what: "parallel -j 0".to_owned() });
    }
    let is_source = |word: &&Value| word.as_known().is_some_and(|word| word.starts_with(b":::"));
    let command: Vec<Value> = parsed.operands.iter().take_while(|word| !is_source(word)).cloned().collect();
    let mut items: Vec<Value> = Vec::new();
    let mut from_file = false;
    for word in parsed.operands.iter().skip(command.len()) {
        match word.as_known() {
            Some(b":::" | b":::+") => from_file = false,
            Some(b"::::" | b"::::+") => from_file = true,
            _ if from_file => items.push(words::unknown(&format!("a line of {word}"))),
            _ => items.push(word.clone()),
        }
    }
    let given = !items.is_empty();
    let endless =
        matches!(&context.invocation.stdin, Input::Text(text) if *text == super::super::output::endless());
    let jobs = program.grammar.find("-j").and_then(|id| parsed.values(id).last());
    if endless && !given && jobs.and_then(Value::as_known) == Some(b"0") {
        effects.push(Effect::Flood { what: "parallel -j 0".to_owned() });
    }
    if items.is_empty() {
        items = match &context.invocation.stdin {
            Input::Known(bytes) => {
                bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(Value::known).collect()
            }
            _ => vec![later("what parallel reads")],
        };
    }
    let before = effects.len();
    let text = words::join(&command);
    if items.len() > MAX_COMMANDS {
        items = vec![words::join(&items)];
    }
    // `{=...=}` is Perl.
    let in_perl = |word: &Value| {
        word.pieces
            .iter()
            .any(|piece| matches!(piece, Piece::Known(text) if text.windows(2).any(|pair| pair == b"{=")))
    };
    if let Some(word) = command.iter().find(|word| in_perl(word)) {
        effects.push(Effect::Unreadable { program: program.name.clone(), word: word.clone() });
    }
    // Unless it is told not to, it quotes what it reads: each is one word of a plain command line.
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b" _./,:=@%+-{}".contains(byte);
    let is_plain = text.as_known().is_some_and(|text| {
        !text.is_empty() && text.iter().all(plain) && !text.windows(2).any(|pair| pair == b"{=")
    });
    let as_text = ["--pipe", "-q", "-m", "-X", "--xargs", "--colsep", "-C", "--arg-sep"];
    let asked = |name: &str| program.grammar.find(name).is_some_and(|id| parsed.has(id));
    if is_plain
        && !as_text.iter().any(|name| asked(name))
        && matches!(items.as_slice(), [item] if item.as_known().is_none())
    {
        let mut argv: Vec<Value> = text.as_known().and_then(words::split).unwrap_or_default();
        let has_hole = argv.iter().any(|word| word.prefix().contains(&b'{'));
        for word in &mut argv {
            for hole in HOLES {
                *word =
                    items.first().map_or_else(Value::default, |item| replaced(word, hole.as_bytes(), item));
            }
        }
        if !has_hole {
            argv.append(&mut items);
        }
        effects.push(exec(argv, "parallel"));
        items.clear();
    }
    for item in items {
        let has_hole =
            text.pieces.iter().any(|piece| matches!(piece, Piece::Known(bytes) if bytes.contains(&b'{')));
        let line = match (command.is_empty(), has_hole) {
            (true, _) => item,
            (false, true) => {
                let mut line = text.clone();
                for hole in HOLES {
                    line = replaced(&line, hole.as_bytes(), &item);
                }
                line
            }
            (false, false) => words::concat(&[&text, &Value::known(" "), &item]),
        };
        effects.push(Effect::Script {
            language: Language::Shell(Dialect::Bash),
            text: line,
            target: Target::Here,
            arguments: Vec::new(),
        });
    }
    if let Some(directory) = program.grammar.find("--wd").and_then(|id| parsed.values(id).last()) {
        elsewhere::happen_in(directory, effects.get_mut(before..).unwrap_or_default());
    }
}

/// Adds the commands of a table that `crontab` reads from its standard input. `false`: the table of the program says
/// the rest.
pub(super) fn crontab(
    program: &Program,
    arguments: &[Value],
    context: &Context<'_>,
    effects: &mut Vec<Effect>,
) -> bool {
    let parsed = program.grammar.parse(arguments);
    let named = parsed.operands.first().is_some_and(|word| !matches!(word.as_known(), Some(b"-")));
    let looks =
        ["-l", "-r", "-e"].iter().any(|name| program.grammar.find(name).is_some_and(|id| parsed.has(id)));
    if named || looks || parsed.help {
        return false;
    }
    let text = engine::stdin_text(&context.invocation.stdin);
    for piece in &text.pieces {
        match piece {
            Piece::Known(bytes) => {
                for line in bytes.split(|byte| *byte == b'\n') {
                    effects.extend(cron_command(line, false).map(script));
                }
            }
            _ => effects.push(script(words::unknown("the lines of the crontab"))),
        }
    }
    effects.push(Effect::Service { action: "schedule".to_owned(), name: Value::known("crontab") });
    true
}

/// The command of a line of a crontab(5); in the system's a user stands before it.
pub(crate) fn cron_command(line: &[u8], user: bool) -> Option<Value> {
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with(b"#") {
        return None;
    }
    let mut rest = line;
    for _ in 0..if line.starts_with(b"@") { 1 } else { 5 } + usize::from(user) {
        let end = rest.iter().position(u8::is_ascii_whitespace)?;
        rest = rest.get(end..)?.trim_ascii_start();
    }
    Some(Value::known(rest))
}

fn script(text: Value) -> Effect {
    Effect::Script {
        language: Language::Shell(Dialect::Posix),
        text,
        target: Target::Here,
        arguments: Vec::new(),
    }
}
