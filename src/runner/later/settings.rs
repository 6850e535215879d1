//! The settings of a git configuration, as git reads them: git-config(1), "CONFIGURATION FILE".
//!
//! The file is a sandbox's, so git itself is not asked: it would obey what it reads. What git would refuse is `None` here.

use std::ops::Range;

/// One setting of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// `core.fsmonitor`, `filter.lfs.clean`: section and name in lower case, what stands between them as it is.
    pub(super) key: String,
    /// With quotes and escapes resolved. A name without a value is true.
    pub(super) value: String,
    /// Its bytes: from the name to the end of its line, continuations included.
    span: Range<usize>,
}

/// Reads a file. `None` where git would not, or where it cannot be told how git would.
pub(super) fn parse(bytes: &[u8]) -> Option<Vec<Setting>> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))?;
    let mut reader = Reader { text, at: 0 };
    reader.accept('\u{feff}');
    let (mut section, mut settings) = (None, Vec::new());
    while let Some(next) = reader.peek() {
        match next {
            '#' | ';' => reader.skip_line(),
            '[' => section = Some(reader.section()?),
            _ if next.is_ascii_whitespace() => reader.at += 1,
            _ => {
                let start = reader.at;
                let name = reader.word(|c| c.is_ascii_alphanumeric() || c == '-').to_ascii_lowercase();
                if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
                    return None;
                }
                let value = reader.value()?;
                let key = format!("{}.{name}", section.as_ref()?);
                settings.push(Setting { key, value, span: start..reader.at });
            }
        }
    }
    Some(settings)
}

/// The file without these settings, all else as it was.
pub(super) fn without(bytes: &[u8], settings: &[&Setting]) -> Vec<u8> {
    let mut kept = bytes.to_vec();
    for setting in settings.iter().rev() {
        if let Some(range) = kept.get(setting.span.clone()).map(|_| setting.span.clone()) {
            kept.drain(range);
        }
    }
    kept
}

/// Whether a key is one of `pattern`: `core.pager`, `diff.*.command` (any subsection), `alias.*` (anything).
pub(super) fn matches(pattern: &str, key: &str) -> bool {
    if let Some(section) = pattern.strip_suffix(".*") {
        return key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'));
    }
    let Some((section, name)) = pattern.split_once(".*.") else { return pattern == key };
    let inner = key.strip_prefix(section).and_then(|rest| rest.strip_suffix(name));
    inner.is_some_and(|inner| inner.len() >= 2 && inner.starts_with('.') && inner.ends_with('.'))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        // git takes the end of a line of other systems for its own.
        if next == '\r' && self.peek() == Some('\n') { self.next() } else { Some(next) }
    }

    fn accept(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn skip_line(&mut self) {
        while self.next().is_some_and(|c| c != '\n') {}
    }

    fn word(&mut self, part: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.peek().is_some_and(&part) {
            self.at += 1;
        }
        self.text.get(start..self.at).unwrap_or_default().to_owned()
    }

    /// `[name]`, `[name.sub]`, `[name "sub"]`.
    fn section(&mut self) -> Option<String> {
        self.at += 1;
        let mut name = self.word(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.').to_ascii_lowercase();
        if self.accept(']') {
            return Some(name);
        }
        self.word(|c| c == ' ' || c == '\t');
        if !self.accept('"') {
            return None;
        }
        name.push('.');
        loop {
            match self.next()? {
                '\n' => return None,
                '"' => break,
                '\\' => name.push(self.next().filter(|&c| c != '\n')?),
                other => name.push(other),
            }
        }
        self.accept(']').then_some(name)
    }

    /// What follows a name, up to the end of the line, which is left for the next.
    fn value(&mut self) -> Option<String> {
        self.word(|c| c == ' ' || c == '\t');
        match self.peek() {
            None | Some('\n') => return Some("true".to_owned()),
            Some('\r') if self.text.get(self.at..)?.starts_with("\r\n") => return Some("true".to_owned()),
            Some('=') => self.at += 1,
            Some(_) => return None,
        }
        let (mut value, mut quoted, mut solid) = (String::new(), false, 0);
        loop {
            let before = self.at;
            match self.next() {
                None | Some('\n') if quoted => return None,
                None => break,
                Some('\n') => {
                    self.at = before;
                    break;
                }
                Some('#' | ';') if !quoted => {
                    let rest = self.text.get(self.at..)?;
                    self.at += rest
                        .find('\n')
                        .map_or(rest.len(), |end| end - usize::from(rest[..end].ends_with('\r')));
                    break;
                }
                Some(' ' | '\t') if !quoted && value.is_empty() => {}
                Some('"') => {
                    quoted = !quoted;
                    solid = value.len();
                }
                Some('\\') => {
                    match self.next()? {
                        '\n' => continue,
                        't' => value.push('\t'),
                        'b' => value.push('\u{8}'),
                        'n' => value.push('\n'),
                        c @ ('\\' | '"') => value.push(c),
                        _ => return None,
                    }
                    solid = value.len();
                }
                Some(c) => {
                    value.push(c);
                    if quoted || !c.is_ascii_whitespace() {
                        solid = value.len();
                    }
                }
            }
        }
        value.truncate(solid);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Option<Vec<(String, String)>> {
        Some(parse(text.as_bytes())?.into_iter().map(|it| (it.key, it.value)).collect())
    }

    #[test]
    fn files_read_as_git_reads_them() {
        let one = |text: &str, key: &str, value: &str| {
            assert_eq!(pairs(text), Some(vec![(key.into(), value.into())]), "{text:?}");
        };
        one("[core]\n\tfsmonitor = ./evil\n", "core.fsmonitor", "./evil");
        one("[CORE] FsMonitor=./evil", "core.fsmonitor", "./evil");
        one("[diff \"A.b\"]\ncommand = x # not y", "diff.A.b.command", "x");
        one("[diff.A.b]\r\ncommand = x ; y\r\n", "diff.a.b.command", "x");
        one("[alias]\nx = \"!sh; #\" -c\\\n  y  \n", "alias.x", "!sh; # -c  y");
        one("[core \"a\\\"b\"]\nx\n", "core.a\"b.x", "true");
        one("\u{feff}[a]b=\"c\\td\\\\\"", "a.b", "c\td\\");
        for refused in
            ["x = 1", "[a", "[a \"b]\nc=1", "[a]\n1=2", "[a]\nb c", "[a]\nb=\"c", "[a]\nb=\\q", "[a]b=\0"]
        {
            assert_eq!(pairs(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn what_is_taken_out_is_gone_and_the_rest_is_as_it_was() {
        let text =
            "[core] pager = x\n[user]\n\tname = me\n\temail = \"a\\\n b\" # c\n[core]\n\tbare = false\n";
        let settings = parse(text.as_bytes()).unwrap();
        for taken in &settings {
            let kept = without(text.as_bytes(), &[taken]);
            let rest: Vec<_> = parse(&kept).unwrap().into_iter().map(|it| (it.key, it.value)).collect();
            let expected = settings.iter().filter(|it| *it != taken);
            assert_eq!(rest, expected.map(|it| (it.key.clone(), it.value.clone())).collect::<Vec<_>>());
        }
        assert_eq!(without(text.as_bytes(), &[]), text.as_bytes());
    }

    #[test]
    fn patterns_cover_subsections() {
        assert!(matches("core.pager", "core.pager") && !matches("core.pager", "core.pagers"));
        assert!(matches("alias.*", "alias.x") && !matches("alias.*", "aliased.x"));
        assert!(matches("filter.*.clean", "filter.a.b.clean") && !matches("filter.*.clean", "filter.clean"));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_read_or_are_refused(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
            if let Some(settings) = parse(&bytes) {
                let all: Vec<_> = settings.iter().collect();
                let rest = parse(&without(&bytes, &all));
                proptest::prop_assert!(rest.is_some_and(|rest| rest.is_empty()));
            }
        }

        #[test]
        fn text_of_the_kind_reads_or_is_refused(text in "([\\[\\]a-c \"\\\\=#;\n\r\t.-]|core|\\]\n){0,24}") {
            if let Some(settings) = parse(text.as_bytes()) {
                let all: Vec<_> = settings.iter().collect();
                let rest = parse(&without(text.as_bytes(), &all));
                proptest::prop_assert!(rest.is_some_and(|rest| rest.is_empty()), "{:?}", text);
            }
        }
    }
}
