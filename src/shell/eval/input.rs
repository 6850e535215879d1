//! Builtins that put what they read into variables: `read`, `mapfile`.

use super::super::{Input, Unknown, Value};
use super::state::Slot;
use super::{Evaluator, TooMuch, numbered};

/// Lines that `mapfile` makes the items of an array.
const MOST_LINES: usize = 256;

impl Evaluator<'_> {
    pub(super) fn read_builtin(&mut self, args: &[Value], index: usize) {
        let mut names = Vec::new();
        let mut array = false;
        let mut elsewhere = false;
        let mut raw = false;
        let mut delimiter = b'\n';
        let mut rest = args.iter();
        while let Some(value) = rest.next() {
            let Some(text) = value.as_str() else {
                self.opaque("`read` into a variable that is not known");
                continue;
            };
            match text.strip_prefix('-') {
                Some(options) if !options.is_empty() && names.is_empty() => {
                    for (position, option) in options.char_indices() {
                        array |= option == 'a';
                        raw |= option == 'r';
                        elsewhere |= matches!(option, 'u' | 'n' | 'N');
                        if "adinNptu".contains(option) {
                            let attached = options.get(position + 1..).filter(|text| !text.is_empty());
                            let operand = match attached {
                                Some(text) => Some(text),
                                None => rest.next().and_then(Value::as_str),
                            };
                            match (option, operand) {
                                ('a', operand) => names.extend(operand.map(str::to_owned)),
                                ('d', Some(operand)) => delimiter = first_byte(operand),
                                ('d', None) => elsewhere = true,
                                _ => {}
                            }
                            break;
                        }
                    }
                }
                _ => names.push(text.to_owned()),
            }
        }
        for name in &names {
            if name.contains('[') {
                self.reparse_subscript(name);
            }
        }
        if names.is_empty() {
            names.push("REPLY".to_owned());
        }
        let stdin = self.out.invocations.get(index).map(|invocation| invocation.stdin.clone());
        let ifs = self.out.invocations.get(index).and_then(|invocation| {
            let own = invocation.assignments.iter().find(|(name, _)| name == "IFS");
            own.map(|(_, value)| value.as_known().map(<[u8]>::to_vec))
        });
        let ifs = match ifs {
            Some(ifs) => ifs,
            None => self.variable_value("IFS").as_known().map(<[u8]>::to_vec),
        };
        let shape = match &stdin {
            Some(Input::Pipe(writers)) => match writers.as_slice() {
                [writer] => self.shapes.get(writer).cloned(),
                _ => None,
            },
            _ => None,
        };
        let (Some(Input::Known(bytes)), Some(ifs), false) = (stdin, ifs, elsewhere) else {
            for name in &names {
                let value = match &shape {
                    Some(shape) if names.len() == 1 => shape.clone(),
                    _ => Value::unknown(Unknown {
                        source: format!("${name}"),
                        may_be_empty: true,
                        ..Unknown::default()
                    }),
                };
                self.assign_slot(name, Slot::Scalar(value));
            }
            return;
        };
        let mut all = lines(&bytes, delimiter, raw);
        if all.len() > 1 && all.last().is_some_and(Vec::is_empty) {
            all.pop();
        }
        if all.len() > 32 {
            for name in &names {
                self.assign_slot(name, super::state::unknown_slot(name));
            }
            return;
        }
        let first_reading = self.reading;
        for (number, line) in all.into_iter().enumerate() {
            self.reading = first_reading + number;
            let words = fields(&line, &ifs, if array { usize::MAX } else { names.len() });
            if array {
                if let Some(name) = names.first().cloned() {
                    let items = numbered(words.into_iter().map(Value::known).collect(), 0);
                    self.assign_slot(&name, Slot::Array(items));
                }
                continue;
            }
            let mut words = words.into_iter();
            for name in names.clone() {
                self.assign_slot(&name, Slot::Scalar(Value::known(words.next().unwrap_or_default())));
            }
        }
        self.reading = first_reading;
    }

    pub(super) fn mapfile(&mut self, args: &[Value], index: usize) -> Result<(), TooMuch> {
        for pair in args.windows(2) {
            if let [option, operand] = pair
                && option.as_known() == Some(b"-C")
                && let Some(text) = operand.as_str()
            {
                self.found.push((text.to_owned(), false, "a callback"));
            }
        }
        let name = args
            .last()
            .and_then(Value::as_str)
            .filter(|name| !name.starts_with('-'))
            .unwrap_or("MAPFILE")
            .to_owned();
        let mut strip = false;
        let mut delimiter = Some(b'\n');
        let mut rest = args.iter();
        while let Some(word) = rest.next() {
            match word.as_str() {
                Some("-t") => strip = true,
                Some("-d" | "-td") => {
                    strip |= word.as_known() == Some(b"-td");
                    delimiter = rest.next().and_then(Value::as_str).map(first_byte);
                }
                Some(word) if !word.starts_with('-') => {}
                _ => delimiter = None,
            }
        }
        let lines = match (self.out.invocations.get(index).map(|invocation| &invocation.stdin), delimiter) {
            (Some(Input::Known(bytes)), Some(delimiter)) => {
                let line = |line: &[u8]| {
                    let end = if strip { line.strip_suffix(&[delimiter]).unwrap_or(line) } else { line };
                    Value::known(end.split(|byte| *byte == 0).next().unwrap_or_default())
                };
                let lines = bytes.split_inclusive(|byte| *byte == delimiter).take(MOST_LINES + 1);
                Some(lines.map(line).collect::<Vec<Value>>()).filter(|lines| lines.len() <= MOST_LINES)
            }
            _ => None,
        };
        let slot = match lines {
            Some(lines) => Slot::Array(numbered(lines, 0)),
            None => super::state::unknown_slot(&name),
        };
        self.assign_slot(&name, slot);
        Ok(())
    }
}

/// The byte that ends a line for `read -d` and `mapfile -d`: of nothing it is a NUL.
fn first_byte(operand: &str) -> u8 {
    operand.bytes().next().unwrap_or(0)
}

/// The lines that `read` reads one after the other, each byte with whether a backslash stood in front of it. A NUL that ends
/// no line is skipped.
fn lines(bytes: &[u8], delimiter: u8, raw: bool) -> Vec<Vec<(u8, bool)>> {
    let mut all = vec![Vec::new()];
    let mut rest = bytes.iter().copied();
    while let Some(byte) = rest.next() {
        let quoted = match byte {
            b'\\' if !raw => match rest.next() {
                // a line that goes on
                Some(b'\n') | None => continue,
                Some(next) => Some(next),
            },
            _ => None,
        };
        if quoted.is_none() && byte == delimiter {
            all.push(Vec::new());
        } else if let Some(line) = all.last_mut()
            && quoted.unwrap_or(byte) != 0
        {
            line.push((quoted.unwrap_or(byte), quoted.is_some()));
        }
    }
    all
}

/// A line cut at IFS, the last field holding all that is left.
fn fields(line: &[(u8, bool)], ifs: &[u8], most: usize) -> Vec<Vec<u8>> {
    let separates = |(byte, quoted): &(u8, bool)| !quoted && ifs.contains(byte);
    let blank = |at: &(u8, bool)| at.0.is_ascii_whitespace() && separates(at);
    let text = |part: Option<&[(u8, bool)]>| part.unwrap_or(&[]).iter().map(|(byte, _)| *byte).collect();
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let skip = rest.iter().take_while(|at| blank(at)).count();
        rest = rest.get(skip..).unwrap_or(&[]);
        if rest.is_empty() {
            return words;
        }
        let length = rest.iter().take_while(|at| !separates(at)).count();
        let behind = rest.get(length..).unwrap_or(&[]);
        let skip = behind.iter().take_while(|at| blank(at)).count();
        let behind = behind.get(skip..).unwrap_or(&[]);
        let hard = behind.first().is_some_and(separates);
        if words.len() + 1 == most {
            // a lone separator at the end belongs to no field
            let lone = hard && behind.iter().skip(1).all(blank);
            let end =
                if lone { length } else { rest.len() - rest.iter().rev().take_while(|at| blank(at)).count() };
            words.push(text(rest.get(..end)));
            return words;
        }
        words.push(text(rest.get(..length)));
        rest = if hard { behind.get(1..).unwrap_or(&[]) } else { behind };
    }
}
