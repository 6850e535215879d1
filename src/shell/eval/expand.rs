//! Words: from parts to the fields that a program receives.

use super::super::ast::{Id, Op, Param, Part, PartKind, Script};
use super::super::{Dialect, Piece, Unknown, Value};
use super::arith::{self, Numbers};
use super::braces::{self, Chunk};
use super::field::{Field, Pattern, ansi_c};
use super::state::{CWD, Slot, hole};
use super::{Evaluator, Ix, TooMuch};

/// Most expansions within expansions of one word: `${a:-${b:-...}}`.
const NESTING: usize = 20;

/// Fields under construction.
#[derive(Debug, Default)]
struct Fields {
    done: Vec<Field>,
    current: Field,
    /// Whether unquoted values are split.
    split: bool,
}

impl Fields {
    fn next(&mut self) {
        let field = std::mem::take(&mut self.current);
        if !field.is_nothing() {
            self.done.push(field);
        }
    }
}

impl Evaluator<'_> {
    /// The arguments that a word becomes.
    pub(super) fn arguments(&mut self, script: &Script, ix: Ix, word: Id) -> Result<Vec<Value>, TooMuch> {
        let parts = script.parts(word);
        if let [Part { kind: PartKind::Literal, quoted, span }] = parts {
            let bytes = script.bytes(*span);
            let plain = |byte: &u8| !matches!(byte, b'*' | b'?' | b'[' | b'~' | b'{' | b'(');
            if *quoted || bytes.iter().all(plain) {
                return Ok(vec![Value::known(bytes)]);
            }
        }
        let expanded = if self.context.dialect == Dialect::Bash {
            braces::expand(script, parts).map_err(|()| TooMuch::Expansion)?
        } else {
            None
        };
        let mut fields = Fields { split: true, ..Fields::default() };
        match expanded {
            None => self.parts(script, ix, parts, &mut fields, true, false)?,
            Some(words) => {
                self.spend(words.len())?;
                for chunks in words {
                    for (index, chunk) in chunks.iter().enumerate() {
                        match chunk {
                            Chunk::Part(part) => {
                                let part = std::slice::from_ref(part);
                                self.parts(script, ix, part, &mut fields, index == 0, false)?;
                            }
                            Chunk::Made(bytes) => fields.current.text(bytes, false),
                        }
                    }
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

    fn parts(
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
        for (index, part) in parts.iter().enumerate() {
            match part.kind {
                PartKind::Literal => {
                    let bytes = script.bytes(part.span);
                    let last = index + 1 == parts.len();
                    if !part.quoted && bytes.contains(&b'~') {
                        self.tilde(bytes, fields, start && index == 0, last, assigned);
                    } else {
                        fields.current.text(bytes, part.quoted);
                    }
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

    /// Adds a value, split at IFS where that applies.
    fn put(&mut self, value: &Value, quoted: bool, fields: &mut Fields) {
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
                    let unknown = Unknown { splits: true, ..unknown.clone() };
                    fields.current.bits.push(super::field::Bit::Hole(unknown));
                }
            }
        }
    }

    /// `~`, `~/x`, `~name`, at the start of a word and, in assignments, behind colons.
    fn tilde(&mut self, bytes: &[u8], fields: &mut Fields, start: bool, last: bool, assigned: bool) {
        let mut first = start;
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
                b"-" => {
                    let old = self.variable_value("OLDPWD");
                    fields.current.value(&old, true);
                }
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
            return Some(self.context.home.clone());
        }
        match self.context.homes.get(name) {
            Some(home) => Some(home.clone()),
            None if name == "root" => Some("/root".to_owned()),
            None => None,
        }
    }

    // --- Parameters ---

    fn parameter(
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
            let target = self.element(&name, subscript.as_ref()).unwrap_or_else(|| hole(&source, true));
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
        if let Some(key) = subscript.as_ref().and_then(Value::as_str).filter(|key| key.contains(['$', '`'])) {
            let key = key.to_owned();
            self.reparse_subscript(&key);
        }
        // The words of an array or of the positional parameters.
        let many = matches!(name.as_str(), "@" | "*")
            || subscript.as_ref().and_then(Value::as_known).is_some_and(all);
        if many {
            let array = if matches!(name.as_str(), "@" | "*") { "@".to_owned() } else { name.clone() };
            let star = if array == "@" {
                name == "*"
            } else {
                subscript.as_ref().and_then(Value::as_known) == Some(b"*")
            };
            let items = match self.slot(&array) {
                Slot::Array(items) => Some(items.into_iter().map(|(_, value)| value).collect::<Vec<_>>()),
                Slot::Scalar(value) if array != "@" => Some(vec![value]),
                Slot::Unset if array != "@" => Some(Vec::new()),
                _ => None,
            };
            let Some(mut items) = items else {
                // Nobody knows how many there are.
                if let Op::Default(..) = param.op
                    && let Some(operand) = param.operand
                    && self.pick(&format!("\0{ix}:{id}"), 2) == 1
                {
                    return self.operand(script, ix, operand, part.quoted, fields);
                }
                let unknown =
                    Unknown { source, may_be_empty: true, splits: true, below: None, unset: array == "@" };
                fields.current.bits.push(super::field::Bit::Hole(unknown));
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
                        return Ok(());
                    }
                }
                Op::Substring => {
                    let range = match param.operand {
                        Some(operand) => self.single(script, ix, operand, false)?,
                        None => Value::default(),
                    };
                    match self.range(&range, items.len()) {
                        Some((from, to)) => {
                            // Positional parameters count from `$0`.
                            let shift = usize::from(array == "@");
                            let (from, to) = (from.saturating_sub(shift), to.saturating_sub(shift));
                            items = items
                                .get(from.min(items.len())..to.min(items.len()).max(from.min(items.len())))
                                .unwrap_or(&[])
                                .to_vec();
                        }
                        None => items = vec![hole(&source, false)],
                    }
                }
                Op::None => {}
                _ => {
                    for item in &mut items {
                        *item = self.operate(script, ix, param, item.clone(), &source)?;
                    }
                }
            }
            self.spend(items.len())?;
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    if part.quoted && star || !fields.split {
                        fields.current.text(b" ", true);
                    } else {
                        fields.next();
                    }
                }
                self.put(item, part.quoted, fields);
            }
            if part.quoted && items.is_empty() && !star && fields.current.bits.is_empty() {
                // `"$@"` with nothing in it is no word.
                fields.current.quoted = false;
            }
            return Ok(());
        }
        let value = self.element(&name, subscript.as_ref());
        let known_unset = value.is_none();
        match param.op {
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
                        Some(operand) if doubtful != operand_now && !empty || doubtful && operand_now => {
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
                    let value = self.single(script, ix, operand, true)?;
                    self.deferred.push((name, Slot::Scalar(value)));
                }
                if kind == b'?' {
                    // The shell stops here.
                    self.put(&value, part.quoted, fields);
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
                    Some(value) => self.operate(script, ix, param, value, &source)?,
                    None => hole(&source, true),
                };
                self.put(&value, part.quoted, fields);
                Ok(())
            }
        }
    }

    /// The operand of `${x:-operand}` takes the place of the expansion.
    fn operand(
        &mut self,
        script: &Script,
        ix: Ix,
        word: Id,
        quoted: bool,
        fields: &mut Fields,
    ) -> Result<(), TooMuch> {
        if !quoted {
            return self.parts(script, ix, script.parts(word), fields, true, false);
        }
        let value = self.single(script, ix, word, false)?;
        fields.current.value(&value, true);
        Ok(())
    }

    /// Applies an operator to a value.
    fn operate(
        &mut self,
        script: &Script,
        ix: Ix,
        param: &Param,
        value: Value,
        source: &str,
    ) -> Result<Value, TooMuch> {
        let pattern = match param.operand {
            Some(word) => self.field(script, ix, word, false)?,
            None => Field::default(),
        };
        let replacement = match param.replacement {
            Some(word) => self.single(script, ix, word, false)?,
            None => Value::default(),
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
                Op::Transform(b'Q' | b'E' | b'K' | b'k' | b'A') => value,
                _ => unknown(),
            });
        };
        self.spend(1 + bytes.len() / 64)?;
        Ok(match param.op {
            Op::Length => Value::known(String::from_utf8_lossy(&bytes).chars().count().to_string()),
            Op::Substring => {
                let length = bytes.len();
                match self.range(&pattern.plain(), length) {
                    Some((from, to)) => Value::known(bytes.get(from..to.max(from)).unwrap_or(&[])),
                    None => unknown(),
                }
            }
            Op::Strip(side, longest) => {
                let Some(pattern) = Pattern::new(&pattern).filter(|_| bytes.len() <= 4096) else {
                    return Ok(unknown());
                };
                self.spend(bytes.len())?;
                let cuts: Vec<usize> = (0..=bytes.len()).collect();
                let fits = |cut: &usize| {
                    let (head, tail) = bytes.split_at(*cut);
                    pattern.matches(if side == b'#' { head } else { tail })
                };
                // Shortest prefix is the first cut, shortest suffix the last.
                let found = if (side == b'#') == longest {
                    cuts.iter().rev().copied().find(|cut| fits(cut))
                } else {
                    cuts.iter().copied().find(|cut| fits(cut))
                };
                let (head, tail) =
                    bytes.split_at(found.unwrap_or(if side == b'#' { 0 } else { bytes.len() }));
                Value::known(if side == b'#' { tail } else { head })
            }
            Op::Replace(kind) => {
                let Some(new) = replacement.as_known() else { return Ok(unknown()) };
                let Some(pattern) = Pattern::new(&pattern).filter(|_| bytes.len() <= 1024) else {
                    return Ok(unknown());
                };
                self.spend(bytes.len() * 4)?;
                Value::known(replace(&bytes, &pattern, new, kind))
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

    /// `offset` or `offset:length` within something of this length, as `from..to`.
    fn range(&mut self, text: &Value, length: usize) -> Option<(usize, usize)> {
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
                if count < 0 { total + count } else { offset.saturating_add(count) }
            }
        };
        let from = usize::try_from(offset.clamp(0, total)).ok()?;
        Some((from, usize::try_from(end.clamp(0, total)).ok()?))
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
        if let Ok(text) = std::str::from_utf8(text)
            && text.contains(['$', '`'])
        {
            let text = text.to_owned();
            self.reparse_subscript(&text);
        }
        if !self.changed_variables {
            return;
        }
        let names = text.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
        for name in names.filter_map(|name| std::str::from_utf8(name).ok()).filter(|name| !name.is_empty()) {
            let slots = self.variables.get(name).cloned().unwrap_or_default();
            for slot in slots {
                if let Slot::Scalar(value) = slot
                    && let Some(text) = value.as_str().filter(|text| text.contains(['$', '`']))
                {
                    let text = text.to_owned();
                    self.reparse_subscript(&text);
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
                Slot::Array(items) => items
                    .get(index - 1)
                    .map(|(_, value)| value.clone())
                    .or_else(|| Some(hole(&format!("${name}"), true))),
                _ => Some(hole(&format!("${name}"), true)),
            };
        }
        match (name, self.slot(name)) {
            ("#", _) => Some(match self.slot("@") {
                Slot::Array(items) => Value::known(items.len().to_string()),
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
                                    last.map(|last| last + 1 + index)
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
                items.into_iter().find(|(known, _)| *known == key).map(|(_, value)| value)
            }
            (_, Slot::Reference(_)) => Some(hole(&format!("${name}"), false)),
        }
    }
}

impl Numbers for Evaluator<'_> {
    fn number(&mut self, name: &str) -> Option<i64> {
        match self.slot(name) {
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
                        .map(|number| if text.starts_with('-') { -number } else { number })
                }
            }
            _ => None,
        }
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

fn source(script: &Script, part: &Part) -> String {
    let text = String::from_utf8_lossy(script.bytes(part.span));
    if text.chars().count() > 80 {
        text.chars().take(77).chain("...".chars()).collect()
    } else {
        text.into_owned()
    }
}

fn split(bytes: &[u8], ifs: &[u8], fields: &mut Fields) {
    let mut run = Vec::new();
    let mut hard = false;
    for byte in bytes {
        if !ifs.contains(byte) {
            run.push(*byte);
            hard = false;
            continue;
        }
        fields.current.text(&run, false);
        run.clear();
        if !byte.is_ascii_whitespace() && fields.current.is_nothing() && hard {
            // Two separators that are not blanks hold an empty field between them.
            fields.current.quoted = true;
        }
        hard = !byte.is_ascii_whitespace() || hard;
        fields.next();
    }
    fields.current.text(&run, false);
}

fn replace(bytes: &[u8], pattern: &Pattern, new: &[u8], kind: u8) -> Vec<u8> {
    let longest = |from: usize| {
        (from..=bytes.len())
            .rev()
            .find(|to| pattern.matches(bytes.get(from..*to).unwrap_or(&[])))
            .filter(|to| *to > from)
    };
    let mut out = Vec::new();
    let mut at = 0;
    let mut done = false;
    while at < bytes.len() {
        let allowed = match kind {
            b'#' => at == 0,
            _ => !done || kind == b'/',
        };
        let found = if allowed { longest(at) } else { None };
        let found = found.filter(|to| kind != b'%' || *to == bytes.len());
        match found {
            Some(to) => {
                out.extend_from_slice(new);
                at = to;
                done = true;
            }
            None => {
                out.extend(bytes.get(at));
                at += 1;
            }
        }
    }
    out
}
