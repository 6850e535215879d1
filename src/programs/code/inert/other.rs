//! Languages that are not read otherwise (R, Julia, Elixir and their like): every word is known to compute or to print.

use super::words_at;

/// Words of these languages that compute, tell, read a table and print.
const KNOWN: &[&str] = &[
    // R
    "print",
    "cat",
    "summary",
    "mean",
    "median",
    "sd",
    "var",
    "min",
    "max",
    "sum",
    "prod",
    "range",
    "quantile",
    "cor",
    "length",
    "nrow",
    "ncol",
    "dim",
    "names",
    "colnames",
    "rownames",
    "str",
    "head",
    "tail",
    "read",
    "csv",
    "table",
    "delim",
    "c",
    "seq",
    "rep",
    "paste",
    "paste0",
    "sprintf",
    "format",
    "round",
    "sqrt",
    "exp",
    "log",
    "log2",
    "log10",
    "abs",
    "lm",
    "glm",
    "t",
    "test",
    "data",
    "frame",
    "matrix",
    "list",
    "vector",
    "library",
    "require",
    "suppressPackageStartupMessages",
    "packageVersion",
    "sessionInfo",
    "version",
    "factor",
    "levels",
    "unique",
    "sort",
    "order",
    "rev",
    "cumsum",
    "diff",
    "which",
    "nchar",
    "substr",
    "toupper",
    "tolower",
    "strsplit",
    "grepl",
    "as",
    "numeric",
    "character",
    "integer",
    "is",
    "na",
    "TRUE",
    "FALSE",
    "NULL",
    "NA",
    "if",
    "else",
    "for",
    "in",
    "function",
    "return",
    "set",
    "seed",
    "rnorm",
    "runif",
    "coef",
    "predict",
    "anova",
    "aggregate",
    "merge",
    "colMeans",
    "rowMeans",
    "colSums",
    "rowSums",
    "ggplot2",
    "dplyr",
    "tidyr",
    "stats",
    "utils",
    "testthat",
    "devtools",
    "test_dir",
    "test_file",
    "test_local",
    "load_all",
    "installed",
    "packages",
    "rownames",
    "R",
    "message",
    "stringsAsFactors",
    "header",
    "sep",
    "by",
    "crossprod",
    "solve",
    "disp",
    "linspace",
    "num2str",
    "group_by",
    "summarise",
    "mutate",
    "arrange",
    "glimpse",
    "mtcars",
    "iris",
    "pi",
    // Julia
    "using",
    "println",
    "show",
    "display",
    "Statistics",
    "LinearAlgebra",
    "Random",
    "Test",
    "Pkg",
    "DataFrames",
    "CSV",
    "status",
    "instantiate",
    "precompile",
    "VERSION",
    "versioninfo",
    "det",
    "inv",
    "std",
    "randn",
    "rand",
    "zeros",
    "ones",
    "size",
    "typeof",
    "collect",
    "filter",
    "map",
    "reduce",
    "sin",
    "cos",
    "tan",
    "pi",
    "end",
    "do",
    "begin",
    "let",
    "Int",
    "Float64",
    "Vector",
    "Matrix",
    "string",
    "Threads",
    "nthreads",
    "BLAS",
    "true",
    "false",
    "nothing",
    // Elixir, Scala, Groovy, Swift, OCaml, Haskell, Clojure
    "IO",
    "puts",
    "inspect",
    "Enum",
    "String",
    "Map",
    "List",
    "Integer",
    "upcase",
    "downcase",
    "reverse",
    "count",
    "System",
    "otp_release",
    "Range",
    "Seq",
    "Array",
    "val",
    "def",
    "fn",
    "putStrLn",
    "show",
    "replicate",
    "foldl",
    "print_endline",
    "print_int",
    "string_of_int",
    "string_of_float",
    "printfn",
    "append",
    "to_string",
    "to_integer",
    "join",
    "split",
    "trim",
    "size",
    "first",
    "last",
    "even",
    "odd",
];

/// How much of it is read.
const LONGEST: usize = 2048;

/// Whether a text holds nothing but such words, names of its own, numbers, and literals that name nothing outside of the project.
pub(super) fn only_computes(text: &str) -> bool {
    let odd = ['`', '\\', '@'];
    let plain = text.replace("\\n", "").replace("\\t", "");
    let text = plain.as_str();
    if text.len() > LONGEST
        || text.contains(odd)
        || ["$(", "${", "#{", "::", ":::"].iter().any(|part| without_namespace(text).contains(part))
    {
        return false;
    }
    let Some((code, literals)) = apart(text) else { return false };
    // `!rm x`, `:! rm x`: for a shell, and no negation
    let escapes = code.match_indices('!').any(|(at, _)| {
        let behind = code.get(at + 1..).unwrap_or_default();
        let before = code.get(..at).unwrap_or_default();
        let negates = behind.starts_with('=')
            || behind.starts_with("is.") && before.ends_with(['(', '[', ',', ' ', '&']);
        !negates
    });
    if escapes {
        return false;
    }
    let outside = |literal: &&str| {
        literal.starts_with(['/', '~', '|'])
            || literal.contains("..")
            || literal.contains("://")
            || literal.contains(".env")
            || literal.contains(".ssh")
    };
    if literals.iter().any(outside) {
        return false;
    }
    let own: Vec<&str> = given(&code);
    let mut known = false;
    // languages whose calls have no parentheses may have a program of the system for a short name
    let calls = KNOWN.iter().any(|word| code.contains(&format!("{word}(")));
    for (start, word) in words_at(&code) {
        let next = code.get(start + word.len()..).unwrap_or_default().trim_start();
        let named = next.starts_with('=') && !next.starts_with("==")
            || code.get(..start).is_some_and(|before| before.ends_with('$'));
        let called = next.starts_with(['(', '!', '{', '[', '"', '\'']) || next.starts_with('.');
        let short = word.len() <= 2 && !called && calls;
        known |= KNOWN.contains(&word);
        if !(KNOWN.contains(&word)
            || own.contains(&word)
            || word.bytes().all(|byte| byte.is_ascii_digit())
            || is_float(word)
            || !called && (named || short))
        {
            return false;
        }
    }
    known
}

/// `1e5`, `2L`
fn is_float(word: &str) -> bool {
    word.starts_with(|letter: char| letter.is_ascii_digit())
        && word.chars().all(|letter| letter.is_ascii_digit() || matches!(letter, 'e' | 'L'))
}

/// `testthat::test_dir` names a package, and is no operator of another language.
fn without_namespace(text: &str) -> String {
    ["testthat::", "devtools::", "utils::", "stats::", "dplyr::", "ggplot2::"]
        .iter()
        .fold(text.to_owned(), |seen, name| seen.replace(name, ""))
}

/// The code without its literals, and these.
fn apart(text: &str) -> Option<(String, Vec<&str>)> {
    let (mut code, mut literals) = (String::with_capacity(text.len()), Vec::new());
    let mut rest = text;
    while let Some(at) = rest.find(['"', '\'', '#']) {
        let (before, behind) = rest.split_at_checked(at)?;
        code.push_str(before);
        if behind.starts_with('#') {
            return None;
        }
        let quote = behind.chars().next()?;
        let (literal, after) = behind.get(1..)?.split_once(quote)?;
        literals.push(literal);
        code.push_str("\"\"");
        rest = after;
    }
    code.push_str(rest);
    Some((code, literals))
}

/// Names that a text gives to what it computes: `x <- 1`, `f = function(a)`, `for (i in x)`, `let y =`.
fn given(code: &str) -> Vec<&str> {
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut names = Vec::new();
    for sign in ["<-", "=", " in ", "->"] {
        for (at, _) in code.match_indices(sign) {
            let before = code.get(..at).unwrap_or_default().trim_end();
            let name = before.get(before.trim_end_matches(is_name).len()..).unwrap_or_default();
            // what a call is given by a name is not called by it
            let front = before.strip_suffix(name).unwrap_or_default().trim_end_matches([' ', '\t']);
            if front.is_empty()
                || front.ends_with(['\n', ';', '{'])
                || sign != "=" && front.ends_with("for")
                || sign == " in " && front.ends_with('(')
            {
                names.push(name);
            }
        }
    }
    names
}
