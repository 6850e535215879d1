//! What a text is given from outside, put where it asks for it: the words behind it (`sys.argv[1]`), and variables of the
//! environment that its command sets (`os.environ["X"]`).

use super::super::effect::Language;
use super::super::engine::Context;
use crate::shell::Value;

/// How many words and variables are put in, and how long the text may grow.
const MOST: usize = 16;
const LONGEST: usize = 1 << 16;

/// The text with what it is given.
pub(super) fn with_given(
    language: Language,
    text: Vec<u8>,
    original: &Value,
    context: &Context<'_>,
) -> Vec<u8> {
    let has = |part: &[u8]| memchr::memmem::find(&text, part).is_some();
    let asks = [b"argv".as_slice(), b"ARGV", b"environ", b"getenv", b"env", b"ENV"];
    let argv = &context.invocation.argv;
    if language == Language::Awk && argv.len() > 2 {
        return with_assigned(text, argv);
    }
    if !asks.into_iter().any(has) {
        return text;
    }
    let inline = argv.iter().position(|word| word == original);
    let standing = || {
        argv.iter().skip(1).position(|word| word.as_known() == Some(b"-") || !word.prefix().starts_with(b"-"))
    };
    let behind = inline.or_else(|| standing().map(|at| at + 1)).map_or(argv.len(), |at| at + 1);
    let words = argv.get(behind..).unwrap_or_default().iter().filter(|word| word.as_known() != Some(b"--"));
    let mut text = text;
    let mut put = |name: String, value: &[u8]| {
        if memchr::memmem::find(&text, name.as_bytes()).is_some() && text.len() + 8 * value.len() < LONGEST {
            text = replaced(&text, name.as_bytes(), &quoted(value, b'\''));
        }
    };
    for (at, word) in words.take(MOST).enumerate() {
        let Some(word) = word.as_known() else { continue };
        match language {
            Language::Python => put(format!("sys.argv[{}]", at + 1), word),
            Language::Ruby => put(format!("ARGV[{at}]"), word),
            Language::JavaScript => {
                put(format!("process.argv[{}]", at + if inline.is_some() { 1 } else { 2 }), word);
            }
            Language::Perl => put(format!("$ARGV[{at}]"), word),
            Language::Php => put(format!("$argv[{}]", at + 1), word),
            _ => {}
        }
    }
    let set = context.invocation.assignments.iter().chain(&context.invocation.exported);
    for (name, value) in set.take(MOST) {
        let Some(value) = value.as_known() else { continue };
        let forms: &[&str] = match language {
            Language::Python => &[
                "os.environ['X']",
                "os.environ[\"X\"]",
                "os.environ.get('X')",
                "os.environ.get(\"X\")",
                "os.getenv('X')",
                "os.getenv(\"X\")",
            ],
            Language::Ruby => &["ENV['X']", "ENV[\"X\"]"],
            Language::JavaScript => &["process.env.X", "process.env['X']", "process.env[\"X\"]"],
            Language::Perl => &["$ENV{X}", "$ENV{'X'}", "$ENV{\"X\"}"],
            Language::Php => &["getenv('X')", "getenv(\"X\")", "$_ENV['X']", "$_ENV[\"X\"]"],
            Language::Lua => &["os.getenv('X')", "os.getenv(\"X\")"],
            _ => &[],
        };
        for form in forms {
            put(form.replace('X', name), value);
        }
    }
    text
}

/// `awk -v name=value`: as if the text assigned it.
fn with_assigned(text: Vec<u8>, argv: &[Value]) -> Vec<u8> {
    let mut whole = Vec::new();
    let mut words = argv.iter().skip(1).filter_map(Value::as_known);
    while let Some(word) = words.next() {
        let setting = match word {
            b"-v" | b"--assign" => words.next(),
            _ => word.strip_prefix(b"-v").or(word.strip_prefix(b"--assign=")),
        };
        let Some((name, value)) = setting.and_then(|setting| {
            let at = setting.iter().position(|byte| *byte == b'=')?;
            Some((setting.get(..at)?, setting.get(at + 1..)?))
        }) else {
            continue;
        };
        if whole.len() + value.len() < LONGEST {
            whole.extend_from_slice(name);
            whole.push(b'=');
            whole.extend_from_slice(&quoted(value, b'"'));
            whole.push(b'\n');
        }
    }
    if whole.is_empty() {
        return text;
    }
    whole.extend_from_slice(&text);
    whole
}

fn quoted(value: &[u8], quote: u8) -> Vec<u8> {
    let mut literal = vec![quote];
    for byte in value {
        if matches!(byte, b'\\' | b'\'' | b'"') {
            literal.push(b'\\');
        }
        literal.push(*byte);
    }
    literal.push(quote);
    literal
}

fn replaced(text: &[u8], name: &[u8], with: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(text.len());
    let mut from = 0;
    for at in memchr::memmem::find_iter(text, name) {
        whole.extend_from_slice(text.get(from..at).unwrap_or_default());
        if whole.len() > LONGEST {
            return text.to_vec();
        }
        whole.extend_from_slice(with);
        from = at + name.len();
    }
    whole.extend_from_slice(text.get(from..).unwrap_or_default());
    whole
}
