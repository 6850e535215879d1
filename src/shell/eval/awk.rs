//! What awk prints of text that is known, where its program prints, joins and replaces and does no more.

use std::collections::HashMap;

use regex::bytes::Regex;

use super::constants::MOST;

/// Programs longer than this are not followed, nor ones whose expressions are nested deeper.
const LONGEST: usize = 4096;
const DEEPEST: usize = 16;
/// Statements that are carried out in all; long lines count for more.
const MOST_STEPS: usize = 8192;

/// The output of awk; `None` where it is not known.
pub(super) fn output(args: &[&[u8]], stdin: Option<&[u8]>) -> Option<Vec<u8>> {
    let mut variables =
        Variables::from([(b"OFS".to_vec(), b" ".to_vec()), (b"ORS".to_vec(), b"\n".to_vec())]);
    let mut rest = args;
    let text = loop {
        let (first, behind) = rest.split_first()?;
        rest = behind;
        let mut value = |attached: &[u8]| -> Option<Vec<u8>> {
            if !attached.is_empty() {
                return Some(attached.to_vec());
            }
            let (next, behind) = rest.split_first()?;
            rest = behind;
            Some(next.to_vec())
        };
        match *first {
            [b'-', b'F', attached @ ..] => {
                variables.insert(b"FS".to_vec(), value(attached)?);
            }
            [b'-', b'v', attached @ ..] => {
                let setting = value(attached)?;
                let at = setting.iter().position(|byte| *byte == b'=')?;
                let (name, value) = (setting.get(..at)?.to_vec(), setting.get(at + 1..)?.to_vec());
                // letters that stand for others
                if value.contains(&b'\\') {
                    return None;
                }
                variables.insert(name, value);
            }
            b"--" => {}
            word if word.starts_with(b"-") => return None,
            word => break word,
        }
    };
    if !rest.is_empty() || text.len() > LONGEST {
        return None;
    }
    let rules = rules(text)?;
    let mut machine = Machine { variables, line: Vec::new(), number: 0, out: Vec::new(), steps: 0 };
    machine.run_all(&rules, |when| matches!(when, When::Begin))?;
    if rules.iter().all(|rule| matches!(rule.when, When::Begin)) {
        return Some(machine.out);
    }
    for line in super::filters::lines(stdin?) {
        machine.line = line.to_vec();
        machine.number += 1;
        machine.steps += rules.len();
        for rule in &rules {
            let chosen = match &rule.when {
                When::Begin | When::End => false,
                When::Always => true,
                When::Line(number) => *number == machine.number,
                When::Matching(regex) => regex.is_match(&machine.line),
            };
            if chosen {
                machine.run(&rule.statements)?;
            }
        }
    }
    machine.run_all(&rules, |when| matches!(when, When::End))?;
    Some(machine.out)
}

type Variables = HashMap<Vec<u8>, Vec<u8>>;

enum When {
    Begin,
    End,
    Always,
    Line(usize),
    Matching(Regex),
}

enum Statement {
    Print(Vec<Expression>),
    Printf(Vec<Expression>),
    Assign(Vec<u8>, Expression),
    /// Whether all are replaced, and in which field.
    Replace {
        all: bool,
        regex: Regex,
        with: Expression,
        field: usize,
    },
}

enum Expression {
    Text(Vec<u8>),
    Digits(usize),
    Field(Box<Self>),
    Name(Vec<u8>),
    Join(Vec<Self>),
    Upper(Box<Self>),
    Lower(Box<Self>),
    Part(Vec<Self>),
}

struct Rule {
    when: When,
    statements: Vec<Statement>,
}

struct Machine {
    variables: Variables,
    line: Vec<u8>,
    number: usize,
    out: Vec<u8>,
    steps: usize,
}

impl Machine {
    fn run_all(&mut self, rules: &[Rule], chosen: impl Fn(&When) -> bool) -> Option<()> {
        rules.iter().filter(|rule| chosen(&rule.when)).try_for_each(|rule| self.run(&rule.statements))
    }

    fn run(&mut self, statements: &[Statement]) -> Option<()> {
        for statement in statements {
            self.steps += 1 + self.line.len() / 64;
            if self.steps > MOST_STEPS {
                return None;
            }
            match statement {
                Statement::Print(list) if list.is_empty() => self.out.extend_from_slice(&self.line),
                Statement::Print(list) => {
                    let texts: Option<Vec<Vec<u8>>> = list.iter().map(|one| self.value(one)).collect();
                    self.out.extend(texts?.join(self.variable(b"OFS")));
                }
                Statement::Printf(list) => {
                    let text = self.formatted(list)?;
                    self.out.extend(text);
                    continue;
                }
                Statement::Assign(name, value) => {
                    // how the line at hand was cut stays
                    if name == b"FS" && self.number > 0 {
                        return None;
                    }
                    let value = self.value(value)?;
                    self.variables.insert(name.clone(), value);
                    continue;
                }
                Statement::Replace { all, regex, with, field } => {
                    let with = self.value(with)?;
                    if with.iter().any(|byte| b"\\&".contains(byte)) || *field > 0 {
                        return None;
                    }
                    let times = usize::from(!all);
                    let line = regex.replacen(&self.line, times, regex::bytes::NoExpand(&with)).into_owned();
                    self.line = line;
                    continue;
                }
            }
            self.out.extend_from_slice(self.variables.get(b"ORS".as_slice())?);
            if self.out.len() > MOST {
                return None;
            }
        }
        (self.out.len() + self.line.len() <= MOST).then_some(())
    }

    fn variable(&self, name: &[u8]) -> &[u8] {
        self.variables.get(name).map_or(&[], Vec::as_slice)
    }

    fn fields(&self) -> Option<Vec<&[u8]>> {
        if self.line.is_empty() {
            return Some(Vec::new());
        }
        Some(match self.variables.get(b"FS".as_slice()).map(Vec::as_slice) {
            None | Some(b" ") => {
                self.line.split(u8::is_ascii_whitespace).filter(|part| !part.is_empty()).collect()
            }
            Some(b"\\t") => self.line.split(|byte| *byte == b'\t').collect(),
            // a letter that stands for itself
            Some([one]) if !b"\\|^$.*+?[(".contains(one) || *one == b'|' => {
                self.line.split(|byte| byte == one).collect()
            }
            Some(_) => return None,
        })
    }

    fn value(&self, expression: &Expression) -> Option<Vec<u8>> {
        Some(match expression {
            Expression::Text(text) => text.clone(),
            Expression::Digits(number) => number.to_string().into_bytes(),
            Expression::Field(which) => {
                let number: usize = std::str::from_utf8(&self.value(which)?).ok()?.parse().ok()?;
                match number.checked_sub(1) {
                    None => self.line.clone(),
                    Some(at) => self.fields()?.get(at).copied().unwrap_or_default().to_vec(),
                }
            }
            Expression::Name(name) => match name.as_slice() {
                b"NR" | b"FNR" => self.number.to_string().into_bytes(),
                b"NF" => self.fields()?.len().to_string().into_bytes(),
                // what is not set here may be set by what is not followed
                name => self.variables.get(name)?.clone(),
            },
            Expression::Join(list) => {
                let mut text = Vec::new();
                for one in list {
                    text.extend(self.value(one)?);
                    if text.len() > MOST {
                        return None;
                    }
                }
                text
            }
            Expression::Upper(inner) => self.value(inner)?.to_ascii_uppercase(),
            Expression::Lower(inner) => self.value(inner)?.to_ascii_lowercase(),
            Expression::Part(list) => {
                let number = |one: &Expression| -> Option<usize> {
                    std::str::from_utf8(&self.value(one)?).ok()?.parse().ok()
                };
                let text = self.value(list.first()?)?;
                let start = number(list.get(1)?)?.checked_sub(1)?;
                let length = list.get(2).map_or(Some(usize::MAX), number)?;
                text.into_iter().skip(start).take(length).collect()
            }
        })
    }

    fn formatted(&self, list: &[Expression]) -> Option<Vec<u8>> {
        let (format, rest) = list.split_first()?;
        let format = self.value(format)?;
        let mut rest = rest.iter();
        let mut out = Vec::new();
        let mut bytes = format.iter();
        while let Some(byte) = bytes.next() {
            if *byte != b'%' {
                out.push(*byte);
                continue;
            }
            match bytes.next()? {
                b'%' => out.push(b'%'),
                b's' => out.extend(self.value(rest.next()?)?),
                b'd' => {
                    let text = self.value(rest.next()?)?;
                    let number: i64 = std::str::from_utf8(&text).ok()?.parse().ok()?;
                    out.extend(number.to_string().into_bytes());
                }
                b'c' => match rest.next()? {
                    Expression::Digits(number) => out.push(u8::try_from(*number).ok()?),
                    Expression::Text(text) => out.extend(text.first()),
                    _ => return None,
                },
                _ => return None,
            }
        }
        Some(out)
    }
}

fn rules(text: &[u8]) -> Option<Vec<Rule>> {
    let mut reader = Reader { rest: text, depth: 0 };
    let mut rules = Vec::new();
    loop {
        reader.blanks(b" \t\n;");
        if reader.rest.is_empty() {
            return Some(rules);
        }
        let when = if reader.takes(b"BEGIN") {
            When::Begin
        } else if reader.takes(b"END") {
            When::End
        } else if reader.rest.starts_with(b"/") {
            When::Matching(reader.pattern()?)
        } else if reader.takes(b"NR==") || reader.takes(b"NR == ") {
            When::Line(reader.digits()?)
        } else if reader.rest.starts_with(b"{") {
            When::Always
        } else if reader.takes(b"1") {
            rules.push(Rule { when: When::Always, statements: vec![Statement::Print(Vec::new())] });
            continue;
        } else {
            return None;
        };
        reader.blanks(b" \t\n");
        let statements =
            if reader.takes(b"{") { reader.statements()? } else { vec![Statement::Print(Vec::new())] };
        rules.push(Rule { when, statements });
    }
}

struct Reader<'t> {
    rest: &'t [u8],
    depth: usize,
}

impl Reader<'_> {
    fn blanks(&mut self, blanks: &[u8]) {
        let count = self.rest.iter().take_while(|byte| blanks.contains(byte)).count();
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    fn takes(&mut self, word: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(word);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn digits(&mut self) -> Option<usize> {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    fn name(&mut self) -> Vec<u8> {
        let count =
            self.rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        let (name, rest) = self.rest.split_at(count);
        self.rest = rest;
        name.to_vec()
    }

    /// `/.../`
    fn pattern(&mut self) -> Option<Regex> {
        let text = self.rest.strip_prefix(b"/")?;
        let mut end = 0;
        while *text.get(end)? != b'/' {
            end += if text.get(end) == Some(&b'\\') { 2 } else { 1 };
        }
        self.rest = text.get(end + 1..)?;
        super::sed::regex(text.get(..end)?, true, false)
    }

    fn statements(&mut self) -> Option<Vec<Statement>> {
        let mut all = Vec::new();
        loop {
            self.blanks(b" \t\n;");
            if self.takes(b"}") {
                return Some(all);
            }
            let statement = if self.takes(b"printf") {
                Statement::Printf(self.list()?)
            } else if self.takes(b"print") {
                Statement::Print(self.list()?)
            } else if self.rest.starts_with(b"gsub(") || self.rest.starts_with(b"sub(") {
                self.replacement()?
            } else {
                let name = self.name();
                self.blanks(b" \t");
                // what changes how lines are read, or the line itself
                let special =
                    matches!(name.as_slice(), b"" | b"RS" | b"NF" | b"NR" | b"RT" | b"FPAT" | b"FIELDWIDTHS");
                if special || !self.takes(b"=") || self.rest.starts_with(b"=") {
                    return None;
                }
                Statement::Assign(name, self.joined()?)
            };
            self.blanks(b" \t");
            if !matches!(self.rest.first()?, b';' | b'}' | b'\n') {
                return None;
            }
            all.push(statement);
        }
    }

    fn replacement(&mut self) -> Option<Statement> {
        let all = self.takes(b"g");
        self.takes(b"sub(");
        self.blanks(b" ");
        let regex = if self.rest.starts_with(b"/") {
            self.pattern()?
        } else {
            let Expression::Text(text) = self.primary()? else { return None };
            super::sed::regex(&text, true, false)?
        };
        self.blanks(b" ");
        if !self.takes(b",") {
            return None;
        }
        let with = self.joined()?;
        self.blanks(b" ");
        let mut field = 0;
        if self.takes(b",") {
            self.blanks(b" ");
            if !self.takes(b"$") {
                return None;
            }
            field = self.digits()?;
        }
        self.takes(b")").then_some(Statement::Replace { all, regex, with, field })
    }

    /// Expressions behind `print`, in parentheses or not.
    fn list(&mut self) -> Option<Vec<Expression>> {
        let mut all = Vec::new();
        self.blanks(b" \t");
        if matches!(self.rest.first(), None | Some(b';' | b'}' | b'\n')) {
            return Some(all);
        }
        let open = self.takes(b"(");
        loop {
            all.push(self.joined()?);
            self.blanks(b" \t");
            if !self.takes(b",") {
                break;
            }
        }
        if open && !self.takes(b")") {
            return None;
        }
        Some(all)
    }

    /// Values one behind the other.
    fn joined(&mut self) -> Option<Expression> {
        let mut all = Vec::new();
        loop {
            self.blanks(b" \t");
            match self.rest.first() {
                Some(b'"' | b'$' | b'(' | b'_') => all.push(self.primary()?),
                Some(byte) if byte.is_ascii_alphanumeric() => all.push(self.primary()?),
                _ => break,
            }
        }
        if all.len() == 1 { all.pop() } else { (!all.is_empty()).then_some(Expression::Join(all)) }
    }

    fn primary(&mut self) -> Option<Expression> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let found = match *self.rest.first()? {
            b'"' => self.literal()?,
            b'$' => {
                self.takes(b"$");
                Expression::Field(Box::new(self.primary()?))
            }
            b'(' => {
                self.takes(b"(");
                let inner = self.joined()?;
                self.takes(b")").then_some(inner)?
            }
            b'0'..=b'9' => Expression::Digits(self.digits()?),
            _ => {
                let name = self.name();
                if !self.takes(b"(") {
                    self.depth -= 1;
                    // words of the language
                    let reserved =
                        matches!(name.as_slice(), b"" | b"in" | b"getline" | b"if" | b"for" | b"while");
                    return (!reserved).then_some(Expression::Name(name));
                }
                let mut list = vec![self.joined()?];
                while list.len() < 3 && self.takes(b",") {
                    list.push(self.joined()?);
                    self.blanks(b" ");
                }
                if !self.takes(b")") {
                    return None;
                }
                match name.as_slice() {
                    b"toupper" => Expression::Upper(Box::new(list.pop()?)),
                    b"tolower" => Expression::Lower(Box::new(list.pop()?)),
                    b"substr" => Expression::Part(list),
                    _ => return None,
                }
            }
        };
        self.depth -= 1;
        Some(found)
    }

    fn literal(&mut self) -> Option<Expression> {
        let mut text = Vec::new();
        let mut bytes = self.rest.get(1..)?;
        loop {
            let (byte, rest) = bytes.split_first()?;
            bytes = rest;
            match byte {
                b'"' => break,
                b'\\' => {
                    let (next, rest) = bytes.split_first()?;
                    let digits = bytes.iter().take(3).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
                    let octal = std::str::from_utf8(bytes.get(..digits)?).ok()?;
                    let behind = bytes.get(digits..)?;
                    bytes = rest;
                    match next {
                        b'n' => text.push(b'\n'),
                        b't' => text.push(b'\t'),
                        b'\\' | b'"' | b'/' => text.push(*next),
                        b'0'..=b'7' => {
                            text.push(u8::from_str_radix(octal, 8).ok()?);
                            bytes = behind;
                        }
                        _ => return None,
                    }
                }
                byte => text.push(*byte),
            }
        }
        self.rest = bytes;
        Some(Expression::Text(text))
    }
}
