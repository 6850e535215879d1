//! Python that plainly only computes, reads, prints, and writes files that it names.

use super::{asks_for_credentials, changes_data, judged, names_a_change, words, writes_named_files};
use crate::programs::Language;
use crate::programs::code::foreign::is_notebook;

/// Modules that neither start anything nor write or connect by themselves. Those that do are words of [`FORBIDDEN`], and what
/// is in neither list is the project's or was installed for it: it runs as in a test.
const MODULES: &[&str] = &[
    "json",
    "sys",
    "re",
    "math",
    "cmath",
    "datetime",
    "collections",
    "itertools",
    "string",
    "random",
    "statistics",
    "decimal",
    "fractions",
    "textwrap",
    "base64",
    "hashlib",
    "hmac",
    "uuid",
    "time",
    "calendar",
    "csv",
    "html",
    "urllib",
    "binascii",
    "struct",
    "functools",
    "operator",
    "pprint",
    "unicodedata",
    "zlib",
    "secrets",
    "bisect",
    "heapq",
    "enum",
    "typing",
    "dataclasses",
    "difflib",
    "platform",
    "locale",
    "keyword",
    "token",
    "zoneinfo",
    "numbers",
    "array",
    "copy",
    "ipaddress",
    "tomllib",
    "ast",
    "os",
    "pathlib",
    "glob",
    "fnmatch",
    "io",
    "inspect",
    "site",
    "sysconfig",
    "xml",
    "abc",
    "types",
    "contextlib",
    "traceback",
    "warnings",
    "configparser",
    "stat",
    "tokenize",
    "gzip",
    "bz2",
    "lzma",
    "shlex",
    "argparse",
    "__future__",
    "queue",
    "graphlib",
    "filecmp",
    "linecache",
    "mimetypes",
    "email",
    "quopri",
    "colorsys",
    "errno",
    "sched",
    "weakref",
    "reprlib",
    "importlib",
];

/// Words that stand for more than computing wherever they stand.
const FORBIDDEN: &[&str] = &[
    "exec",
    "eval",
    "compile",
    "getattr",
    "setattr",
    "delattr",
    "globals",
    "locals",
    "vars",
    "breakpoint",
    "modules",
    "subprocess",
    "shutil",
    "importlib",
    "ctypes",
    "socket",
    "builtins",
    "pickle",
    "cPickle",
    "dill",
    "joblib",
    "marshal",
    "system",
    "popen",
    "Popen",
    "fork",
    "forkpty",
    "setprofile",
    "settrace",
    "addaudithook",
    "memoryview",
    "attrgetter",
    "methodcaller",
    "loader",
    "meta_path",
    "path_hooks",
    "displayhook",
    "excepthook",
    "multiprocessing",
    "signal",
    "pty",
    "fcntl",
    "mmap",
    "runpy",
    "code",
    "codeop",
    "pdb",
    "bdb",
    "cProfile",
    "timeit",
    "doctest",
    "webbrowser",
    "antigravity",
    "smtplib",
    "ftplib",
    "telnetlib",
    "imaplib",
    "socketserver",
    "xmlrpc",
    "asyncio",
    "zipfile",
    "tarfile",
    "shelve",
    "dbm",
    "posix",
    "nt",
    "gc",
    "fileinput",
    "cffi",
    "ensurepip",
    "setuptools",
    "distutils",
    "FileIO",
    "CodeType",
    "FunctionType",
    "f_globals",
    "f_locals",
    "f_builtins",
    "f_back",
    "tb_frame",
    "gi_frame",
    "get_type_hints",
    "ForwardRef",
    "urlretrieve",
    "rmtree",
    "unlink",
    "rmdir",
    "removedirs",
    "rename",
    "renames",
    "symlink_to",
    "hardlink_to",
    "link_to",
    "symlink",
    "chmod",
    "lchmod",
    "chown",
    "lchown",
    "mkfifo",
    "mknod",
    "kill",
    "killpg",
    "truncate",
    "pexpect",
    "paramiko",
    "fabric",
    "invoke",
    "plumbum",
    "psutil",
    "boto3",
    "docker",
    "send2trash",
    "make_archive",
    "copyfile",
    "copytree",
    "listen",
    "bind",
    "serve_forever",
    "HTTPServer",
    "codecs",
    "_getframe",
    "spec_from_file_location",
    "module_from_spec",
    "exec_module",
    "load_module",
    "unsafe_load",
    "full_load",
    "addsitedir",
    "addpackage",
    "addusersitepackages",
    "execsitecustomize",
    "GzipFile",
    "BZ2File",
    "LZMAFile",
    "FileType",
    "FileHandler",
    "RotatingFileHandler",
    "URLopener",
    "FancyURLopener",
    "touch",
    "executescript",
    "query",
    "UnsafeLoader",
    "dlopen",
    "CDLL",
    "sendfile",
    "putenv",
    "abort",
    "_exit",
    "startfile",
];

/// Modules that are there to start programs, or to steer machines.
const STARTERS: &[&str] = &[
    "sh",
    "git",
    "plumbum",
    "fabric",
    "invoke",
    "pexpect",
    "paramiko",
    "docker",
    "boto3",
    "psutil",
    "kubernetes",
    "pwn",
    "ansible",
    "salt",
    "winreg",
    "nmap",
    "scapy",
    "libtmux",
    "pyautogui",
    "pynput",
    "keyring",
    "dbus",
    "pystemd",
    "cffi",
    "numba",
    "jinja2",
    "mako",
    "IPython",
    "xonsh",
    "virtualenv",
    "tempfile",
];

/// What is told and no more, of modules that also do.
const TELLING: &[&str] = &[
    "importlib.util.find_spec(",
    "import importlib.util",
    "importlib.metadata.version(",
    "import importlib.metadata",
    "from importlib.metadata import version",
    "from importlib import metadata",
    "import socket;",
    "import socket\n",
    "socket.gethostname(",
    "import zipfile;",
    "import zipfile\n",
    "zipfile.ZipFile(",
    "zipfile.is_zipfile(",
    "sys.path.insert(",
    "re.compile(",
    "import asyncio;",
    "import asyncio\n",
    "asyncio.run(",
    "asyncio.sleep(",
    "asyncio.gather(",
    "asyncio.wait_for(",
    "asyncio.create_task(",
    "asyncio.Queue(",
    "asyncio.Semaphore(",
    "asyncio.Lock(",
    "asyncio.Event(",
    "multiprocessing.cpu_count(",
];

/// What `os` gives that only tells, or that changes this process alone.
const OS: &[&str] = &[
    "os.getcwd(",
    "os.path.",
    "os.environ",
    "os.getenv(",
    "os.cpu_count(",
    "os.getpid(",
    "os.getppid(",
    "os.getuid(",
    "os.uname(",
    "os.name",
    "os.sep",
    "os.linesep",
    "os.listdir(",
    "os.walk(",
    "os.scandir(",
    "os.stat(",
    "os.get_terminal_size(",
    "os.access(",
    "os.curdir",
    "os.devnull",
    "os.getlogin(",
    "os.urandom(",
    "os.get_exec_path(",
    "os.getloadavg(",
];

pub(super) fn is_inert(text: &str) -> bool {
    // Letters that are not ASCII are folded in names: `ｏｓ` is `os`.
    if text.chars().any(|letter| !letter.is_ascii() && letter.is_alphanumeric()) || text.contains("\\x") {
        return false;
    }
    let tells = |text: &str| {
        let seen = TELLING.iter().fold(text.to_owned(), |seen, known| seen.replace(known, " safe "));
        without_os(&seen)
    };
    let plain = |word: &str| {
        !FORBIDDEN.contains(&word)
            && (!word.starts_with('_')
                || word == "_"
                || matches!(
                    word,
                    "__name__"
                        | "__version__"
                        | "__file__"
                        | "__doc__"
                        | "__main__"
                        | "__future__"
                        | "__init__"
                        | "__repr__"
                        | "__str__"
                        | "__len__"
                        | "__eq__"
                        | "__lt__"
                        | "__hash__"
                        | "__iter__"
                        | "__next__"
                        | "__contains__"
                        | "__getitem__"
                        | "__enter__"
                        | "__exit__"
                        | "__add__"
                        | "__table__"
                        | "__annotations__"
                        | "__all__"
                ))
    };
    if asks_for_credentials(text) || is_notebook(text) {
        return false;
    }
    if hides_a_write(text) {
        return false;
    }
    // Where only modules of Python's own are used, nothing evaluates a literal: what stands in one is data.
    if let Some(code) = without_literals(text, false)
        && let Some(seen) = tells(&judged::without(text, code))
        && imports(&seen) == Some(false)
        && !seen.contains("sqlite3")
        && words(&seen).all(plain)
    {
        return without_literals(text, true).is_some_and(|text| files(&text));
    }
    let Some(seen) = tells(text) else { return false };
    if !words(&seen).all(plain) {
        return false;
    }
    let Some(foreign) = imports(&seen) else { return false };
    let connects = seen.contains("sqlite3") || seen.contains("execute");
    if (foreign || connects) && changes_data(&seen) || foreign && names_a_change(&without_writes(&seen)) {
        return false;
    }
    files(text)
}

/// Calls that write a file which they are given by its name, but for those whose files are seen.
fn hides_a_write(text: &str) -> bool {
    let has = |word: &str| text.contains(word);
    let any = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let modes = any(&["'w", "\"w", "'a'", "\"a\"", "'x'", "\"x\""]);
    let elsewhere = any(&["'/", "\"/", "'~", "\"~", ".."]);
    let literal_queries = text.match_indices("execute").all(|(at, word)| {
        let rest = text.get(at + word.len()..).unwrap_or_default();
        let rest = rest.strip_prefix("many").unwrap_or(rest);
        rest.strip_prefix('(').is_some_and(|rest| rest.trim_start().starts_with(['\'', '"']))
    });
    let joined = any(&["'+", "' +", "\"+", "\" +", ".join(", ".format("]);
    has("zipfile") && modes
        || has("basicConfig") && has("filename")
        || (has("etree") || has("ElementTree")) && has(".write(")
        || has("mkdir") && elsewhere
        || has("execute") && (!literal_queries || joined)
}

/// The text without comments and without what stands in plain literals; with `names`, without those alone that may look like
/// code. `None` where a literal does not end. What f-strings hold is code, and stays.
fn without_literals(text: &str, names: bool) -> Option<String> {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let after = rest.get(letter.len_utf8()..).unwrap_or_default();
        match letter {
            '#' => rest = after.find('\n').and_then(|end| after.get(end..)).unwrap_or_default(),
            '\'' | '"' => {
                let prefix =
                    kept.len() - kept.trim_end_matches(|letter: char| letter.is_ascii_alphabetic()).len();
                let prefix = kept.get(kept.len() - prefix..).unwrap_or_default();
                let formats = prefix.len() <= 2 && prefix.contains(['f', 'F', 't', 'T']);
                let quote = letter.to_string();
                let quote = if after.starts_with(&quote.repeat(2)) { quote.repeat(3) } else { quote };
                let inner = rest.get(quote.len()..)?;
                let end = literal_end(inner, &quote)?;
                let content = inner.get(..end)?;
                let kept_whole =
                    formats || names && content.len() < 128 && !content.contains(['(', '\n', '`']);
                kept.push_str(&quote);
                kept.push_str(if kept_whole { content } else { "" });
                kept.push_str(&quote);
                rest = inner.get(end + quote.len()..)?;
            }
            _ => {
                kept.push(letter);
                rest = after;
            }
        }
    }
    Some(kept)
}

/// Where a literal ends, from behind its opening quote.
fn literal_end(text: &str, quote: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        if rest.starts_with(quote) {
            return Some(at);
        }
        let letter = rest.chars().next()?;
        if letter == '\n' && quote.len() == 1 {
            return None;
        }
        at += letter.len_utf8();
        if letter == '\\' {
            at += text.get(at..)?.chars().next()?.len_utf8();
        }
    }
}

/// The text without the import of `os` as itself and what of it only tells; `None` where it is used otherwise.
fn without_os(text: &str) -> Option<String> {
    let mut seen = text.to_owned();
    for name in OS {
        seen = seen.replace(name, " safe ");
    }
    let is_import = |statement: &str| {
        let statement = statement.trim();
        statement.strip_prefix("import ").is_some_and(|list| list.split(',').any(|name| name.trim() == "os"))
            && !statement.contains(" as ")
    };
    let statements: Vec<String> = seen
        .split_inclusive([';', '\n'])
        .map(|statement| {
            let bare = statement.trim_end_matches([';', '\n']);
            if is_import(bare) { statement.replacen("os", "sys", 1) } else { statement.to_owned() }
        })
        .collect();
    let seen = statements.concat();
    let only_tells = words(&seen).all(|word| word != "os");
    only_tells.then_some(seen)
}

/// Whether a module is imported that is none of Python's own; `None` where it cannot be seen what is.
fn imports(text: &str) -> Option<bool> {
    let mut foreign = false;
    let starts = |module: &str| {
        let root = module.trim_start().split(['.', ' ', ')', '(']).next().unwrap_or_default();
        STARTERS.contains(&root)
    };
    let own = |module: &str| {
        let root = module.trim_start().split(['.', ' ', ')', '(']).next().unwrap_or_default();
        MODULES.contains(&root)
    };
    for statement in text.split([';', '\n']) {
        // `if x: import y`
        let statement = statement.rsplit(": ").next().unwrap_or(statement).trim();
        if let Some(rest) = statement.strip_prefix("from ").filter(|rest| rest.contains(" import ")) {
            if starts(rest) {
                return None;
            }
            foreign |= !own(rest);
        } else if let Some(list) = statement.strip_prefix("import ") {
            if list.split(',').any(starts) {
                return None;
            }
            foreign |= !list.split(',').all(own);
        } else if words(statement).any(|word| word == "import" || word == "__import__") {
            // in a text that is searched for, or where a quote hides what it is
            foreign = true;
            if !statement.contains(['\'', '"']) {
                return None;
            }
        }
    }
    Some(foreign)
}

/// The text without the calls that write files: those are seen by themselves.
fn without_writes(text: &str) -> String {
    let mut seen = text.to_owned();
    for call in [
        "savefig(",
        "to_csv(",
        "to_parquet(",
        "execute(",
        ".write(",
        ".write_text(",
        ".write_bytes(",
        ".writelines(",
        "sys.stdout.write(",
    ] {
        seen = seen.replace(call, " safe(");
    }
    seen
}

/// Whether all files that are opened for more than reading are named, and are given something.
fn files(text: &str) -> bool {
    let saves = ["savefig(", "to_csv(", "to_parquet("].iter().any(|call| text.contains(call));
    let opens = saves || text.contains("open") || text.contains("write_");
    if !opens {
        return !moves(text);
    }
    let bare = words(text).filter(|word| word.ends_with("open")).count();
    let called = text.matches("open(").count();
    let empties = [
        "write('')",
        "write(\"\")",
        "write_text('')",
        "write_text(\"\")",
        "write_bytes(b'')",
        "write_bytes(b\"\")",
    ];
    let gives = saves || ["write", "dump", "file="].iter().any(|word| text.contains(word));
    bare == called
        && !empties.iter().any(|call| text.contains(call))
        && !moves(text)
        && writes_named_files(Language::Python, text).is_some_and(|writes| gives || !writes)
}

/// Whether a path may be moved: `Path.replace` takes one argument, `str.replace` two or more.
fn moves(text: &str) -> bool {
    (text.contains("Path") || text.contains("pathlib"))
        && text.match_indices(".replace(").any(|(at, call)| {
            let rest = text.get(at + call.len()..).unwrap_or_default();
            let line = rest.split('\n').next().unwrap_or_default();
            rest.starts_with('*') || !line.contains(',')
        })
}
