//! Programs made from choices: each byte chooses among the productions of a grammar, so that a test framework that shrinks
//! bytes shrinks programs, and a fuzzer that mutates bytes mutates programs.

/// Choices that are still to be made; when they are used up, the first (the simplest) production is taken.
pub struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// A number below `count`.
    fn below(&mut self, count: usize) -> usize {
        match self.rest.split_first() {
            Some((byte, rest)) => {
                self.rest = rest;
                usize::from(*byte) % count
            }
            None => 0,
        }
    }

    fn one_of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts.get(self.below(texts.len())).copied().unwrap_or_default()
    }
}

/// Programs that are harmless to run: they assign, expand, and print their last words, each between `<` and `>`.
///
/// They start nothing but filters of standard input, and write no file.
pub mod words {
    use super::Choices;

    /// Text that a quote or a pattern may make something else of.
    const PIECES: &[&str] = &[
        "a", "b", "ab", "A", "bC", "1", "0", "-", "=", ",", ":", ".", "/", "x/y", "a.b", "_", "+", "%", "#",
        "@", "^", "~", "!", "]", "}", "é", "aXa",
    ];
    /// The same, with what only quotes may hold.
    const QUOTED: &[&str] = &[
        "a", " ", "  ", "a b", "*", "?", "[a]", "{a,b}", "~", "b", ";", "|", "\t", "#", "=", ":", "/", "(",
        ")", "<", ">", "&", "é", ",", "\n",
    ];
    const NAMES: &[&str] = &["x", "y", "z", "a", "m", "u"];

    /// A whole program.
    pub fn program(choices: &mut Choices<'_>) -> String {
        let mut text = String::new();
        for _ in 0..choices.below(5) {
            statement(choices, 2, &mut text);
            text.push_str(choices.one_of(&["\n", "; ", "\n"]));
        }
        let outer = choices.below(12);
        match outer {
            0 => text.push_str("f(){ "),
            1 => text.push_str("for i in a 'b c'; do "),
            2 => text.push_str("if [[ $x == a* ]]; then x=yes; else x=no; fi; "),
            3 => text.push_str("case $x in a|b) y=one ;; *) y=two ;; esac; "),
            _ => {}
        }
        text.push_str("printf '<%s>' S");
        for _ in 0..=choices.below(3) {
            text.push(' ');
            word(choices, 3, &mut text);
        }
        match outer {
            0 => text.push_str("; }; f p 'q r'"),
            1 => text.push_str(" \"$i\"; done"),
            _ => {}
        }
        text
    }

    fn statement(choices: &mut Choices<'_>, depth: usize, text: &mut String) {
        let name = choices.one_of(NAMES);
        match choices.below(24) {
            0..=5 => {
                text.push_str(&format!("{name}="));
                word(choices, depth, text);
            }
            6 => {
                text.push_str(&format!("{name}+="));
                word(choices, depth, text);
            }
            7 | 8 => {
                text.push_str("a=(");
                for _ in 0..choices.below(4) {
                    text.push(' ');
                    word(choices, depth, text);
                }
                text.push(')');
            }
            9 => {
                text.push_str(&format!("a[{}]=", choices.one_of(&["0", "1", "1+1", "5", "-1"])));
                word(choices, depth, text);
            }
            10 => {
                text.push_str("declare -A m=([k]=");
                word(choices, depth, text);
                text.push_str(" [a]=");
                word(choices, depth, text);
                text.push(')');
            }
            11 => text.push_str(choices.one_of(&[
                "IFS=,",
                "IFS=",
                "IFS=' ,'",
                "IFS=a",
                "IFS=:",
                "unset IFS",
                "IFS=$' \\t\\n'",
            ])),
            12 | 13 => {
                text.push_str("set --");
                for _ in 0..choices.below(4) {
                    text.push(' ');
                    word(choices, depth, text);
                }
            }
            14 => text.push_str(&format!("unset {name}")),
            15 => {
                text.push_str(choices.one_of(&[
                    "read x y <<< ",
                    "read -r x <<< ",
                    "read -ra a <<< ",
                    "IFS=, read -r x y <<< ",
                    "mapfile -t a <<< ",
                ]));
                word(choices, depth, text);
            }
            16 => {
                text.push_str(choices.one_of(&[
                    "printf -v x '%s-' ",
                    "printf -v y %s ",
                    "printf -v x '%q' ",
                    "printf -v x '%3s|' ",
                    "printf -v x '%d' 3 ",
                ]));
                word(choices, depth, text);
            }
            17 => text.push_str(choices.one_of(&[
                "(( x = 2 + 3 ))",
                "let x=4*2",
                "(( x++ ))",
                "(( y += 2, z = y ))",
                "x=$((1+2))",
                "(( x = 1 << 3 | 1 ))",
            ])),
            18 => {
                text.push_str(&format!("export {name}="));
                word(choices, depth, text);
            }
            19 => text.push_str(choices.one_of(&[
                "shift",
                "set -f",
                "shopt -s extglob",
                "shopt -s nullglob",
                "shopt -s nocasematch",
                "shift 2",
                "set -u",
            ])),
            20 => {
                text.push_str("declare ");
                text.push_str(choices.one_of(&["-i", "-u", "-l", "-r", "-a", ""]));
                text.push_str(&format!(" {name}="));
                word(choices, depth, text);
            }
            21 => text.push_str("declare -n u=x"),
            22 => {
                text.push_str("while read -r x; do y+=$x; done <<< ");
                word(choices, depth, text);
            }
            _ => {
                text.push_str("x=$(cat <<E\n");
                text.push_str(choices.one_of(&[
                    "$y b",
                    "a $((1+1)) `echo q`",
                    "'$x' \"$y\" \\$z",
                    "${a[@]}",
                    "${x:-d}",
                ]));
                text.push_str("\nE\n)");
            }
        }
    }

    fn word(choices: &mut Choices<'_>, depth: usize, text: &mut String) {
        for _ in 0..=choices.below(3) {
            part(choices, depth, text);
        }
    }

    fn part(choices: &mut Choices<'_>, depth: usize, text: &mut String) {
        match choices.below(if depth == 0 { 12 } else { 26 }) {
            0..=3 => text.push_str(choices.one_of(PIECES)),
            4 => {
                text.push('\'');
                quoted(choices, text);
                text.push('\'');
            }
            5 => {
                text.push('\\');
                text.push_str(choices.one_of(&["a", " ", "$", "*", "\\", "'", "\"", "\n", "{", "~"]));
            }
            6 => {
                text.push_str("$'");
                for _ in 0..=choices.below(3) {
                    text.push_str(choices.one_of(&[
                        "a", "\\n", "\\t", "\\x41", "\\101", "\\'", "\\\\", "\\u00e9", "\\cA", "\\z", "\\e",
                        "\\0", "\\x", "\\u41 ",
                    ]));
                }
                text.push('\'');
            }
            7 => text.push_str(choices.one_of(&["*", "?", "[ab]", "a*", "[!a]"])),
            8 => {
                text.push('$');
                text.push_str(choices.one_of(&["x", "y", "z", "@", "*", "1", "2", "#", "a", "u", "0x"]));
            }
            9 => text.push_str(choices.one_of(&["~", "~/x", "~root", "~nobody/y", ":~"])),
            10 | 11 => {
                text.push('"');
                for _ in 0..=choices.below(3) {
                    match choices.below(5) {
                        0 | 1 => quoted(choices, text),
                        2 => text.push_str(
                            choices.one_of(&["\\$", "\\\"", "\\\\", "\\a", "\\`", "'", "\\\n", "$"]),
                        ),
                        3 => {
                            text.push_str(choices.one_of(&[
                                "$x", "$y", "$@", "$*", "$1", "${a[@]}", "${a[*]}", "${m[k]}", "$#",
                            ]));
                        }
                        _ if depth > 0 => expansion(choices, depth - 1, true, text),
                        _ => {}
                    }
                }
                text.push('"');
            }
            12 | 13 => {
                text.push('{');
                match choices.below(3) {
                    0 => text.push_str(choices.one_of(&[
                        "1..3", "a..c", "3..1", "01..3", "1..7..3", "c..a..2", "x..", "1..a", "-1..1",
                    ])),
                    _ => {
                        for index in 0..=choices.below(3) {
                            if index > 0 {
                                text.push(',');
                            }
                            if choices.below(4) > 0 {
                                part(choices, depth - 1, text);
                            }
                        }
                    }
                }
                text.push('}');
            }
            14..=23 => expansion(choices, depth - 1, false, text),
            _ => substitution(choices, depth - 1, text),
        }
    }

    fn quoted(choices: &mut Choices<'_>, text: &mut String) {
        for _ in 0..choices.below(4) {
            text.push_str(choices.one_of(QUOTED));
        }
    }

    fn substitution(choices: &mut Choices<'_>, depth: usize, text: &mut String) {
        match choices.below(8) {
            0 => {
                text.push_str("$(echo ");
                word(choices, depth, text);
                text.push(')');
            }
            1 => {
                text.push_str("$(printf '%s\\n' ");
                word(choices, depth, text);
                text.push(')');
            }
            2 => text.push_str("`echo $x b`"),
            3 => {
                text.push_str("$(echo ");
                word(choices, depth, text);
                text.push_str(" | ");
                text.push_str(choices.one_of(&[
                    "tr a b",
                    "rev",
                    "base64",
                    "cat",
                    "tr -d a",
                    "tr a-z A-Z",
                    "head -n1",
                    "cut -c1",
                    "wc -c",
                    "sed s/a/b/",
                    "xxd -p",
                    "base64 | base64 -d",
                    "sort",
                    "cut -d, -f1",
                    "tr -s ' '",
                    "tail -n1",
                ]));
                text.push(')');
            }
            4 => {
                text.push_str(choices.one_of(&[
                    "$(printf '%b' ",
                    "$(echo -e ",
                    "$(echo -n ",
                    "$(printf ",
                    "$(printf '%s,' ",
                    "$(printf '%5s|%-4s' ",
                    "$(basename ",
                    "$(dirname ",
                ]));
                word(choices, depth, text);
                text.push(')');
            }
            5 => text.push_str(choices.one_of(&[
                "$((1+2*3))",
                "$((x))",
                "$((0x1f))",
                "$((2**5))",
                "$((5/2))",
                "$((-7%3))",
                "$((1?2:3))",
                "$((08))",
                "$((x+=1))",
                "$((~1))",
                "$((a[1]))",
                "$((16#ff))",
                "$((1<2&&3))",
                "$[1+1]",
                "$((y=3,y+1))",
                "$((010))",
                "$((3>2?x:y))",
                "$((!x))",
                "$(( x == 1 ))",
                "$((1 << 4))",
            ])),
            6 => text.push_str("$(for i in 1 2; do echo $i; done)"),
            _ => {
                text.push_str("$(x=");
                word(choices, depth, text);
                text.push_str("; echo \"$x\")");
            }
        }
    }

    fn expansion(choices: &mut Choices<'_>, depth: usize, inside: bool, text: &mut String) {
        text.push_str("${");
        let kind = choices.below(16);
        if kind == 0 {
            text.push('#');
        } else if kind == 1 {
            text.push_str(choices.one_of(&["!x", "!y", "!a[@]", "!m[@]", "!x*", "!u"]));
            text.push('}');
            return;
        }
        text.push_str(choices.one_of(&[
            "x", "y", "z", "a", "a[1]", "a[0]", "a[@]", "a[*]", "m[k]", "m[@]", "1", "@", "*", "u", "a[-1]",
            "2", "a[x]",
        ]));
        match kind {
            0 | 2 => {}
            3 | 4 => {
                text.push_str(choices.one_of(&["-", ":-", ":=", ":+", "+", "=", "-"]));
                operand(choices, depth, inside, text);
            }
            5 | 6 => {
                text.push_str(choices.one_of(&["#", "##", "%", "%%"]));
                pattern(choices, depth, text);
            }
            7 | 8 => {
                text.push_str(choices.one_of(&["/", "//", "/#", "/%"]));
                pattern(choices, depth, text);
                if choices.below(4) > 0 {
                    text.push('/');
                    operand(choices, depth, inside, text);
                }
            }
            9 | 10 => {
                text.push_str(choices.one_of(&["^", "^^", ",", ",,", "~", "~~", "^^[a]", ",[A-B]", "^a"]));
            }
            11 | 12 => {
                text.push_str(choices.one_of(&[
                    ":0:1", ":1", ":1:2", ": -1", ":0", ":1:-1", ": -2:1", ":x", ":$((1))", ":5", ":0:0",
                    "::2", ":(-1)",
                ]));
            }
            13 => {
                text.push_str(choices.one_of(&["@Q", "@U", "@L", "@u", "@E", "@a", "@A", "@k", "@K", "@P"]));
            }
            _ => {}
        }
        text.push('}');
    }

    fn operand(choices: &mut Choices<'_>, depth: usize, inside: bool, text: &mut String) {
        for _ in 0..choices.below(3) {
            match choices.below(8) {
                0..=2 => text.push_str(choices.one_of(&["a", "b c", "*", "d", " ", "é", "{a,b}", "~", "&"])),
                3 => text.push_str(choices.one_of(&["$x", "\"$y\"", "$@", "\"${a[@]}\"", "$1", "$*"])),
                4 if !inside => text.push_str(choices.one_of(&["'q r'", "\"q r\"", "'*'", "$'\\t'", "'}'"])),
                5 => text.push_str(choices.one_of(&["\\}", "\\$", "\\a", "\\*", "\\\\"])),
                6 if depth > 0 => expansion(choices, depth - 1, inside, text),
                7 if depth > 0 => substitution(choices, depth - 1, text),
                _ => text.push('a'),
            }
        }
    }

    fn pattern(choices: &mut Choices<'_>, depth: usize, text: &mut String) {
        for _ in 0..=choices.below(2) {
            match choices.below(6) {
                0..=2 => text.push_str(choices.one_of(&[
                    "a",
                    "*",
                    "?",
                    "[ab]",
                    "b",
                    "[!a]",
                    "a*",
                    "*a",
                    "[[:alpha:]]",
                    "\\*",
                    "é",
                    ".",
                    "[a-b]",
                    " ",
                    "[^a]",
                    "[]a]",
                ])),
                3 => text.push_str(choices.one_of(&[
                    "\"*\"", "'a'", "\"$x\"", "$x", "$y", "'?'", "@(a|b)", "*(a)", "!(a)", "?(b)", "+(a|b)",
                ])),
                4 if depth > 0 => expansion(choices, depth - 1, false, text),
                _ => text.push('b'),
            }
        }
    }
}
