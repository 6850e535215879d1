//! Which bytes of a text are code: comments and quoted data are told apart from it.
//!
//! Languages are read only as far as it is sure where their literals end. Whatever is not (a slash that may divide or
//! open a pattern, a here-document, a quote in a place where it may not be one) gives the whole text up, and the caller looks
//! at all of it as if it were code.

use super::super::effect::Language;

/// A text in two forms of its own length, so that places in one are places in the other.
pub(super) struct Lexed {
    /// Without comments.
    pub(super) plain: Vec<u8>,
    /// Without comments, and without what stands in literals that nothing executes.
    pub(super) code: Vec<u8>,
}

/// The text with what is no code put out of sight; `None` where that cannot be told.
pub(super) fn lexed(language: Language, text: &[u8]) -> Option<Lexed> {
    if text.contains(&0) || !is_readable(language, text) {
        return None;
    }
    let mut lexer = Lexer {
        language,
        text,
        at: 0,
        last: b'\n',
        word: (0, 0),
        doubts: 0,
        lexed: Lexed { plain: text.to_vec(), code: text.to_vec() },
    };
    while lexer.at < text.len() {
        lexer.step()?;
    }
    Some(lexer.lexed)
}

/// Whether a text has none of the constructs by which a language changes how it is read.
fn is_readable(language: Language, text: &[u8]) -> bool {
    let has = |part: &[u8]| memchr::memmem::find(text, part).is_some();
    match language {
        // `# coding: utf-7`
        Language::Python => !text
            .split(|byte| *byte == b'\n')
            .take(2)
            .any(|line| memchr::memmem::find(line, b"coding").is_some() && line.contains(&b'#')),
        // comments of old pages, and elements whose text is no code
        Language::JavaScript => !has(b"<!--") && !has(b"-->") && !has(b"</") && !has(b"/>"),
        Language::Perl => {
            !has(b"\n=")
                && !text.starts_with(b"=")
                && !has(b"__END__")
                && !has(b"__DATA__")
                && !has(b"format")
        }
        Language::Ruby => !has(b"=begin") && !has(b"__END__"),
        Language::Php => {
            let start = text.trim_ascii_start();
            let rest = start.strip_prefix(b"<?php").unwrap_or(start);
            memchr::memmem::find(rest, b"<?").is_none() && !has(b"?>") && !has(b"<<<")
        }
        Language::Lua => !has(b"[[") && !has(b"[="),
        Language::Awk => true,
        _ => false,
    }
}

struct Lexer<'t> {
    language: Language,
    text: &'t [u8],
    at: usize,
    /// The last byte that is code and no blank.
    last: u8,
    /// The last word, where it ends right before this place or before blanks.
    word: (usize, usize),
    /// Slashes that may be more than one thing.
    doubts: usize,
    lexed: Lexed,
}

/// How many slashes of a text may be more than one thing.
const MOST_DOUBTS: usize = 64;

impl Lexer<'_> {
    fn rest(&self) -> &[u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Reads one token.
    fn step(&mut self) -> Option<()> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let byte = *rest.first()?;
        if self.opens_comment(rest) {
            return self.comment();
        }
        match byte {
            b'\'' | b'"' if byte == b'"' || self.language != Language::Awk => self.literal(byte),
            b'`' => match self.language {
                Language::JavaScript => self.literal(byte),
                // a command: it is found by whoever looks for one
                Language::Perl | Language::Ruby | Language::Php => {
                    let end = end_of(self.text, self.at + 1, byte)?;
                    self.goes_to(end + 1, byte);
                    Some(())
                }
                _ => None,
            },
            b'/' if matches!(
                self.language,
                Language::JavaScript | Language::Perl | Language::Ruby | Language::Awk
            ) =>
            {
                self.slash()
            }
            // `$#x`, `$'`, `$"`
            b'$' if matches!(self.language, Language::Perl | Language::Ruby)
                && rest.get(1).is_some_and(u8::is_ascii_punctuation) =>
            {
                let inner = rest.get(2..).unwrap_or_default().trim_ascii_start().first().copied();
                // `${/}`
                if rest.get(1) == Some(&b'{') && !inner.is_some_and(|byte| is_word(byte) || byte == b'$') {
                    return None;
                }
                let length = if matches!(rest.get(1), Some(b'{' | b'_' | b'$' | b'@')) { 1 } else { 2 };
                self.goes_to(self.at + length, b')');
                Some(())
            }
            // variables and subroutines whose name is a quote
            b'@' | b'%' | b'&' | b'*'
                if self.language == Language::Perl
                    && matches!(rest.get(1), Some(b'\'' | b'"' | b'`' | b'#' | b'/')) =>
            {
                None
            }
            b'<' if self.is_odd_angle(rest) => None,
            b'%' if self.language == Language::Ruby
                && !matches!(rest.get(1), Some(b' ' | b'=' | b'0'..=b'9')) =>
            {
                None
            }
            // `?"`: a letter
            b'?' if self.language == Language::Ruby
                && matches!(rest.get(1), Some(b'\'' | b'"' | b'`' | b'/' | b'#' | b'\\')) =>
            {
                None
            }
            _ if is_word(byte) => self.name(rest),
            _ => {
                if !byte.is_ascii_whitespace() || byte == b'\n' {
                    self.last = byte;
                }
                self.at += 1;
                Some(())
            }
        }
    }

    fn goes_to(&mut self, at: usize, last: u8) {
        self.at = at;
        self.last = last;
    }

    fn opens_comment(&self, rest: &[u8]) -> bool {
        match self.language {
            Language::JavaScript => rest.starts_with(b"//") || rest.starts_with(b"/*"),
            Language::Php => {
                rest.starts_with(b"//")
                    || rest.starts_with(b"/*")
                    || rest.starts_with(b"#") && !rest.starts_with(b"#[")
            }
            Language::Lua => rest.starts_with(b"--"),
            _ => rest.starts_with(b"#"),
        }
    }

    /// Puts a comment out of sight.
    fn comment(&mut self) -> Option<()> {
        let rest = self.rest();
        let end = if rest.starts_with(b"/*") {
            memchr::memmem::find(rest.get(2..)?, b"*/")? + 4
        } else {
            let ends = |byte: &u8| match self.language {
                Language::JavaScript | Language::Python | Language::Php => matches!(byte, b'\n' | b'\r'),
                _ => *byte == b'\n',
            };
            let end = rest.iter().position(ends).unwrap_or(rest.len());
            let line = rest.get(..end)?;
            // a backslash may take the next line in, and U+2028 ends a line of JavaScript
            if line.ends_with(b"\\") || memchr::memmem::find(line, b"\xE2\x80").is_some() {
                return None;
            }
            end
        };
        self.blank(self.at, self.at + end, true);
        self.at += end;
        Some(())
    }

    fn blank(&mut self, from: usize, to: usize, comment: bool) {
        let blank = |bytes: &mut Vec<u8>| {
            for byte in bytes.get_mut(from..to).unwrap_or_default() {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        };
        blank(&mut self.lexed.code);
        if comment {
            blank(&mut self.lexed.plain);
        }
    }

    /// A literal from its opening quote.
    fn literal(&mut self, quote: u8) -> Option<()> {
        let rest = self.text.get(self.at..)?;
        let triple = self.language == Language::Python
            && rest.len() > 2
            && rest.get(..3)?.iter().all(|byte| *byte == quote);
        let start = self.at + if triple { 3 } else { 1 };
        let mut end = end_of(self.text, start, quote)?;
        while triple && !self.text.get(end..end + 3)?.iter().all(|byte| *byte == quote) {
            end = end_of(self.text, end + 1, quote)?;
        }
        let content = self.text.get(start..end)?;
        let one_line = match self.language {
            Language::Python => !triple,
            Language::JavaScript => quote != b'`',
            Language::Awk | Language::Lua => true,
            _ => false,
        };
        if one_line && breaks(content) {
            return None;
        }
        if self.executes(content, quote) {
            if !is_balanced(content) && self.language != Language::Perl {
                return None;
            }
        } else {
            self.blank(start, end, false);
        }
        self.goes_to(end + if triple { 3 } else { 1 }, b'"');
        Some(())
    }

    /// Whether a part of a literal is code.
    fn executes(&self, content: &[u8], quote: u8) -> bool {
        let has = |part: &[u8]| memchr::memmem::find(content, part).is_some();
        match self.language {
            Language::Python => {
                let (start, end) = self.word;
                let prefix = self.text.get(start..end).unwrap_or_default();
                end == self.at
                    && prefix.len() <= 2
                    && prefix.iter().any(|byte| matches!(byte, b'f' | b'F' | b't' | b'T'))
                    && has(b"{")
            }
            Language::JavaScript => quote == b'`' && has(b"${"),
            Language::Ruby => quote != b'\'' && has(b"#{"),
            Language::Php => quote == b'"' && (has(b"{$") || has(b"${")),
            Language::Perl => {
                quote != b'\''
                    && (has(b"$") || has(b"@") || has(b"(?"))
                    && content.iter().any(|byte| matches!(byte, b'{' | b'['))
            }
            _ => false,
        }
    }

    /// A slash: what it opens is a pattern where nothing stands that could be divided. Elsewhere it divides, unless there is
    /// more than one way to read what follows.
    fn slash(&mut self) -> Option<()> {
        let before = self.text.get(self.word.0..self.word.1).unwrap_or_default();
        let keyword = is_word(self.last)
            && match self.language {
                Language::Perl | Language::Ruby => {
                    matches!(
                        before,
                        b"if"
                            | b"unless"
                            | b"and"
                            | b"or"
                            | b"not"
                            | b"while"
                            | b"until"
                            | b"split"
                            | b"when"
                    )
                }
                Language::JavaScript => {
                    matches!(before, b"return" | b"typeof" | b"case" | b"of" | b"in" | b"void" | b"throw")
                }
                _ => false,
            };
        let statement = match self.last {
            b'}' => self.language == Language::Awk,
            b'\n' => self.at == 0 || self.language == Language::Awk || self.starts_text(),
            _ => false,
        };
        let sign = match self.language {
            // `x! / 2`, `nil? / 2`, `:/`
            Language::JavaScript => self.last != b'!',
            Language::Ruby => !matches!(self.last, b'!' | b'?' | b':'),
            _ => true,
        };
        let signs = b"(,=:[!&|?{;~";
        if !(keyword || statement || sign && signs.contains(&self.last)) {
            return self.divides();
        }
        let mut class = false;
        let mut end = self.at + 1;
        loop {
            match *self.text.get(end)? {
                b'\\' => end += 1,
                b'[' => {
                    // where such a class ends is read in more ways than one
                    let next = self.text.get(end + 1);
                    let negated = next == Some(&b'^');
                    let first = if negated { self.text.get(end + 2) } else { next };
                    if self.language == Language::Awk && matches!(first, Some(b']' | b'^')) {
                        return None;
                    }
                    class = true;
                }
                b']' => class = false,
                b'/' if !class => break,
                b'/' if self.language != Language::JavaScript => return None,
                b'\n' if self.language != Language::Perl => return None,
                _ => {}
            }
            end += 1;
        }
        let content = self.text.get(self.at + 1..end)?;
        if !self.executes(content, b'/') {
            self.blank(self.at + 1, end, false);
        } else if self.language != Language::Perl && !is_balanced(content) {
            return None;
        }
        self.goes_to(end + 1, b'"');
        Some(())
    }

    /// A slash that may divide: where it may also open a pattern, nothing may follow that the two read otherwise.
    fn divides(&mut self) -> Option<()> {
        let word = self.text.get(self.word.0..self.word.1).unwrap_or_default();
        let operators: &[&[u8]] =
            &[b"do", b"else", b"delete", b"instanceof", b"new", b"yield", b"await", b"default", b"extends"];
        let value = is_word(self.last) && !operators.contains(&word) || matches!(self.last, b']' | b'"');
        if self.language == Language::JavaScript && value {
            self.goes_to(self.at + 1, b'/');
            return Some(());
        }
        // each of these is looked behind
        self.doubts += 1;
        if self.doubts > MOST_DOUBTS {
            return None;
        }
        let rest = self.rest().get(1..)?;
        let rest = match self.language {
            Language::JavaScript | Language::Awk => {
                rest.get(..rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()))?
            }
            _ => rest,
        };
        if let Some(again) = rest.iter().position(|byte| *byte == b'/') {
            let last = rest.iter().rposition(|byte| *byte == b'/').unwrap_or(again);
            let between = rest.get(..last)?;
            let odd = |byte: &u8| matches!(byte, b'\'' | b'"' | b'`' | b'#');
            let comment = rest.windows(2).any(|two| matches!(two, b"//" | b"/*"));
            if comment || between.iter().any(odd) {
                return None;
            }
        }
        self.goes_to(self.at + 1, b'/');
        Some(())
    }

    /// Whether nothing but blanks and comments stands before.
    fn starts_text(&self) -> bool {
        self.word == (0, 0) && self.lexed.code.get(..self.at).unwrap_or_default().trim_ascii().is_empty()
    }

    /// `<<EOF`, and `<it's*>`, which Perl takes for a pattern of names.
    fn is_odd_angle(&self, rest: &[u8]) -> bool {
        let here = |byte: &u8| {
            byte.is_ascii_alphabetic() || matches!(byte, b'~' | b'-' | b'_' | b'"' | b'\'' | b'`')
        };
        match self.language {
            Language::Ruby => rest.starts_with(b"<<") && rest.get(2).is_some_and(here),
            Language::Perl => {
                let line = rest.get(
                    ..rest.iter().take(256).position(|byte| *byte == b'\n').unwrap_or(rest.len().min(256)),
                );
                let line = line.unwrap_or_default();
                let closed = line.iter().position(|byte| *byte == b'>').and_then(|end| line.get(..end));
                let quotes = |text: &[u8]| text.iter().any(|byte| matches!(byte, b'\'' | b'"' | b'`' | b'#'));
                rest.starts_with(b"<<")
                    && rest.get(2..).is_some_and(|rest| rest.trim_ascii_start().first().is_some_and(here))
                    || closed.is_some_and(quotes)
                    || line.len() == 256
            }
            _ => false,
        }
    }

    /// A word, and the literal that it opens in Perl.
    fn name(&mut self, rest: &[u8]) -> Option<()> {
        let length = rest.iter().take_while(|byte| is_word(**byte)).count();
        let (start, end) = (self.at, self.at + length);
        let before = self.last;
        let word = self.text.get(start..end)?;
        self.word = (start, end);
        self.goes_to(end, *word.last()?);
        if self.language != Language::Perl {
            return Some(());
        }
        // the old `isn't`
        if self.text.get(end) == Some(&b'\'') && self.text.get(end + 1).is_some_and(|byte| is_word(*byte)) {
            let quotes = matches!(word, b"q" | b"qq" | b"qw" | b"qx" | b"m" | b"qr" | b"s" | b"y" | b"tr");
            if quotes || !matches!(word, b"print" | b"say" | b"x" | b"eq" | b"ne" | b"system" | b"exec") {
                return None;
            }
        }
        let parts = match word {
            b"q" | b"qq" | b"qw" | b"qr" | b"m" => 1,
            b"s" | b"tr" | b"y" => 2,
            _ => return Some(()),
        };
        let glued = start.checked_sub(1).and_then(|at| self.text.get(at)).copied();
        if matches!(glued, Some(b'$' | b'@' | b'%' | b'&')) {
            return Some(());
        }
        let next = self.text.get(end..)?;
        if next.trim_ascii_start().starts_with(b"=>") {
            return Some(());
        }
        if matches!(glued, Some(b'-' | b'>' | b':')) || before == b'>' {
            return None;
        }
        let open = *next.first()?;
        if !matches!(open, b'/' | b'{' | b'(' | b'[' | b'|' | b'!' | b'~') {
            return None;
        }
        let mut at = end;
        for part in 0..parts {
            let close = match open {
                b'{' => b'}',
                b'(' => b')',
                b'[' => b']',
                other => other,
            };
            // the second part in brackets of its own
            if part > 0 && close != open {
                let gap = self.text.get(at..)?;
                at += gap.len() - gap.trim_ascii_start().len();
                if self.text.get(at) != Some(&open) {
                    return None;
                }
            }
            let from = if part > 0 && close == open { at } else { at + 1 };
            let closing = end_of_nested(self.text, from, open, close)?;
            let content = self.text.get(from..closing)?;
            let interpolates = !matches!(word, b"q" | b"qw" | b"tr" | b"y");
            if !(interpolates && self.executes(content, b'/')) {
                self.blank(from, closing, false);
            }
            at = closing + 1;
        }
        let flags = self.text.get(at..)?.iter().take_while(|byte| is_word(**byte)).count();
        if word == b"s" && self.text.get(at..at + flags)?.contains(&b'e') {
            return None;
        }
        self.goes_to(at + flags, b'"');
        Some(())
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The next quote that no backslash protects.
fn end_of(text: &[u8], from: usize, quote: u8) -> Option<usize> {
    let mut at = from;
    loop {
        match *text.get(at)? {
            b'\\' => at += 2,
            byte if byte == quote => return Some(at),
            _ => at += 1,
        }
    }
}

/// The bracket that closes what is open, past those that stand in pairs.
fn end_of_nested(text: &[u8], from: usize, open: u8, close: u8) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = from;
    loop {
        match *text.get(at)? {
            b'\\' => at += 1,
            byte if byte == close && depth == 0 => return Some(at),
            byte if byte == close => depth -= 1,
            byte if byte == open => depth += 1,
            _ => {}
        }
        at += 1;
    }
}

/// Whether a line ends in a literal that must stand on one.
fn breaks(content: &[u8]) -> bool {
    let mut escaped = false;
    content.iter().any(|byte| {
        let breaks = *byte == b'\n' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        breaks
    })
}

/// Whether every brace in a literal is closed in it, past what is quoted within: else the quote that was taken for its end
/// stands in the code that it holds.
fn is_balanced(content: &[u8]) -> bool {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = content.get(at) {
        match byte {
            b'\\' => at += 1,
            b'{' => depth += 1,
            b'}' => match depth.checked_sub(1) {
                Some(outer) => depth = outer,
                None => return false,
            },
            b'\'' | b'"' | b'`' if depth > 0 => match end_of(content, at + 1, byte) {
                Some(end) => at = end,
                None => return false,
            },
            _ => {}
        }
        at += 1;
    }
    depth == 0
}
