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
                        elsewhere |= matches!(option, 'u' | 'd' | 'n' | 'N');
                        if "adinNptu".contains(option) {
                            if position + 1 == options.len() {
                                let operand = rest.next();
                                if option == 'a' {
                                    names.extend(operand.and_then(Value::as_str).map(str::to_owned));
                                }
                            } else if option == 'a' {
                                names.extend(options.get(position + 1..).map(str::to_owned));
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
        let mut all: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        if all.len() > 1 && all.last().is_some_and(|last| last.is_empty()) {
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
            let mut words: Vec<Vec<u8>> = Vec::new();
            let mut rest = line;
            loop {
                let blank = |byte: &u8| byte.is_ascii_whitespace() && ifs.contains(byte);
                let skip = rest.iter().take_while(|byte| blank(byte)).count();
                rest = rest.get(skip..).unwrap_or(&[]);
                if rest.is_empty() {
                    break;
                }
                if !array && words.len() + 1 == names.len() {
                    let end = rest.len() - rest.iter().rev().take_while(|byte| blank(byte)).count();
                    words.push(rest.get(..end).unwrap_or(&[]).to_vec());
                    break;
                }
                let length = rest.iter().take_while(|byte| !ifs.contains(byte)).count();
                words.push(rest.get(..length).unwrap_or(&[]).to_vec());
                rest = rest.get(length..).unwrap_or(&[]);
                if rest.first().is_some_and(|byte| !blank(byte)) {
                    rest = rest.get(1..).unwrap_or(&[]);
                }
            }
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
        let plain = args.iter().all(|word| match word.as_str() {
            Some(word) => !word.starts_with('-') || word == "-t",
            None => false,
        });
        let lines = match self.out.invocations.get(index).map(|invocation| &invocation.stdin) {
            Some(Input::Known(bytes)) if plain => {
                let strip = args.iter().any(|word| word.as_known() == Some(b"-t"));
                let lines = bytes.split_inclusive(|byte| *byte == b'\n').take(MOST_LINES + 1);
                let line = |line: &[u8]| {
                    Value::known(if strip { line.strip_suffix(b"\n").unwrap_or(line) } else { line })
                };
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
