//! Words: from parts to the fields that a program receives.

use std::collections::BTreeSet;

use super::super::ast::{Id, Part, PartKind, Script};
use super::super::{Dialect, Piece, Unknown, Value};
use super::arith::{self, Numbers};
use super::braces::{self, Chunk};
use super::escapes::ansi_c;
use super::field::Field;
use super::state::{CWD, Slot, hole};
use super::{Evaluator, Ix, TooMuch};

/// Names that are looked up for what one expression evaluates.
const MOST_NAMES: usize = 64;
/// Most expansions within expansions of one word: `${a:-${b:-...}}`.
const NESTING: usize = 20;

/// Fields under construction.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) done: Vec<Field>,
    pub(super) current: Field,
    /// Whether unquoted values are split.
    pub(super) split: bool,
    /// In an unquoted operand of `${x:-a b}`, whose own text is split too.
    pub(super) operand: bool,
    /// The word begins with a name and a `=`, behind which a tilde is expanded as in an assignment.
    pub(super) named: bool,
}

impl Fields {
    pub(super) fn next(&mut self) {
        let field = std::mem::take(&mut self.current);
        if !field.is_nothing() {
            self.done.push(field);
        }
    }
}

impl Evaluator<'_> {
    /// The arguments that a word becomes.
    pub(super) fn arguments(&mut self, script: &Script, ix: Ix, word: Id) -> Result<Vec<Value>, TooMuch> {
        match plain(script, word) {
            Some(value) => Ok(vec![value]),
            None => self.expanded(script, ix, word, false),
        }
    }

    /// The arguments that a word becomes in which something has to be expanded. `argument` where it stands in a command, in
    /// which bash expands the tilde of `env d=~` too.
    pub(super) fn expanded(
        &mut self,
        script: &Script,
        ix: Ix,
        word: Id,
        argument: bool,
    ) -> Result<Vec<Value>, TooMuch> {
        let parts = script.parts(word);
        // dash leaves braces alone, but on many machines sh is bash: the words that it makes of them are what matters, for
        // no file that anybody would miss is called `{a,b}`
        let expanded = braces::expand(script, parts).map_err(|()| TooMuch::Expansion)?;
        let mut fields = Fields { split: true, ..Fields::default() };
        match expanded {
            None => {
                let bash = self.context.dialect == Dialect::Bash && !self.posix;
                fields.named = argument && bash && named(script, parts).is_some();
                let assigned = fields.named;
                self.parts(script, ix, parts, &mut fields, true, assigned)?;
            }
            Some(words) => {
                self.spend(words.len())?;
                for chunks in words {
                    self.chunks(script, ix, &chunks, &mut fields)?;
                    fields.next();
                }
            }
        }
        fields.next();
        let extglob = self.extglob;
        let values: Vec<Value> = fields.done.into_iter().map(|field| field.globbed(extglob)).collect();
        self.spend(values.len() + values.iter().map(Value::weight).sum::<usize>() / 64)?;
        Ok(values)
    }

    /// A word that stays one: the value of an assignment, the target of a redirection, a here-document.
    pub(super) fn single(
        &mut self,
        script: &Script,
        ix: Ix,
        word: Id,
        assigned: bool,
    ) -> Result<Value, TooMuch> {
        let value = self.field(script, ix, word, assigned)?.plain();
        self.spend(value.weight() / 64)?;
        Ok(value)
    }

    pub(super) fn field(
        &mut self,
        script: &Script,
        ix: Ix,
        word: Id,
        assigned: bool,
    ) -> Result<Field, TooMuch> {
        let mut fields = Fields::default();
        self.parts(script, ix, script.parts(word), &mut fields, true, assigned)?;
        Ok(fields.current)
    }

    /// An argument of `export` and its kin that is an assignment: one word, with its name.
    pub(super) fn declared(&mut self, script: &Script, ix: Ix, word: Id) -> Result<Value, TooMuch> {
        let mut fields = Fields { named: true, ..Fields::default() };
        self.parts(script, ix, script.parts(word), &mut fields, true, true)?;
        let value = fields.current.plain();
        self.spend(value.weight() / 64)?;
        Ok(value)
    }

    pub(super) fn parts(
        &mut self,
        script: &Script,
        ix: Ix,
        parts: &[Part],
        fields: &mut Fields,
        start: bool,
        assigned: bool,
    ) -> Result<(), TooMuch> {
        // Expansions within expansions of one word are the one thing here that nests on the native stack.
        self.nesting += 1;
        if self.nesting > NESTING {
            return Err(TooMuch::Expansion);
        }
        let mut joined: Option<Vec<u8>> = None;
        for (index, part) in parts.iter().enumerate() {
            match part.kind {
                PartKind::Literal if part.quoted => fields.current.text(script.bytes(part.span), true),
                PartKind::Literal => {
                    let next = parts.get(index + 1);
                    let bytes = script.bytes(part.span);
                    if next.is_some_and(|next| next.kind == PartKind::Literal && !next.quoted) {
                        // A line continuation stands between them, which is nothing.
                        joined.get_or_insert_default().extend_from_slice(bytes);
                        continue;
                    }
                    let whole = joined.take().map(|mut joined| {
                        joined.extend_from_slice(bytes);
                        joined
                    });
                    let first = start
                        && parts
                            .iter()
                            .take(index)
                            .all(|part| part.kind == PartKind::Literal && !part.quoted);
                    self.unquoted(whole.as_deref().unwrap_or(bytes), fields, first, next.is_none(), assigned);
                }
                PartKind::AnsiC => fields.current.text(&ansi_c(script.bytes(part.span)), true),
                PartKind::Param(id) => {
                    if let Some(param) = script.params.get(id as usize).copied() {
                        self.spend(1)?;
                        self.parameter(script, ix, &param, part, id, fields)?;
                    }
                }
                PartKind::Command(list) => {
                    let source = source(script, part);
                    let value = self.substituted(ix, list, &source);
                    self.put(&value, part.quoted, fields);
                }
                PartKind::Process { list, .. } => {
                    let path = self.process_path(ix, list);
                    fields.current.text(&path, true);
                }
                PartKind::Arith(word) => {
                    let value = self.arithmetic(script, ix, word)?;
                    self.put(&value, part.quoted, fields);
                }
            }
        }
        self.nesting -= 1;
        Ok(())
    }

    /// Text outside quotes: tildes are expanded.
    fn unquoted(&mut self, bytes: &[u8], fields: &mut Fields, start: bool, last: bool, assigned: bool) {
        if bytes.contains(&b'~') {
            self.tilde(bytes, fields, start, last, assigned);
        } else if fields.operand && fields.split {
            self.put(&Value::known(bytes), false, fields);
        } else {
            fields.current.text(bytes, false);
        }
    }

    /// A word that brace expansion made. bash expands braces in the text, before it looks at anything else: what they bring
    /// together is read as if it had been written so, and `$x{a,b}` is `$xa $xb`.
    fn chunks(
        &mut self,
        script: &Script,
        ix: Ix,
        chunks: &[Chunk],
        fields: &mut Fields,
    ) -> Result<(), TooMuch> {
        let mut index = 0;
        while let Some(chunk) = chunks.get(index) {
            let text = run(script, chunks.get(index..).unwrap_or(&[]));
            if text.chunks > 0 {
                let first = index == 0;
                index += text.chunks;
                let last = index == chunks.len();
                if makes_expansion(&text.bytes, last) {
                    let source = String::from_utf8_lossy(&text.bytes).into_owned();
                    fields.current.value(&hole(&source, false), false);
                } else {
                    self.unquoted(&text.bytes, fields, first, last, false);
                }
                continue;
            }
            index += 1;
            let Chunk::Part(part) = chunk else { continue };
            let next = run(script, chunks.get(index..).unwrap_or(&[]));
            let more =
                next.bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
            match plain_name(script, part) {
                Some(name) if more > 0 => {
                    let (more, rest) = next.bytes.split_at(more);
                    let name = String::from_utf8_lossy(&[name, more].concat()).into_owned();
                    let value = self.element(&name, None).unwrap_or_else(|| hole(&format!("${name}"), true));
                    self.put(&value, part.quoted, fields);
                    index += next.chunks;
                    self.unquoted(rest, fields, false, index == chunks.len(), false);
                }
                _ => self.parts(script, ix, std::slice::from_ref(part), fields, index == 1, false)?,
            }
        }
        Ok(())
    }

    /// Adds a value, split at IFS where that applies.
    pub(super) fn put(&mut self, value: &Value, quoted: bool, fields: &mut Fields) {
        if quoted || !fields.split {
            let kept = fields.current.quoted;
            fields.current.value(value, quoted);
            fields.current.quoted = kept || quoted;
            return;
        }
        let ifs = match self.slot("IFS") {
            Slot::Scalar(value) => value.as_known().map(<[u8]>::to_vec),
            _ => Some(b" \t\n".to_vec()),
        };
        for piece in &value.pieces {
            match piece {
                Piece::Known(bytes) => match &ifs {
                    Some(ifs) => split(bytes, ifs, fields),
                    None => fields.current.value(&hole("$IFS", false), false),
                },
                Piece::Glob(bytes) => fields.current.bits.push(super::field::Bit::Glob(bytes.clone())),
                Piece::Unknown(unknown) => {
                    let unknown = Unknown { splits: true, ..Unknown::clone(unknown) };
                    fields.current.bits.push(super::field::Bit::Hole(unknown));
                }
            }
        }
    }

    /// `~`, `~/x`, `~name`, at the start of a word and, in assignments, behind colons.
    fn tilde(&mut self, bytes: &[u8], fields: &mut Fields, start: bool, last: bool, assigned: bool) {
        let mut first = start;
        // what stands behind `name=` is the start of the value
        let front = if fields.named && start { bytes.iter().position(|byte| *byte == b'=') } else { None };
        let (front, bytes) = bytes.split_at(front.map_or(0, |at| at + 1));
        fields.current.text(front, false);
        let segments = bytes.split_inclusive(|byte| assigned && *byte == b':');
        for segment in segments {
            let active =
                first || assigned && !std::ptr::eq(segment, bytes) && segment.as_ptr() != bytes.as_ptr();
            first = false;
            let Some(rest) = segment.strip_prefix(b"~").filter(|_| active) else {
                fields.current.text(segment, false);
                continue;
            };
            let length = rest.iter().take_while(|byte| !matches!(byte, b'/' | b':')).count();
            let (name, tail) = rest.split_at(length);
            if tail.is_empty() && !last {
                // `~"x"` and `~$x` are no tilde prefixes.
                fields.current.text(segment, false);
                continue;
            }
            match name {
                b"" => {
                    let home = self.variable_value("HOME");
                    fields.current.value(&home, true);
                }
                b"+" => {
                    let cwd = self.variable_value(CWD);
                    fields.current.value(&cwd, true);
                }
                b"-" => match self.element("OLDPWD", None) {
                    Some(old) => fields.current.value(&old, true),
                    None => fields.current.text(b"~-", false),
                },
                name => match std::str::from_utf8(name).ok().and_then(|name| self.home_of(name)) {
                    Some(home) => fields.current.text(home.as_bytes(), true),
                    None => {
                        let source = format!("~{}", String::from_utf8_lossy(name));
                        let unknown = Unknown { source, ..Unknown::default() };
                        fields.current.value(&Value::unknown(unknown), true);
                    }
                },
            }
            fields.current.text(tail, false);
        }
    }

    fn home_of(&self, name: &str) -> Option<String> {
        if name == self.context.user {
            return Some(self.context.home.clone().into_owned());
        }
        match self.context.homes.get(name) {
            Some(home) => Some(home.clone()),
            None if name == "root" => Some("/root".to_owned()),
            // Whoever it is: a tilde and a name stand for a home, and homes are in one place.
            None if is_account(name) => Some(match self.context.home.rsplit_once('/') {
                Some((_, own)) if own == name => self.context.home.clone().into_owned(),
                _ => format!("/home/{name}"),
            }),
            None => None,
        }
    }

    /// An arithmetic expression's value.
    pub(super) fn arithmetic(&mut self, script: &Script, ix: Ix, word: Id) -> Result<Value, TooMuch> {
        self.spend(1)?;
        let text = self.single(script, ix, word, false)?;
        let source = String::from_utf8_lossy(
            script.bytes(script.word(word).map(|word| word.span).unwrap_or_default()),
        );
        let source = format!("$(({source}))");
        Ok(match text.as_known() {
            Some(bytes) => {
                self.check_names(bytes);
                match arith::evaluate(bytes, self) {
                    Some(number) => Value::known(number.to_string()),
                    None => Value::unknown(Unknown { source, ..Unknown::default() }),
                }
            }
            None => Value::unknown(Unknown { source, ..Unknown::default() }),
        })
    }

    /// Arithmetic evaluates what variables hold: a value such as `a[$(cmd)]` runs the command.
    pub(super) fn check_names(&mut self, text: &[u8]) {
        let mut seen = BTreeSet::new();
        let mut texts = vec![text.to_vec()];
        while let Some(text) = texts.pop() {
            self.debt += 1 + text.len() / 16 + if seen.is_empty() { 0 } else { 4 };
            let Ok(text) = std::str::from_utf8(&text) else { continue };
            self.reparse_value(text, "a subscript");
            if !self.changed_variables {
                continue;
            }
            let names = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
            let named = |name: &&str| name.starts_with(|first: char| !first.is_ascii_digit());
            for name in names.filter(named) {
                if seen.len() >= MOST_NAMES || !seen.insert(name.to_owned()) {
                    continue;
                }
                for slot in self.variables.get(name).into_iter().flatten() {
                    match slot {
                        Slot::Scalar(value) => texts.extend(value.as_known().map(<[u8]>::to_vec)),
                        Slot::Array(items) => {
                            let values = items.iter().filter_map(|(_, value)| value.as_known());
                            texts.extend(values.map(<[u8]>::to_vec));
                        }
                        Slot::Reference(target) => texts.push(target.clone().into_bytes()),
                        Slot::Unset => {}
                    }
                }
            }
        }
    }

    /// A variable's value, or that of one element; `None` where it is unset.
    pub(super) fn element(&mut self, name: &str, subscript: Option<&Value>) -> Option<Value> {
        if let Ok(index) = name.parse::<usize>() {
            if index == 0 {
                return Some(self.zero());
            }
            return match self.slot("@") {
                // behind what may be any number of words nobody knows the numbers
                Slot::Array(items) if items.iter().take(index - 1).any(|(_, value)| value.splits()) => {
                    Some(hole(&format!("${name}"), false))
                }
                Slot::Array(items) => items
                    .get(index - 1)
                    .map(|(_, value)| value.clone())
                    .or_else(|| Some(hole(&format!("${name}"), true))),
                Slot::Scalar(all) => Some(hole(&format!("${name}"), all.has_unset())),
                _ => Some(hole(&format!("${name}"), true)),
            };
        }
        match (name, self.slot(name)) {
            ("#", _) => Some(match self.slot("@") {
                Slot::Array(items) if !items.iter().any(|(_, value)| value.splits()) => {
                    Value::known(items.len().to_string())
                }
                _ => Value::unknown(Unknown { source: "$#".to_owned(), ..Unknown::default() }),
            }),
            (_, Slot::Unset) => None,
            (_, Slot::Scalar(value)) => match subscript.map(Value::as_known) {
                None | Some(Some(b"0")) => Some(value),
                Some(Some(_)) => None,
                Some(None) => Some(hole(&format!("${{{name}}}"), false)),
            },
            (_, Slot::Array(items)) => {
                let key = match subscript {
                    None => b"0".to_vec(),
                    Some(subscript) => {
                        let Some(key) = subscript.as_known() else {
                            return Some(hole(&format!("${{{name}}}"), false));
                        };
                        if items.iter().any(|(known, _)| known == key) {
                            key.to_vec()
                        } else {
                            match arith::evaluate(key, self) {
                                Some(index) if index < 0 => {
                                    let last = items.last().and_then(|(key, _)| {
                                        std::str::from_utf8(key).ok()?.parse::<i64>().ok()
                                    });
                                    last.map(|last| last.saturating_add(1).saturating_add(index))
                                        .unwrap_or(index)
                                        .to_string()
                                        .into_bytes()
                                }
                                Some(index) => index.to_string().into_bytes(),
                                None => return Some(hole(&format!("${{{name}}}"), false)),
                            }
                        }
                    }
                };
                let index = super::simple::index_of(&key);
                let before = |known: &[u8]| super::simple::index_of(known) < index;
                if items.iter().any(|(known, value)| value.splits() && before(known)) {
                    return Some(hole(&format!("${{{name}}}"), false));
                }
                items.into_iter().find(|(known, _)| *known == key).map(|(_, value)| value)
            }
            (_, Slot::Reference(_)) => Some(hole(&format!("${name}"), false)),
        }
    }
}

impl Numbers for Evaluator<'_> {
    fn number(&mut self, name: &str) -> Option<i64> {
        // What the same command has assigned.
        let assigned = self.deferred.iter().rev().find(|(known, _)| known == name);
        let slot = match assigned {
            Some((_, slot)) => slot.clone(),
            None => self.slot(name),
        };
        match slot {
            Slot::Unset => {
                if self.context.others_unset {
                    Some(0)
                } else {
                    None
                }
            }
            Slot::Scalar(value) => {
                let text = value.as_str()?.trim();
                if text.is_empty() {
                    Some(0)
                } else {
                    arith::parse_number(text.strip_prefix('-').unwrap_or(text))
                        .map(|number| if text.starts_with('-') { number.wrapping_neg() } else { number })
                }
            }
            _ => None,
        }
    }

    fn fail(&mut self) {
        self.ends_line();
    }

    fn assign(&mut self, name: &str, value: Option<i64>) {
        let slot = match value {
            Some(value) => Slot::Scalar(Value::known(value.to_string())),
            None => {
                Slot::Scalar(Value::unknown(Unknown { source: format!("${name}"), ..Unknown::default() }))
            }
        };
        self.deferred.push((name.to_owned(), slot));
    }
}

/// The name in front of the `=` of a word that looks like an assignment.
fn named<'s>(script: &'s Script, parts: &[Part]) -> Option<&'s [u8]> {
    let [Part { kind: PartKind::Literal, quoted: false, span }, ..] = parts else { return None };
    let text = script.bytes(*span);
    let (front, _) = text.split_at(text.iter().position(|byte| *byte == b'=')?);
    let name = front.strip_suffix(b"+").unwrap_or(front);
    let name = name.split(|byte| *byte == b'[').next()?;
    let starts = name.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
    let all = name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    (starts && all).then_some(name)
}

/// Unquoted text at the start of chunks.
struct Run {
    bytes: Vec<u8>,
    chunks: usize,
}

fn run(script: &Script, chunks: &[Chunk]) -> Run {
    let mut run = Run { bytes: Vec::new(), chunks: 0 };
    for chunk in chunks {
        match chunk {
            Chunk::Part(part) if part.kind == PartKind::Literal && !part.quoted => {
                run.bytes.extend_from_slice(script.bytes(part.span));
            }
            Chunk::Made(bytes) => run.bytes.extend_from_slice(bytes),
            Chunk::Part(_) => break,
        }
        run.chunks += 1;
    }
    run
}

/// Whether text has a `$` that begins an expansion: braces have brought it together with what stands behind.
fn makes_expansion(text: &[u8], last: bool) -> bool {
    let begins = |byte: u8| byte.is_ascii_alphanumeric() || b"_@*#?-$!{([".contains(&byte);
    let inside = text.windows(2).any(|pair| matches!(pair, [b'$', next] if begins(*next)));
    inside || !last && text.last() == Some(&b'$')
}

/// The name of a plain `$name`.
fn plain_name<'s>(script: &'s Script, part: &Part) -> Option<&'s [u8]> {
    let PartKind::Param(_) = part.kind else { return None };
    let name = script.bytes(part.span).strip_prefix(b"$")?;
    let starts = name.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
    starts.then_some(name).filter(|_| !part.quoted)
}

pub(super) fn source(script: &Script, part: &Part) -> String {
    let text = String::from_utf8_lossy(script.bytes(part.span));
    if text.chars().count() > 80 {
        text.chars().take(77).chain("...".chars()).collect()
    } else {
        text.into_owned()
    }
}

pub(super) fn split(bytes: &[u8], ifs: &[u8], fields: &mut Fields) {
    let mut run = Vec::new();
    // blanks have ended a field, and a separator behind them ends the same one
    let mut blanks = false;
    for byte in bytes {
        if !ifs.contains(byte) {
            run.push(*byte);
            blanks = false;
            continue;
        }
        fields.current.text(&run, false);
        run.clear();
        let blank = byte.is_ascii_whitespace();
        if !blank && fields.current.is_nothing() && !blanks {
            // A separator that is no blank ends a field also where nothing stands in it.
            fields.current.quoted = true;
        }
        blanks = blank && (blanks || !fields.current.is_nothing());
        fields.next();
    }
    fields.current.text(&run, false);
}

/// Whether a name is one that an account may have (useradd(8)).
fn is_account(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_')
        && bytes.all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.')
        })
}

/// The one argument that a word is in which nothing is to be expanded: by far the most.
pub(super) fn plain(script: &Script, word: Id) -> Option<Value> {
    let [Part { kind: PartKind::Literal, quoted, span }] = script.parts(word) else { return None };
    let bytes = script.bytes(*span);
    let plain = |byte: &u8| !matches!(byte, b'*' | b'?' | b'[' | b'~' | b'{' | b'(');
    (*quoted || bytes.iter().all(plain)).then(|| Value::known(bytes))
}
