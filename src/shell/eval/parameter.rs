//! Parameter expansion: `$x`, `${x...}` and their operators.

use super::super::ast::{Id, Op, Param, Part, Script};
use super::super::{Piece, Unknown, Value};
use super::arith;
use super::escapes::ansi_c;
use super::expand::{Fields, source};
use super::field::{Bit, Field, Pattern};
use super::replacement;
use super::simple::index_of;
use super::state::{Slot, hole};
use super::{Evaluator, Ix, TooMuch, numbered};

/// What `${x?}` and `${x:?}` stand for wherever the shell goes on.
fn passed(value: Option<Value>, colon: bool, source: &str) -> Value {
    let mut value =
        value.filter(|value| !(colon && value.pieces.is_empty())).unwrap_or_else(|| hole(source, false));
    if let [Piece::Unknown(unknown)] = value.pieces.as_mut_slice() {
        unknown.unset = false;
        unknown.may_be_empty &= !colon;
    }
    value
}

impl Evaluator<'_> {
    pub(super) fn parameter(
        &mut self,
        script: &Script,
        ix: Ix,
        param: &Param,
        part: &Part,
        id: Id,
        fields: &mut Fields,
    ) -> Result<(), TooMuch> {
        let mut name = String::from_utf8_lossy(script.bytes(param.name)).into_owned();
        let source = source(script, part);
        let all = |subscript: &[u8]| matches!(subscript, b"@" | b"*");
        let mut subscript = match param.subscript {
            Some(word) => Some(self.single(script, ix, word, false)?),
            None => None,
        };
        if param.op == Op::Names {
            self.put(&hole(&source, false), part.quoted, fields);
            return Ok(());
        }
        if param.indirect {
            let keys = subscript.as_ref().and_then(Value::as_known).is_some_and(all);
            if keys {
                if let Slot::Array(items) = self.slot(&name) {
                    for (index, (key, _)) in items.iter().enumerate() {
                        if index > 0 {
                            fields.next();
                        }
                        fields.current.text(key, true);
                    }
                    return Ok(());
                }
                self.put(&hole(&source, false), part.quoted, fields);
                return Ok(());
            }
            let target = self.element(&name, subscript.as_ref());
            if target.as_ref().is_none_or(|target| target.as_known().is_some_and(|name| !is_parameter(name)))
            {
                self.ends_line();
            }
            let target = target.unwrap_or_else(|| hole(&source, true));
            let Some(target) = target.as_str().map(str::to_owned) else {
                self.put(&hole(&source, false), part.quoted, fields);
                return Ok(());
            };
            match target.strip_suffix(']').and_then(|target| target.split_once('[')) {
                Some((array, index)) => {
                    self.reparse_subscript(&target);
                    name = array.to_owned();
                    subscript = Some(Value::known(index.as_bytes()));
                }
                None => {
                    name = target;
                    subscript = None;
                }
            }
        }
        if let Some(key) = subscript.as_ref().and_then(Value::as_known).filter(|key| !all(key)) {
            let key = key.to_vec();
            self.check_names(&key);
        }
        let range = match param.operand {
            Some(operand) if param.op == Op::Substring => self.single(script, ix, operand, false)?,
            _ => Value::default(),
        };
        if let Some(text) = range.as_known() {
            self.check_names(text);
        }
        // The words of an array or of the positional parameters.
        let many = matches!(name.as_str(), "@" | "*")
            || subscript.as_ref().and_then(Value::as_known).is_some_and(all);
        // A plain variable is no array of characters: `${x[@]:1}` is `${x:1}`.
        let scalar = many
            && param.op == Op::Substring
            && !matches!(name.as_str(), "@" | "*")
            && matches!(self.slot(&name), Slot::Scalar(_));
        if scalar {
            subscript = None;
        }
        // What an array is called and what it is made of.
        if many && matches!(param.op, Op::Transform(b'A' | b'K' | b'k' | b'a')) {
            self.put(&hole(&source, false), part.quoted, fields);
            return Ok(());
        }
        if many && !scalar {
            let array = if matches!(name.as_str(), "@" | "*") { "@".to_owned() } else { name.clone() };
            let star = if array == "@" {
                name == "*"
            } else {
                subscript.as_ref().and_then(Value::as_known) == Some(b"*")
            };
            let kept = match self.slot(&array) {
                Slot::Array(items) => Some(items),
                Slot::Scalar(value) if array != "@" => Some(numbered(vec![value], 0)),
                Slot::Unset if array != "@" => Some(Vec::new()),
                _ => None,
            };
            let kept = match (param.op, kept) {
                (Op::Substring, Some(mut items)) => {
                    if array == "@" {
                        // Positional parameters count from `$0`.
                        items.insert(0, (b"0".to_vec(), self.zero()));
                    }
                    Some(self.slice(items, &range).unwrap_or_else(|| vec![hole(&source, false)]))
                }
                (_, kept) => kept.map(|items| items.into_iter().map(|(_, value)| value).collect()),
            };
            let items: Option<Vec<Value>> = kept;
            let any_number = items.iter().flatten().any(Value::splits);
            let Some(mut items) = items.filter(|_| !(any_number && param.op == Op::Length)) else {
                // Nobody knows how many there are.
                if let Op::Default(..) = param.op
                    && let Some(operand) = param.operand
                    && self.pick(&format!("\0{ix}:{id}"), 2) == 1
                {
                    return self.operand(script, ix, operand, part.quoted, fields);
                }
                let unknown =
                    Unknown { source, may_be_empty: true, splits: true, below: None, unset: array == "@" };
                fields.current.bits.push(Bit::Hole(unknown));
                return Ok(());
            };
            match param.op {
                Op::Length => {
                    fields.current.text(items.len().to_string().as_bytes(), part.quoted);
                    return Ok(());
                }
                Op::Default(kind, _) => {
                    let use_operand = items.is_empty() == (kind != b'+');
                    if use_operand {
                        return match param.operand {
                            Some(operand) => self.operand(script, ix, operand, part.quoted, fields),
                            None => Ok(()),
                        };
                    }
                    if kind == b'+' {
                        fields.current.quoted &= star || !fields.current.bits.is_empty();
                        return Ok(());
                    }
                }
                Op::None | Op::Substring => {}
                _ => {
                    for item in &mut items {
                        *item = self.operate(script, ix, param, item.clone(), &range, &source)?;
                    }
                }
            }
            self.spend(items.len())?;
            let joint = if star { self.star_joint() } else { Value::known(b" ".as_slice()) };
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    if part.quoted && star || !fields.split {
                        fields.current.value(&joint, true);
                    } else {
                        fields.next();
                    }
                }
                self.put(item, part.quoted, fields);
            }
            if part.quoted && items.is_empty() && fields.current.bits.is_empty() {
                // `"$@"` with nothing in it is no word, `"$*"` is one.
                fields.current.quoted = star;
            }
            return Ok(());
        }
        let value = self.element(&name, subscript.as_ref());
        let known_unset = value.is_none();
        match param.op {
            Op::Default(b'?', colon) => {
                // Where it is not set, or with a colon empty, the shell stops: the word is of no use to it then.
                self.put(&passed(value, colon, &source), part.quoted, fields);
                Ok(())
            }
            Op::Default(kind, colon) => {
                let value = value.unwrap_or_default();
                let unset_hole = value.has_unset();
                let empty =
                    known_unset || colon && value.pieces.is_empty() || unset_hole && value.pieces.len() == 1;
                let doubtful = !empty
                    && value.has_unknown()
                    && !value.pieces.iter().any(|piece| matches!(piece, Piece::Known(_)))
                    || unset_hole && !self.certainly_unset(&name);
                let operand_now = if doubtful { self.pick(&format!("\0{ix}:{id}"), 2) == 1 } else { empty };
                if kind == b'+' {
                    return match param.operand {
                        Some(operand) if if doubtful { operand_now } else { !empty } => {
                            self.operand(script, ix, operand, part.quoted, fields)
                        }
                        _ => {
                            fields.current.quoted |= part.quoted;
                            Ok(())
                        }
                    };
                }
                if !operand_now {
                    self.put(&value, part.quoted, fields);
                    return Ok(());
                }
                let Some(operand) = param.operand else { return Ok(()) };
                if kind == b'=' {
                    // What is assigned is what is split: `${x=a b}` is two words.
                    let value = if part.quoted {
                        self.quoted_operand(script, ix, operand)?
                    } else {
                        self.single(script, ix, operand, true)?
                    };
                    self.put(&value, part.quoted, fields);
                    self.deferred.push((name, Slot::Scalar(value)));
                    return Ok(());
                }
                self.operand(script, ix, operand, part.quoted, fields)
            }
            Op::None => {
                let value = value.unwrap_or_else(|| hole(&source, true));
                self.put(&value, part.quoted, fields);
                Ok(())
            }
            _ => {
                let value = match value {
                    Some(value) => self.operate(script, ix, param, value, &range, &source)?,
                    None if param.op == Op::Length => Value::known(b"0"),
                    None => hole(&source, true),
                };
                self.put(&value, part.quoted, fields);
                Ok(())
            }
        }
    }

    /// What `"$*"` puts between its words: the first character of IFS, a blank where it is unset.
    fn star_joint(&mut self) -> Value {
        let Slot::Scalar(ifs) = self.slot("IFS") else { return Value::known(b" ".as_slice()) };
        match ifs.as_str() {
            Some(text) => Value::known(text.chars().next().map_or_else(String::new, String::from)),
            None => hole("$IFS", false),
        }
    }

    /// The operand of `${x:-operand}` takes the place of the expansion.
    pub(super) fn operand(
        &mut self,
        script: &Script,
        ix: Ix,
        word: Id,
        quoted: bool,
        fields: &mut Fields,
    ) -> Result<(), TooMuch> {
        if !quoted {
            let outer = std::mem::replace(&mut fields.operand, true);
            let done = self.parts(script, ix, script.parts(word), fields, true, false);
            fields.operand = outer;
            return done;
        }
        let value = self.quoted_operand(script, ix, word)?;
        fields.current.value(&value, true);
        Ok(())
    }

    /// An operand in quotes: a tilde is one there, also at the start.
    fn quoted_operand(&mut self, script: &Script, ix: Ix, word: Id) -> Result<Value, TooMuch> {
        let mut inside = Fields::default();
        self.parts(script, ix, script.parts(word), &mut inside, false, false)?;
        let value = inside.current.plain();
        self.spend(value.weight() / 64)?;
        Ok(value)
    }

    /// Applies an operator to a value.
    fn operate(
        &mut self,
        script: &Script,
        ix: Ix,
        param: &Param,
        value: Value,
        range: &Value,
        source: &str,
    ) -> Result<Value, TooMuch> {
        let pattern = match param.operand {
            Some(word) if param.op != Op::Substring => self.field(script, ix, word, false)?,
            _ => Field::default(),
        };
        let replacement = match param.replacement {
            Some(word) => self.field(script, ix, word, false)?,
            None => Field::default(),
        };
        if let Op::Transform(b'P') = param.op {
            if let Some(text) = value.as_str() {
                let text = text.to_owned();
                self.reparse_value(&text, "${x@P}");
            } else {
                self.opaque("`${x@P}` of an unknown value");
            }
        }
        let unknown = || {
            let below = None;
            Value::unknown(Unknown {
                source: source.to_owned(),
                may_be_empty: true,
                below,
                ..Unknown::default()
            })
        };
        let Some(bytes) = value.as_known().map(<[u8]>::to_vec) else {
            return Ok(match param.op {
                Op::Transform(b'E') => value,
                // `${x/#/new}` puts something in front whatever there is
                Op::Replace(kind @ (b'#' | b'%')) if pattern.bits.is_empty() && !value.has_unset() => {
                    let new = replacement.plain();
                    if kind == b'#' {
                        super::simple::concat(new, value)
                    } else {
                        super::simple::concat(value, new)
                    }
                }
                // `${p#/proc/}` of `/proc/*`: what is known in front is taken away
                Op::Strip(b'#', false) => match without_front(&value, &pattern) {
                    Some(value) => value,
                    None => unknown(),
                },
                Op::Strip(b'#', true) => match process_names(&value, &pattern) {
                    Some(value) => value,
                    None => unknown(),
                },
                _ => unknown(),
            });
        };
        self.spend(1 + bytes.len() / 64)?;
        Ok(match param.op {
            Op::Length => Value::known(String::from_utf8_lossy(&bytes).chars().count().to_string()),
            Op::Substring => {
                let length = bytes.len();
                match self.range(range, length).filter(|_| bytes.is_ascii()) {
                    Some((from, to)) => Value::known(bytes.get(from..to.max(from)).unwrap_or(&[])),
                    None => unknown(),
                }
            }
            Op::Strip(side, longest) => {
                let fits = |pattern: &Pattern| bytes.len() <= 4096 && (bytes.is_ascii() || !pattern.counts());
                let Some(pattern) = Pattern::new(&pattern).filter(fits) else {
                    return Ok(unknown());
                };
                self.spend(pattern.cost(&bytes))?;
                let found = pattern.beginnings(&bytes, side == b'%');
                let length = found.map_or(0, |(shortest, most)| if longest { most } else { shortest });
                let at = if side == b'#' { length } else { bytes.len().saturating_sub(length) };
                let (head, tail) = bytes.split_at(at.min(bytes.len()));
                Value::known(if side == b'#' { tail } else { head })
            }
            Op::Replace(kind) => {
                let Some(mut new) = replacement::parts(&replacement) else { return Ok(unknown()) };
                // `shopt -u patsub_replacement`, and bash before 5.2, know no `&`
                if new.special && self.pick(&format!("\0&{ix}:{source}"), 2) == 1 {
                    new = replacement::as_written(&replacement);
                }
                let fits = |pattern: &Pattern| bytes.len() <= 1024 && (bytes.is_ascii() || !pattern.counts());
                let Some(pattern) = Pattern::new(&pattern).filter(fits) else {
                    return Ok(unknown());
                };
                self.spend(pattern.cost(&bytes) * (1 + bytes.len() / 8))?;
                Value::known(replacement::replace(&bytes, &pattern, &new, kind))
            }
            Op::Case(kind, every) => {
                if !pattern.bits.is_empty() {
                    return Ok(unknown());
                }
                let text = String::from_utf8_lossy(&bytes);
                let change = |letter: char| -> String {
                    match kind {
                        b'^' => letter.to_uppercase().collect(),
                        b',' => letter.to_lowercase().collect(),
                        _ if letter.is_uppercase() => letter.to_lowercase().collect(),
                        _ => letter.to_uppercase().collect(),
                    }
                };
                let changed: String = text
                    .chars()
                    .enumerate()
                    .map(
                        |(index, letter)| {
                            if every || index == 0 { change(letter) } else { letter.to_string() }
                        },
                    )
                    .collect();
                Value::known(changed)
            }
            Op::Transform(b'E') => Value::known(ansi_c(&bytes)),
            Op::Transform(b'U') => Value::known(bytes.to_ascii_uppercase()),
            Op::Transform(b'L') => Value::known(bytes.to_ascii_lowercase()),
            Op::Transform(b'u') => {
                let mut bytes = bytes;
                if let Some(first) = bytes.first_mut() {
                    first.make_ascii_uppercase();
                }
                Value::known(bytes)
            }
            Op::Transform(b'Q') if !bytes.contains(&b'\'') => {
                Value::known([b"'".as_slice(), &bytes, b"'"].concat())
            }
            Op::Transform(_) => unknown(),
            _ => value,
        })
    }

    /// The items of an array from an index on: it may have gaps.
    fn slice(&mut self, items: Vec<(Vec<u8>, Value)>, range: &Value) -> Option<Vec<Value>> {
        if items.iter().any(|(_, value)| value.splits()) {
            return None;
        }
        let last = match items.last() {
            Some((key, _)) => index_of(key)?.checked_add(1)?,
            None => return Some(Vec::new()),
        };
        let (from, to) = self.range(range, last)?;
        let behind = items.into_iter().filter(|(key, _)| index_of(key).is_some_and(|index| index >= from));
        Some(behind.map(|(_, value)| value).take(to.saturating_sub(from)).collect())
    }

    /// `offset` or `offset:length` within something of this length, as `from..to`.
    pub(super) fn range(&mut self, text: &Value, length: usize) -> Option<(usize, usize)> {
        let text = text.as_str()?.to_owned();
        if text.contains('?') {
            return None;
        }
        let (offset, count) = match text.split_once(':') {
            Some((offset, count)) => (offset, Some(count)),
            None => (text.as_str(), None),
        };
        let total = i64::try_from(length).ok()?;
        let mut offset = arith::evaluate(offset.as_bytes(), self)?;
        if offset < 0 {
            offset = (offset + total).max(0);
        }
        let end = match count {
            None => total,
            Some(count) => {
                let count = arith::evaluate(count.as_bytes(), self)?;
                let end = if count < 0 { total + count } else { offset.saturating_add(count) };
                if end < offset {
                    self.ends_line();
                }
                end
            }
        };
        let from = usize::try_from(offset.clamp(0, total)).ok()?;
        Some((from, usize::try_from(end.clamp(0, total)).ok()?))
    }
}

/// Whether a parameter can have this name.
fn is_parameter(name: &[u8]) -> bool {
    let plain = name.split(|byte| *byte == b'[').next().unwrap_or(name);
    let word = |name: &[u8]| name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    matches!(name, b"@" | b"*" | b"#" | b"?" | b"-" | b"$" | b"!") || !plain.is_empty() && word(plain)
}

/// A value without the bytes that it is known to begin with, where those are exactly the pattern.
fn without_front(value: &Value, pattern: &Field) -> Option<Value> {
    let literal = pattern.clone().plain();
    let front = literal.as_known().filter(|front| !front.is_empty())?;
    let (first, rest) = value.pieces.split_first()?;
    let Piece::Known(bytes) = first else { return None };
    let mut left = Value::default();
    left.push(Piece::known(bytes.strip_prefix(front)?));
    for piece in rest {
        left.push(piece.clone());
    }
    Some(left)
}

/// `${p##*/}` of `/proc/[0-9]*`: the ids of processes.
fn process_names(value: &Value, pattern: &Field) -> Option<Value> {
    let last_component = pattern.bits == [Bit::Text(b"*/".into(), false)];
    let [Piece::Known(directory), rest @ ..] = value.pieces.as_slice() else { return None };
    let name = directory.strip_prefix(b"/proc/").filter(|name| last_component && !name.contains(&b'/'))?;
    let mut left = Value::known(name);
    for piece in rest {
        match piece {
            Piece::Known(bytes) | Piece::Glob(bytes) if !bytes.contains(&b'/') => left.push(piece.clone()),
            _ => return None,
        }
    }
    Some(left)
}
