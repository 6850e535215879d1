//! Builtins that change what the rest of the text means, or run text that they are given.

use super::super::{Dialect, Input, Origin, Piece, Value};
use super::simple::Reading;
use super::state::{CWD, Slot, hole};
use super::{Evaluator, Task, TooMuch, arith, constants, numbered};

/// A text in which nothing is unknown but numbers, with the parameters in their place that hold them: `kill $!`.
fn with_numbers(text: &Value) -> Option<String> {
    let piece = |piece: &Piece| match piece {
        Piece::Known(bytes) => std::str::from_utf8(bytes).ok().map(str::to_owned),
        Piece::Unknown(hole) => {
            let number =
                matches!(hole.source.as_str(), "$!" | "$$" | "$?" | "$PPID" | "$BASHPID" | "$RANDOM");
            number.then(|| hole.source.clone())
        }
        Piece::Glob(_) => None,
    };
    text.pieces.iter().map(piece).collect()
}

/// Directories that a text may have led to, before nothing is known of where it is.
const MOST_DIRECTORIES: usize = 8;
/// Longer names of directories are none (PATH_MAX).
const LONGEST_PATH: usize = 4096;

impl Evaluator<'_> {
    /// Does what a builtin does to the shell. The invocation has been reported already.
    pub(super) fn builtin(&mut self, reading: &Reading, index: usize) -> Result<(), TooMuch> {
        let mut argv = reading.argv.as_slice();
        while let Some((first, rest)) = argv.split_first() {
            match first.as_str() {
                Some("command" | "builtin")
                    if rest.first().is_some_and(|next| !next.prefix().starts_with(b"-")) =>
                {
                    argv = rest;
                }
                _ => break,
            }
        }
        let Some((program, args)) = argv.split_first() else { return Ok(()) };
        let Some(name) = program.as_str() else { return Ok(()) };
        let stays = !reading.assigns.is_empty() && self.assigns_for_good(reading);
        if stays {
            for (name, slot) in &reading.assigns {
                self.assign_slot(name, slot.clone());
                self.exported.insert(name.clone());
            }
        } else if matches!(name, "eval" | "source" | ".") {
            self.assign_in_front(&reading.assigns);
        }
        match name {
            "cd" | "pushd" => self.change_directory(args, name == "pushd"),
            "popd" => {
                let old = self.variable_value("\0pushed");
                self.move_to(old);
            }
            "export" | "declare" | "typeset" | "local" | "readonly" => self.declare(name, args, reading),
            "unset" => self.unset(args),
            "set" => self.set_options(args),
            "shift" => self.shift(args),
            "read" => self.read_builtin(args, index),
            "mapfile" | "readarray" => self.mapfile(args, index)?,
            "eval" => self.eval(args, reading)?,
            "trap" => self.trap(args)?,
            "alias" => {
                for value in args {
                    match value.as_str().and_then(|text| text.split_once('=')) {
                        Some((name, text)) => {
                            self.aliases.insert(name.to_owned(), text.to_owned());
                        }
                        None if value.has_unknown() => self.opaque("an alias that is not known"),
                        None => {}
                    }
                }
            }
            "unalias" => {
                if args.iter().any(|value| value.as_known() == Some(b"-a")) {
                    self.aliases.clear();
                }
                for name in args.iter().filter_map(Value::as_str) {
                    self.aliases.remove(name);
                }
            }
            "printf" => self.printf_v(args),
            "test" | "[" => {
                for pair in args.windows(2) {
                    if let [option, operand] = pair
                        && matches!(option.as_known(), Some(b"-v" | b"-R"))
                        && let Some(text) = operand.as_str()
                    {
                        let text = text.to_owned();
                        self.reparse_subscript(&text);
                    }
                }
            }
            "let" => {
                for value in args {
                    // `let x=y*2`: what names no file stays as it is
                    if !value.has_unknown() {
                        let bytes = value.text().into_owned().into_bytes();
                        self.check_names(&bytes);
                        self.in_each_reading(|shell| {
                            arith::evaluate(&bytes, shell);
                            Ok(())
                        })?;
                    }
                }
            }
            "source" | "." => self.source(args, reading)?,
            "shopt" => {
                let on = args.iter().any(|value| matches!(value.as_known(), Some(b"-s" | b"-so" | b"-os")));
                for option in args.iter().filter_map(Value::as_str) {
                    match option {
                        "posix" => self.posix = on,
                        "extglob" => self.extglob = on,
                        _ => {}
                    }
                }
            }
            "compgen" | "complete" => {
                for pair in args.windows(2) {
                    let [option, operand] = pair else { continue };
                    let Some(text) = operand.as_str().map(str::to_owned) else { continue };
                    match option.as_known() {
                        Some(b"-C") => self.found.push((text, false, "a completion command")),
                        Some(b"-W") => self.reparse_value(&text, "a word list"),
                        Some(b"-F") => self.found.push((text, false, "a completion function")),
                        _ => {}
                    }
                }
            }
            "wait" => {
                for pair in args.windows(2) {
                    if let [option, operand] = pair
                        && option.as_known() == Some(b"-p")
                        && let Some(text) = operand.as_str().map(str::to_owned)
                    {
                        self.reparse_subscript(&text);
                    }
                }
            }
            "getopts" => {
                if let Some(name) = args.get(1).and_then(Value::as_str).map(str::to_owned) {
                    self.assign_slot(&name, super::state::unknown_slot(&name));
                    self.assign_slot("OPTARG", Slot::Scalar(hole("$OPTARG", false)));
                    self.assign_slot("OPTIND", Slot::Scalar(hole("$OPTIND", false)));
                }
            }
            "exec" if args.is_empty() => {
                self.place.redirect(&reading.redirects);
                if let Some(stdin) = &reading.stdin {
                    self.place.stdin = stdin.clone();
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn change_directory(&mut self, args: &[Value], push: bool) {
        let option = |value: &&Value| {
            matches!(value.as_known(), Some(b"-P" | b"-L" | b"-e" | b"-@" | b"-Pe" | b"--" | b"-n"))
        };
        let target = args.iter().find(|value| !option(value));
        let target = match target {
            None => self.variable_value("HOME"),
            Some(value) if value.as_known() == Some(b"-") => self.variable_value("OLDPWD"),
            Some(value) if value.as_known() == Some(b"") => return,
            Some(value) => value.clone(),
        };
        if push {
            let cwd = self.cwd();
            self.assign_slot("\0pushed", Slot::Scalar(Value::clone(&cwd)));
        }
        let searched = if push { Vec::new() } else { self.searched(&target) };
        // `cd $unset` is `cd`, which goes home
        let home = !push && target.is_no_word();
        self.move_to(target);
        if home {
            let mut slots = vec![self.slot(CWD)];
            slots.push(Slot::Scalar(self.variable_value("HOME")));
            self.set("PWD", slots.clone());
            self.set(CWD, slots);
        }
        if !searched.is_empty() {
            // Nobody knows which of them are there.
            let mut slots = vec![self.slot(CWD)];
            slots.extend(searched.into_iter().map(|path| Slot::Scalar(Value::known(path))));
            self.set("PWD", slots.clone());
            self.set(CWD, slots);
        }
    }

    /// Where CDPATH leads a relative directory.
    fn searched(&mut self, target: &Value) -> Vec<Vec<u8>> {
        let Some(target) = target.as_known().map(<[u8]>::to_vec) else { return Vec::new() };
        if [b"/".as_slice(), b"./", b"../"].iter().any(|front| target.starts_with(front)) || target == b".." {
            return Vec::new();
        }
        let Slot::Scalar(path) = self.slot("CDPATH") else { return Vec::new() };
        let Some(path) = path.as_known() else { return Vec::new() };
        let absolute = path.split(|byte| *byte == b':').filter(|entry| entry.starts_with(b"/"));
        absolute.take(8).map(|entry| constants::normal(&[entry, b"/", &target].concat())).collect()
    }

    fn move_to(&mut self, target: Value) {
        if self.variables.get(CWD).is_some_and(|slots| slots.len() > MOST_DIRECTORIES) {
            self.set(CWD, vec![super::state::unknown_slot(CWD)]);
        }
        let old = self.cwd();
        let mut to = if target.prefix().starts_with(b"/")
            || matches!(target.pieces.first(), Some(Piece::Unknown(_)))
        {
            target
        } else {
            let mut joined = Value::clone(&old);
            joined.push(Piece::known(b"/"));
            for piece in target.pieces {
                joined.push(piece);
            }
            joined
        };
        if to.weight() > LONGEST_PATH {
            to = hole("$PWD", false);
        } else if let Some(known) = to.as_known().filter(|known| known.starts_with(b"/")) {
            to = Value::known(constants::normal(known));
        }
        self.assign_slot("OLDPWD", Slot::Scalar(Value::clone(&old)));
        self.assign_slot("PWD", Slot::Scalar(to.clone()));
        self.assign_slot(CWD, Slot::Scalar(to));
    }

    fn declare(&mut self, builtin: &str, args: &[Value], reading: &Reading) {
        let options: Vec<u8> = args
            .iter()
            .map(Value::prefix)
            .filter(|prefix| prefix.starts_with(b"-"))
            .flat_map(|prefix| prefix.iter().skip(1).copied())
            .collect();
        let read_only = builtin == "readonly" || options.contains(&b'r');
        let exports = builtin == "export" && !options.contains(&b'n') || options.contains(&b'x');
        for value in args {
            let prefix = value.prefix();
            if prefix.starts_with(b"-") || prefix.starts_with(b"+") {
                continue;
            }
            let length = prefix.iter().take_while(|byte| **byte != b'=').count();
            let Some(name) =
                prefix.get(..length).and_then(|name| std::str::from_utf8(name).ok()).map(str::to_owned)
            else {
                continue;
            };
            if name.contains('[') {
                self.reparse_subscript(&name);
            }
            let append = name.ends_with('+');
            let name = name.trim_end_matches('+').split('[').next().unwrap_or_default().to_owned();
            if name.is_empty() {
                self.opaque("a declaration of a name that is not known");
                continue;
            }
            let inside = !self.calls.is_empty();
            if builtin == "local" && !inside && self.context.dialect == Dialect::Bash {
                // it fails outside functions, and assigns nothing
                continue;
            }
            let local = builtin == "local"
                || inside && matches!(builtin, "declare" | "typeset") && !options.contains(&b'g');
            if local {
                self.make_local(&name);
            }
            if length < prefix.len() {
                let mut content = Value::default();
                content.push(Piece::known(prefix.get(length + 1..).unwrap_or(&[])));
                for piece in value.pieces.iter().skip(1) {
                    content.push(piece.clone());
                }
                if append && let Slot::Scalar(old) = self.slot(&name) {
                    content = super::simple::concat(old, content);
                }
                let list = matches!(self.slot(&name), Slot::Array(_));
                if (list || options.iter().any(|option| matches!(option, b'a' | b'A')))
                    && !options.contains(&b'n')
                    && self.list_of_text(&name, &content)
                {
                    continue;
                }
                for kind in options.iter().filter(|option| b"iulc".contains(option)) {
                    content = self.converted(&name, *kind, content);
                }
                let target = content.as_str().map(str::to_owned);
                let slot = match target {
                    Some(target) if options.contains(&b'n') => {
                        self.reparse_subscript(&target);
                        Slot::Reference(target)
                    }
                    _ => Slot::Scalar(content),
                };
                if name == "PS4"
                    && let Slot::Scalar(value) = &slot
                    && let Some(text) = value.as_str()
                {
                    let text = text.to_owned();
                    self.reparse_value(&text, "a prompt");
                }
                self.assign_slot(&name, slot);
            } else if local && self.covered(&name).is_empty() {
                self.assign_slot(&name, Slot::Unset);
            }
            // one that is a function's own ends with it
            if read_only && !local {
                self.read_only.insert(name.clone());
            }
            for kind in options.iter().filter(|option| b"iulc".contains(option)) {
                self.attributes.insert(name.clone(), *kind);
            }
            if exports {
                self.exported.insert(name);
            }
        }
        for (name, slot) in &reading.assigns {
            // `x=1 export x` keeps what stands in front, of what it names; a list stands behind
            let named = args.iter().any(|value| value.as_known() == Some(name.as_bytes()));
            let list = matches!(slot, Slot::Array(_));
            if named || list {
                self.assign_slot(name, slot.clone());
            }
            if named || list && exports {
                self.exported.insert(name.clone());
            }
        }
    }

    /// `declare -a x='(...)'`: the text is read as a list, and its substitutions run.
    fn list_of_text(&mut self, name: &str, content: &Value) -> bool {
        match content.as_str() {
            Some(text) if text.starts_with('(') && text.ends_with(')') => {
                self.found.push((format!("{name}={text}"), false, "a list of values"));
                true
            }
            None if content.prefix().is_empty() || content.prefix().starts_with(b"(") => {
                self.opaque("a list of values that is not known");
                false
            }
            _ => false,
        }
    }

    /// A function's own variable: the outer one comes back when the function returns.
    fn make_local(&mut self, name: &str) {
        let old = self.variables.get(name).cloned();
        let outer = old.unwrap_or_else(|| vec![super::initial(self.context, name)]);
        let returns = self.tasks.iter_mut().rev().find_map(|task| match task {
            Task::Return { locals } => Some(locals),
            _ => None,
        });
        if let Some(locals) = returns
            && !locals.iter().any(|(known, _)| known == name)
        {
            locals.push((name.to_owned(), Some(outer)));
        }
    }

    fn set_options(&mut self, args: &[Value]) {
        let mut rest = args;
        while let Some((first, tail)) = rest.split_first() {
            match first.as_known() {
                Some(b"--") => return self.set_parameters(tail),
                Some(b"-") if tail.is_empty() => return,
                Some(b"-") => return self.set_parameters(tail),
                Some([sign @ (b'-' | b'+'), letters @ ..]) if !letters.is_empty() => {
                    rest = tail;
                    // `-euo pipefail`
                    if letters.contains(&b'o') {
                        if tail.first().and_then(Value::as_known) == Some(b"posix") {
                            self.posix = *sign == b'-';
                        }
                        rest = tail.split_first().map_or(tail, |(_, tail)| tail);
                    }
                }
                _ => return self.set_parameters(rest),
            }
        }
    }

    fn set_parameters(&mut self, values: &[Value]) {
        let values = values.iter().filter(|value| !value.is_no_word());
        let values: Vec<Value> = values.cloned().collect();
        let slot = if values.iter().any(Value::splits) {
            Slot::Scalar(hole("$@", false))
        } else {
            Slot::Array(numbered(values, 1))
        };
        self.assign_slot("@", slot);
    }

    fn unset(&mut self, args: &[Value]) {
        let names = |flag: &[u8]| args.iter().any(|value| value.as_known() == Some(flag));
        let (functions, variables, references) = (names(b"-f"), names(b"-v"), names(b"-n"));
        for value in args {
            let Some(text) = value.as_str().filter(|text| !text.starts_with('-')).map(str::to_owned) else {
                continue;
            };
            if functions {
                self.functions.remove(&text);
                continue;
            }
            if text.contains('[') {
                self.reparse_subscript(&text);
            }
            if references {
                self.set(&text, vec![Slot::Unset]);
                continue;
            }
            if let Some((name, key)) = text.strip_suffix(']').and_then(|text| text.split_once('[')) {
                self.unset_element(name, key);
                continue;
            }
            // a function goes where no variable has the name
            if !variables
                && !matches!(self.variables.get(&text), Some(slots) if !slots.contains(&Slot::Unset))
            {
                self.functions.remove(&text);
            }
            self.assign_slot(&text, Slot::Unset);
            let covered = self.covered(&text);
            if !covered.is_empty() {
                let mut slots = vec![Slot::Unset];
                super::state::unite(&mut slots, &covered, &text);
                self.set(&text, slots);
            }
            self.exported.remove(&text);
        }
    }

    /// `unset 'a[1]'`
    fn unset_element(&mut self, name: &str, key: &str) {
        let slot = self.slot(name);
        if slot == Slot::Unset {
            return;
        }
        let Slot::Array(mut items) = slot else {
            return self.assign_slot(name, super::state::unknown_slot(name));
        };
        let slot = match arith::evaluate(key.as_bytes(), self) {
            _ if matches!(key, "@" | "*") => Slot::Unset,
            Some(index) if index >= 0 && !key.bytes().any(|byte| byte.is_ascii_alphabetic()) => {
                let index = index.to_string().into_bytes();
                items.retain(|(known, _)| *known != index);
                Slot::Array(items)
            }
            _ if items.iter().any(|(known, _)| known == key.as_bytes()) => {
                items.retain(|(known, _)| known != key.as_bytes());
                Slot::Array(items)
            }
            _ => super::state::unknown_slot(name),
        };
        self.assign_slot(name, slot);
    }

    fn shift(&mut self, args: &[Value]) {
        let count = match args.first() {
            None => Some(1),
            Some(value) => value.as_str().and_then(|text| text.parse::<usize>().ok()),
        };
        let slots = self.variables.get("@").cloned();
        let slots = slots.unwrap_or_else(|| vec![super::initial(self.context, "@")]);
        let shifted = |slot: Slot| match (slot, count) {
            // with fewer it fails, and shifts nothing
            (Slot::Array(items), Some(count))
                if items.iter().take(count).any(|(_, value)| value.splits()) =>
            {
                Slot::Scalar(hole("$@", false))
            }
            (Slot::Array(items), Some(count)) if count <= items.len() => {
                Slot::Array(numbered(items.into_iter().skip(count).map(|(_, value)| value).collect(), 1))
            }
            (Slot::Array(_), None) => Slot::Scalar(hole("$@", false)),
            (slot, _) => slot,
        };
        self.set("@", slots.into_iter().map(shifted).collect());
    }

    fn eval(&mut self, args: &[Value], reading: &Reading) -> Result<(), TooMuch> {
        let mut text = Value::default();
        for (index, value) in args.iter().filter(|value| value.as_known() != Some(b"--")).enumerate() {
            if index > 0 {
                text.push(Piece::known(b" "));
            }
            for piece in &value.pieces {
                text.push(piece.clone());
            }
        }
        if text.has_unset() {
            text = text.with_unset_empty();
        }
        match text.as_str().map(str::to_owned) {
            Some(text) => {
                if !reading.redirects.is_empty() {
                    self.tasks.push(Task::Restore(Box::new(self.place.clone())));
                    self.surround(&reading.redirects, reading.stdin.clone(), reading.stdout);
                }
                self.text(&text, Origin::Reparsed("eval".to_owned()))
            }
            None => {
                self.opaque("`eval` of text that is not known");
                Ok(())
            }
        }
    }

    fn trap(&mut self, args: &[Value]) -> Result<(), TooMuch> {
        let args: Vec<&Value> = args.iter().filter(|value| value.as_known() != Some(b"--")).collect();
        let [action, signals @ ..] = args.as_slice() else { return Ok(()) };
        if signals.is_empty() || matches!(action.as_known(), Some(b"-" | b"" | b"-l" | b"-p")) {
            return Ok(());
        }
        let signal = signals.first().map(ToString::to_string).unwrap_or_default();
        match action.as_str().map(str::to_owned).or_else(|| with_numbers(action)) {
            Some(text) => {
                self.traps.push((text.clone(), signal.clone()));
                self.text(&text, Origin::Trap(signal))
            }
            None => {
                self.opaque("a trap whose text is not known");
                Ok(())
            }
        }
    }

    fn printf_v(&mut self, args: &[Value]) {
        let (name, rest) = match args {
            [option, name, rest @ ..] if option.as_known() == Some(b"-v") => (name.clone(), rest),
            [option, rest @ ..] if option.as_str().is_some_and(|option| option.starts_with("-v")) => {
                (Value::known(option.as_known().unwrap_or_default().get(2..).unwrap_or_default()), rest)
            }
            _ => return,
        };
        let Some(name) = name.as_str().map(str::to_owned) else {
            self.opaque("`printf -v` into a variable that is not known");
            return;
        };
        if name.contains('[') {
            self.reparse_subscript(&name);
            return;
        }
        let known: Option<Vec<&[u8]>> = rest.iter().map(Value::as_known).collect();
        let printed = known.and_then(|args| {
            let argv: Vec<&[u8]> = std::iter::once(b"printf".as_slice()).chain(args).collect();
            constants::output(&argv, None, self.context.dialect)
        });
        let slot = match printed {
            // a NUL ends it
            Some(bytes) => {
                Slot::Scalar(Value::known(bytes.split(|byte| *byte == 0).next().unwrap_or_default()))
            }
            None => super::state::unknown_slot(&name),
        };
        self.assign_slot(&name, slot);
    }

    /// `. file`, where the text itself made the file.
    fn source(&mut self, args: &[Value], reading: &Reading) -> Result<(), TooMuch> {
        let Some(path) = args.first() else { return Ok(()) };
        let own = matches!(path.as_known(), Some(b"/dev/stdin" | b"/dev/fd/0" | b"/proc/self/fd/0"));
        let content = match &reading.stdin {
            Some(stdin) if own => stdin.clone(),
            _ => self.content(path),
        };
        if let Input::Known(bytes) = content
            && let Ok(text) = String::from_utf8(bytes)
        {
            return self.text(&text, Origin::Reparsed("source".to_owned()));
        }
        Ok(())
    }
}
