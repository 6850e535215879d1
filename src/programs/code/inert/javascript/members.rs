//! Members that are computed: `counts[key]` can be any name at all, and `Function` is one of them. It is data as long as nothing
//! that a text reaches in this way is called: not by itself, not by another name, and not by who is given it.

use super::is_name;

/// Functions and classes that everybody has.
const GLOBALS: &[&str] = &[
    "require",
    "import",
    "parseInt",
    "parseFloat",
    "Number",
    "String",
    "Boolean",
    "BigInt",
    "Symbol",
    "isNaN",
    "isFinite",
    "fetch",
    "encodeURIComponent",
    "decodeURIComponent",
    "encodeURI",
    "decodeURI",
    "structuredClone",
    "atob",
    "btoa",
    "setTimeout",
    "setInterval",
    "clearTimeout",
    "clearInterval",
    "setImmediate",
    "Array",
    "Object",
    "Date",
    "Error",
    "TypeError",
    "RangeError",
    "RegExp",
    "Map",
    "Set",
    "WeakMap",
    "WeakSet",
    "Promise",
    "URL",
    "URLSearchParams",
    "TextEncoder",
    "TextDecoder",
    "Headers",
    "Uint8Array",
    "Uint16Array",
    "Uint32Array",
    "Int8Array",
    "Int32Array",
    "Float32Array",
    "Float64Array",
    "ArrayBuffer",
    "DataView",
    "AbortController",
    "Intl",
    "Buffer",
    "safe",
    "super",
];

/// Words in front of a parenthesis that are no calls.
const WORDS: &[&str] = &[
    "if", "for", "while", "switch", "catch", "return", "typeof", "await", "of", "in", "new", "case", "throw",
    "else", "do", "yield", "async", "function", "void",
];

/// Methods that call what they are given.
const CALLERS: &[&str] = &[
    "map",
    "forEach",
    "filter",
    "reduce",
    "reduceRight",
    "find",
    "findIndex",
    "findLast",
    "findLastIndex",
    "some",
    "every",
    "sort",
    "toSorted",
    "flatMap",
    "from",
    "fromAsync",
    "then",
    "catch",
    "finally",
    "replace",
    "replaceAll",
    "on",
    "once",
    "addListener",
    "nextTick",
    "setTimeout",
    "setInterval",
    "setImmediate",
    "queueMicrotask",
    "group",
    "groupBy",
    "addEventListener",
    "transform",
    "pipeline",
];

/// Whether the name of a member is put together where it is asked for: `x['con' + 'structor']`.
pub(super) fn puts_together(text: &str) -> bool {
    text.match_indices('[').any(|(at, _)| {
        let before = text.get(..at).unwrap_or_default().trim_end();
        let word = before.rsplit(|letter| !is_name(letter)).next().unwrap_or_default();
        if WORDS.contains(&word) || matches!(word, "const" | "let" | "var") {
            return false;
        }
        let inside = near(text.get(at + 1..).unwrap_or_default()).split(']').next().unwrap_or_default();
        before.ends_with(|letter| is_name(letter) || matches!(letter, ')' | ']' | '"' | '\'' | '`' | '.'))
            && inside.contains(['\'', '"', '`'])
            && inside.contains(['+', '$', '(', ','])
    })
}

/// Whether nothing is called but by a name of its own.
pub(super) fn calls_only_names(text: &str) -> bool {
    let code: String = text.chars().filter(|letter| !matches!(letter, ' ' | '\t' | '\n' | '\r')).collect();
    let odd = ["](", "]`", ")`", "?.(", "new(", "newthis", "newsuper", "((", "=>`"];
    if odd.iter().any(|call| code.contains(call) && !(*call == "((" && only_opens(&code))) {
        return false;
    }
    // the end of a function that is called where it stands: `})()`
    if code.match_indices(")(").any(|(at, _)| !code.get(..at).is_some_and(|before| before.ends_with('}'))) {
        return false;
    }
    if tags(text) {
        return false;
    }
    let mut names = 0_usize;
    text.match_indices('(').all(|(at, _)| {
        let before = text.get(..at).unwrap_or_default().trim_end();
        let start = before.trim_end_matches(is_name);
        let name = before.get(start.len()..).unwrap_or_default();
        let behind = text.get(at + 1..).unwrap_or_default();
        if name.is_empty() || WORDS.contains(&name) {
            return true;
        }
        names += 1;
        if start.ends_with('.') {
            return names <= MOST
                && !is_given_to_a_member(text, name)
                && (!CALLERS.contains(&name) || is_function(name, behind));
        }
        (GLOBALS.contains(&name) || names <= MOST && is_defined(text, name, start))
            && (!CALLERS.contains(&name) || is_function(name, behind))
    }) && text.match_indices("new ").all(|(at, word)| {
        let name: String = text
            .get(at + word.len()..)
            .unwrap_or_default()
            .chars()
            .take_while(|letter| is_name(*letter))
            .collect();
        names += 1;
        GLOBALS.contains(&name.as_str()) || names <= MOST && is_defined(text, &name, "")
    })
}

/// Whether a template may be given to a function by standing behind its name.
fn tags(text: &str) -> bool {
    let mut opened: Option<usize> = None;
    text.match_indices('`').any(|(at, _)| {
        let named =
            text.get(..at).is_some_and(|before| before.ends_with(|letter| is_name(letter) || letter == ')'));
        match opened.take() {
            None => {
                opened = Some(at);
                named
            }
            // within what is put into a template another may open
            Some(start) => {
                let content = text.get(start..at).unwrap_or_default();
                content.matches("${").count() > content.matches('}').count()
            }
        }
    })
}

/// How many names are looked for in the text, and in how many places each.
const MOST: usize = 64;
const MOST_PLACES: usize = 256;

/// What stands next in a text, as far as a list of parameters or the name of a member goes.
pub(super) fn near(text: &str) -> &str {
    text.char_indices().nth(NEAR).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// How far that is.
const NEAR: usize = 256;

/// Whether a text gives a member of this name something that is not a function which stands there: `{run: x[y]}`, `o.run = f`.
fn is_given_to_a_member(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let before = text.get(..at).unwrap_or_default();
        let behind = text.get(at + name.len()..).unwrap_or_default();
        if before.ends_with(is_name) || behind.starts_with(is_name) {
            return false;
        }
        let next = behind.trim_start();
        let what = next
            .strip_prefix(':')
            .or_else(|| next.strip_prefix('=').filter(|rest| !rest.starts_with(['=', '>'])));
        let shorthand = next.starts_with([',', '}']) && before.trim_end().ends_with(['{', ',']);
        shorthand || what.is_some_and(|what| !starts_function(what.trim_start()))
    })
}

/// Whether two parentheses that open together belong to a call and to the parameters of a function that it is given.
fn only_opens(code: &str) -> bool {
    code.match_indices("((").all(|(at, _)| {
        let inside = code.get(at + 2..).unwrap_or_default();
        inside.split_once(')').is_some_and(|(_, behind)| behind.starts_with("=>"))
    })
}

/// Whether a name is that of a function of the text itself, or comes from a module.
fn is_defined(text: &str, name: &str, before: &str) -> bool {
    if name.is_empty()
        || before.ends_with("function ")
        || before.ends_with("function* ")
        || before.ends_with("class ")
    {
        return !name.is_empty();
    }
    let declared = [
        format!("function {name}("),
        format!("function {name} ("),
        format!("class {name} "),
        format!("class {name}{{"),
    ];
    if declared.iter().any(|form| text.contains(form)) {
        return given(text, name) == 0;
    }
    let function = [
        format!("const {name} = ("),
        format!("const {name}=("),
        format!("const {name} = async "),
        format!("const {name}=async"),
        format!("const {name} = function"),
        format!("const {name} = require("),
        format!("const {name}=require("),
    ];
    let arrow = function.iter().any(|form| {
        text.find(form).is_some_and(|at| {
            let rest = text.get(at + form.len()..).unwrap_or_default();
            !form.ends_with('(')
                || form.contains("require")
                || rest.split_once(')').is_some_and(|(_, behind)| behind.trim_start().starts_with("=>"))
        })
    });
    let single = text.find(&format!("const {name} = ")).is_some_and(|at| {
        let rest = text.get(at + name.len() + 9..).unwrap_or_default();
        let parameter = rest.trim_start_matches(is_name);
        parameter.len() < rest.len() && parameter.trim_start().starts_with("=>")
    });
    if arrow || single {
        return given(text, name) == 1;
    }
    // `const { a, b } = require('x')`, `import { a } from 'x'`, `import a from 'x'`
    text.split([';', '\n']).any(|statement| {
        let imports = statement.trim_start().starts_with("import ") && statement.contains("from")
            || statement.contains("} = require(")
            || statement.contains("}=require(")
            || statement.contains("} = await import(");
        imports && statement.split(|letter| !is_name(letter)).any(|word| word == name)
    }) && given(text, name) == 0
}

/// How often a name is given something by an equals sign, or is the parameter of a function.
fn given(text: &str, name: &str) -> usize {
    let alone = |at: usize| {
        let before = text.get(..at).unwrap_or_default();
        let behind = text.get(at + name.len()..).unwrap_or_default();
        !before.ends_with(|letter| is_name(letter) || letter == '.') && !behind.starts_with(is_name)
    };
    if text.match_indices(name).nth(MOST_PLACES).is_some() {
        return usize::MAX;
    }
    let places = text.match_indices(name).filter(|(at, _)| alone(*at));
    places
        .filter(|(at, _)| {
            let behind = near(text.get(at + name.len()..).unwrap_or_default().trim_start());
            let parameter = {
                let list = behind.split_once(')').map_or("", |(_, rest)| rest).trim_start();
                let inside = !behind.split(')').next().unwrap_or_default().contains('(');
                inside && !behind.starts_with('(') && (list.starts_with("=>") || list.starts_with('{'))
            };
            behind.starts_with('=') && !behind.starts_with("==") || parameter
        })
        .count()
}

/// Whether what a method is given to call is a function that stands there, or one that everybody has.
fn is_function(name: &str, behind: &str) -> bool {
    let first = behind.trim_start();
    // a text or a pattern first, and then what makes another of it
    if matches!(
        name,
        "replace" | "replaceAll" | "on" | "once" | "addListener" | "addEventListener" | "from" | "fromAsync"
    ) {
        let rest = first.split_once(',').map(|(_, rest)| rest.trim_start());
        let line = first.split(['\n', ';']).next().unwrap_or_default();
        return !line.contains('[') || rest.is_some_and(starts_function);
    }
    starts_function(first)
}

fn starts_function(text: &str) -> bool {
    let name = text.split(|letter| !is_name(letter)).next().unwrap_or_default();
    let behind = text.get(name.len()..).unwrap_or_default().trim_start();
    if text.starts_with(')') || matches!(name, "function" | "async") {
        return true;
    }
    if !name.is_empty() {
        return behind.starts_with("=>")
            || matches!(name, "String" | "Number" | "Boolean" | "parseFloat") && behind.starts_with(')')
            || name == "console" && behind.starts_with(".log)")
            || name == "console" && behind.starts_with(".error)");
    }
    text.strip_prefix('(').is_some_and(|inside| {
        let mut depth = 1_usize;
        let end = inside.find(|letter: char| {
            match letter {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        end.and_then(|end| inside.get(end + 1..)).is_some_and(|behind| behind.trim_start().starts_with("=>"))
    })
}
