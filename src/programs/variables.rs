//! Variables and settings that hold commands, name files that are run, or inject code.

use super::effect::{Effect, Language, Target};
use super::hooks::exec;
use super::words;
use crate::shell::{Dialect, Piece, Value};

/// Their value is a command line that some program gives to a shell.
const COMMANDS: &[&str] = &[
    "PAGER",
    "GIT_PAGER",
    "MANPAGER",
    "BROWSER",
    "EDITOR",
    "VISUAL",
    "GIT_EDITOR",
    "GIT_SEQUENCE_EDITOR",
    "FCEDIT",
    "SVN_EDITOR",
    "HGEDITOR",
    "SUDO_EDITOR",
    "SYSTEMD_EDITOR",
    "SYSTEMD_PAGER",
    "KUBE_EDITOR",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_ASKPASS",
    "SSH_ASKPASS",
    "SUDO_ASKPASS",
    "GIT_EXTERNAL_DIFF",
    "GIT_PROXY_COMMAND",
    "RSYNC_RSH",
    "RSYNC_CONNECT_PROG",
    "CVS_RSH",
    "SVN_SSH",
    "HG",
    "LESSOPEN",
    "LESSCLOSE",
    "LESSEDIT",
    "MANOPT",
    "MANROFFOPT",
    "DELTA_PAGER",
    "BAT_PAGER",
    "AWS_PAGER",
    "GH_PAGER",
    "GH_EDITOR",
    "GLAB_PAGER",
    "PSQL_PAGER",
    "PSQL_EDITOR",
    "MYSQL_PAGER",
    "PROMPT_COMMAND",
    "FZF_DEFAULT_COMMAND",
    "RIPGREP_PRE",
    "ZIPOPT",
    "GIT_TRACE_SETUP",
    "GIT_GPG",
    "TEXEDIT",
    "PERLDOC_PAGER",
    "PYDOC_PAGER",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CC",
    "CXX",
    "LD",
    "MAKE",
    "CARGO_TARGET_RUNNER",
    "CMAKE_C_COMPILER_LAUNCHER",
    "CONFIG_SHELL",
    "TERMCMD",
    "XTERM_SHELL",
    "SHELL",
];

/// Their value names a file that a shell or an interpreter reads and runs at its start.
const FILES: &[&str] = &[
    "BASH_ENV",
    "ENV",
    "PYTHONSTARTUP",
    "ZDOTDIR",
    "INPUTRC",
    "RUBYLIB",
    "PERL5LIB",
    "PERLLIB",
    "PYTHONPATH",
    "PYTHONHOME",
    "NODE_PATH",
    "LUA_PATH",
    "LUA_CPATH",
    "GIT_EXEC_PATH",
    "GIT_TEMPLATE_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_DIR",
    "GCONV_PATH",
    "CLASSPATH",
    "VIMINIT",
    "EXINIT",
    "MYVIMRC",
    "SCREENRC",
    "WGETRC",
    "CURL_HOME",
    "NPM_CONFIG_USERCONFIG",
    "npm_config_userconfig",
    "PIP_CONFIG_FILE",
    "MAKEFILES",
    "LESSKEY",
    "TERMINFO",
    "KUBECONFIG",
    "DOCKER_CONFIG",
];

/// They put code into programs that have nothing to do with it, or change which program a name means.
const INJECTIONS: &[&str] = &[
    "PATH",
    "LD_PRELOAD",
    "LD_AUDIT",
    "LD_LIBRARY_PATH",
    "LD_DEBUG_OUTPUT",
    "LD_PROFILE_OUTPUT",
    "GLIBC_TUNABLES",
    "DYLD_INSERT_LIBRARIES",
    "DYLD_LIBRARY_PATH",
    "NODE_OPTIONS",
    "RUBYOPT",
    "PERL5OPT",
    "PERL5DB",
    "PYTHONINSPECT",
    "PYTHONBREAKPOINT",
    "PYTHONWARNINGS",
    "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "MAVEN_OPTS",
    "GRADLE_OPTS",
    "IFS",
    "CDPATH",
    "BASHOPTS",
    "SHELLOPTS",
    "BASH_LOADABLES_PATH",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_ALLOW_PROTOCOL",
    "GIT_PROTOCOL_FROM_USER",
    "PROMPT_DIRTRIM",
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "GOFLAGS",
    "MAKEFLAGS",
    "CFLAGS_EXEC",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "UV_INDEX_URL",
    "NPM_CONFIG_REGISTRY",
    "npm_config_registry",
    "HTTP_PROXY_CMD",
    "DOCKER_HOST",
    "HISTFILE",
    "HISTSIZE",
    "HISTFILESIZE",
    "HOME",
    "SSH_AUTH_SOCK",
    "HISTCONTROL_EXEC",
    "OPENSSL_CONF",
    "OPENSSL_MODULES",
    "OPENSSL_ENGINES",
];

/// Variables that are injections only where they last: before one command they are how it is meant to be used.
const ORDINARY: &[&str] = &[
    "CC",
    "CXX",
    "LD",
    "MAKE",
    "SHELL",
    "HOME",
    "KUBECONFIG",
    "RUSTFLAGS",
    "GOFLAGS",
    "MAKEFLAGS",
    "CLASSPATH",
    "IFS",
    "HISTFILE",
    "DOCKER_CONFIG",
    "DOCKER_HOST",
    "PYTHONWARNINGS",
    "PYTHONINSPECT",
    "SSH_AUTH_SOCK",
    "TERMINFO",
    "MAVEN_OPTS",
    "GRADLE_OPTS",
    "CDPATH",
    "GIT_DIR",
    "PIP_INDEX_URL",
    "UV_INDEX_URL",
    "PYTHONPATH",
    "NODE_PATH",
    "GIT_CONFIG_COUNT",
];

/// Adds what an assignment does to the command that it stands before (`lasting` is false), or to all later ones.
pub(super) fn assigned(name: &str, value: &Value, lasting: bool, effects: &mut Vec<Effect>) {
    // `PATH+=x`
    let name = name.strip_suffix('+').unwrap_or(name);
    if let Some(function) = exported_function(name) {
        let text = words::concat(&[&Value::known(format!("{function} ")), value]);
        effects.push(Effect::Persist { what: name.to_owned(), value: value.clone() });
        effects.push(shell(text));
        return;
    }
    if name == "TAR_OPTIONS" {
        let mut argv = vec![Value::known("tar")];
        match value.as_known().and_then(words::split) {
            Some(options) => argv.extend(options),
            None => argv.push(value.clone()),
        }
        effects.push(exec(argv, name));
    }
    if name == ".SHELLFLAGS"
        && let Some(flags) = value.as_known().and_then(words::split)
    {
        // make's shell, the flags, then a line of a recipe
        let mut argv = vec![Value::known("sh")];
        argv.extend(flags);
        argv.push(Value::known(":"));
        effects.push(exec(argv, name));
    }
    if name == "MAKEFLAGS" && value.prefix().windows(2).any(|part| part == b"$(") {
        super::code::make(value, effects);
    }
    if matches!(name, "PS4" | "PS1" | "PS0" | "PS2") {
        // prompts expand commands each time they are shown
        effects.push(shell(words::concat(&[&Value::known(": \""), value, &Value::known("\"")])));
    } else if COMMANDS.contains(&name) || command_family(name) {
        // a shell that is named is no text for one
        let is_shell = name.ends_with("SHELL")
            && value.as_str().is_some_and(|shell| {
                matches!(
                    shell.rsplit('/').next(),
                    Some("sh" | "bash" | "zsh" | "dash" | "ksh" | "ash" | "fish")
                )
            });
        if value.as_known() != Some(b"") && !is_shell {
            // `LESSOPEN="|-command %s"`: less reads from the command, and that it may print nothing
            let marks = value.prefix().iter().take_while(|byte| matches!(byte, b'|' | b'-')).count();
            let marks = if name.starts_with("LESS") { marks } else { 0 };
            effects.push(shell(words::skip(value, marks)));
        }
        if lasting && !ORDINARY.contains(&name) {
            effects.push(Effect::Persist { what: name.to_owned(), value: value.clone() });
        }
    } else if !lasting && ORDINARY.contains(&name) {
        // as in `CC=clang make`
    } else if FILES.contains(&name) {
        if matches!(name, "BASH_ENV" | "ENV" | "PYTHONSTARTUP" | "MAKEFILES") {
            if !value.pieces.is_empty() {
                effects.push(Effect::RunFile { path: value.clone(), language: None });
            }
        } else if !value.pieces.is_empty() {
            effects.push(Effect::Persist { what: name.to_owned(), value: value.clone() });
        }
    } else if INJECTIONS.contains(&name) || name.starts_with("GIT_CONFIG_VALUE_") || name.starts_with("LD_") {
        // an unquoted IFS change at the top of a script is common and no injection of code
        // nothing is loaded by an empty list
        let is_empty = value.pieces.is_empty() && name.starts_with("LD_");
        if name != "IFS" && name != "CDPATH" && !is_empty && !only_tunes(name, value) {
            effects.push(Effect::Persist { what: name.to_owned(), value: value.clone() });
        }
    }
}

/// What `-C` of rustc may be told without another program being named.
const CODEGEN: &[&str] = &[
    "target-cpu",
    "target-feature",
    "opt-level",
    "debuginfo",
    "debug-assertions",
    "overflow-checks",
    "lto",
    "codegen-units",
    "panic",
    "strip",
    "relocation-model",
    "instrument-coverage",
    "prefer-dynamic",
    "incremental",
    "embed-bitcode",
    "force-frame-pointers",
    "symbol-mangling-version",
];

/// Whether the flags that builds are given say how to compile and how much to print, and start nothing.
fn only_tunes(name: &str, value: &Value) -> bool {
    // `MAKEFLAGS=-j$(nproc)`
    if name == "MAKEFLAGS" && value.prefix().starts_with(b"-j") {
        return value.pieces.iter().all(|piece| match piece {
            Piece::Known(bytes) => !bytes.contains(&b' '),
            Piece::Glob(_) => false,
            Piece::Unknown(hole) => matches!(hole.source.as_str(), "$(nproc)" | "`nproc`"),
        });
    }
    let Some(text) = value.as_str() else { return false };
    match name {
        // what loads code is told so
        "NODE_OPTIONS" => text.split_whitespace().all(|flag| {
            let name = flag.split('=').next().unwrap_or(flag).replace('_', "-");
            NODE_TUNING.contains(&name.as_str())
        }),
        "MAVEN_OPTS" | "GRADLE_OPTS" | "JAVA_TOOL_OPTIONS" | "JDK_JAVA_OPTIONS" | "_JAVA_OPTIONS" => {
            text.split_whitespace().all(|flag| {
                [
                    "-Xmx",
                    "-Xms",
                    "-Xss",
                    "-XX:+Use",
                    "-XX:MaxMetaspaceSize=",
                    "-XX:MaxRAMPercentage=",
                    "-Dfile.encoding=",
                ]
                .iter()
                .any(|known| flag.starts_with(known))
            })
        }
        "HISTSIZE" | "HISTFILESIZE" => text != "0",
        "PYTHONWARNINGS" => matches!(text, "ignore" | "default" | "error" | "always" | "once"),
        "MAKEFLAGS" => text
            .split_whitespace()
            .all(|flag| matches!(flag, "-k" | "-s" | "--silent" | "--no-print-directory")),
        "GOFLAGS" => text.split_whitespace().all(|flag| {
            let name = flag.split('=').next().unwrap_or(flag).trim_start_matches('-');
            matches!(name, "mod" | "tags" | "trimpath" | "buildvcs" | "count" | "race" | "v" | "p" | "short")
        }),
        "RUSTFLAGS" => {
            let mut words = text.split_whitespace();
            while let Some(word) = words.next() {
                let fine = match word {
                    "-C" | "--codegen" => words.next().is_some_and(tunes_code),
                    "-D" | "-W" | "-A" | "-F" | "--deny" | "--warn" | "--allow" | "--forbid" | "--cfg"
                    | "--check-cfg" | "--cap-lints" => words.next().is_some(),
                    "-g" | "-O" => true,
                    _ => match word.strip_prefix("-C") {
                        Some(rest) => tunes_code(rest),
                        None => [
                            "-D",
                            "-W",
                            "-A",
                            "-F",
                            "--cfg=",
                            "--cap-lints=",
                            "--deny=",
                            "--warn=",
                            "--allow=",
                        ]
                        .iter()
                        .any(|flag| word.starts_with(flag)),
                    },
                };
                if !fine {
                    return false;
                }
            }
            true
        }
        _ => false,
    }
}

/// Options of node that load nothing and open nothing.
const NODE_TUNING: &[&str] = &[
    "--max-old-space-size",
    "--max-semi-space-size",
    "--max-http-header-size",
    "--experimental-vm-modules",
    "--no-warnings",
    "--trace-warnings",
    "--trace-deprecation",
    "--no-deprecation",
    "--trace-uncaught",
    "--unhandled-rejections",
    "--stack-trace-limit",
    "--stack-size",
    "--enable-source-maps",
    "--openssl-legacy-provider",
    "--experimental-modules",
    "--experimental-strip-types",
    "--experimental-fetch",
    "--expose-gc",
    "--preserve-symlinks",
    "--dns-result-order",
    "--throw-deprecation",
    "--pending-deprecation",
    "--disable-warning",
];

fn tunes_code(option: &str) -> bool {
    let name = option.split('=').next().unwrap_or(option).replace('_', "-");
    CODEGEN.contains(&name.as_str())
}

/// `CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER` and its like.
fn command_family(name: &str) -> bool {
    name.ends_with("_PAGER")
        || name.ends_with("_EDITOR")
        || (name.starts_with("CARGO_TARGET_") && name.ends_with("_RUNNER"))
}

/// `BASH_FUNC_ls%%` holds the body of a function `ls`.
fn exported_function(name: &str) -> Option<&str> {
    name.strip_prefix("BASH_FUNC_")
        .map(|rest| rest.strip_suffix("%%").or(rest.strip_suffix("()")).unwrap_or(rest))
}

fn shell(text: Value) -> Effect {
    Effect::Script {
        language: Language::Shell(Dialect::Posix),
        text,
        target: Target::Here,
        arguments: Vec::new(),
    }
}

/// Settings of git whose value is run by a shell.
const GIT_COMMANDS: &[&str] = &[
    "core.pager",
    "core.editor",
    "core.sshcommand",
    "core.askpass",
    "core.gitproxy",
    "core.fsmonitor",
    "sequence.editor",
    "credential.helper",
    "credential.*.helper",
    "gpg.program",
    "gpg.*.program",
    "diff.external",
    "diff.*.command",
    "diff.*.textconv",
    "difftool.*.cmd",
    "mergetool.*.cmd",
    "merge.*.driver",
    "filter.*.clean",
    "filter.*.smudge",
    "filter.*.process",
    "pager.*",
    "browser.*.cmd",
    "man.*.cmd",
    "interactive.difffilter",
    "uploadpack.packobjectshook",
    "remote.*.uploadpack",
    "remote.*.receivepack",
    "remote.*.vcs",
    "receive.procreceiverefs",
    "sendemail.*cmd",
    "sendemail.smtpserver",
    "web.browser",
    "trailer.*.command",
    "trailer.*.cmd",
    "submodule.*.update",
    "http.*.sslcert*",
    "guitool.*.cmd",
    "instaweb.*",
    "tar.*.command",
    "imap.tunnel",
    "core.alternaterefscommand",
];

/// Settings of git that say where code comes from.
const GIT_PLACES: &[&str] = &[
    "core.hookspath",
    "init.templatedir",
    "include.path",
    "includeif.*",
    "core.worktree",
    "protocol.*",
    "url.*.insteadof",
    "url.*.pushinsteadof",
    "core.attributesfile",
    "http.proxy",
    "remote.*.proxy",
    "http.sslverify",
    "safe.directory",
];

/// Adds what `git -c name=value` or `git config name=value` does.
pub(super) fn git_setting(setting: &Value, effects: &mut Vec<Effect>) {
    let Some((name, value)) = words::cut(setting, b'=') else {
        if setting.as_known().is_none() {
            effects.push(Effect::Unreadable { program: "git".to_owned(), word: setting.clone() });
        }
        return;
    };
    let name = String::from_utf8_lossy(&name).to_lowercase();
    let is = |list: &[&str]| list.iter().any(|pattern| words::wildcard(pattern.as_bytes(), name.as_bytes()));
    if name.starts_with("alias.") {
        match value.prefix().first() {
            Some(b'!') => effects.push(shell(words::skip(&value, 1))),
            _ => match value.as_known().and_then(words::split) {
                Some(mut argv) => {
                    argv.insert(0, Value::known("git"));
                    effects.push(exec(argv, "git"));
                }
                None => effects.push(Effect::Unreadable { program: "git".to_owned(), word: setting.clone() }),
            },
        }
    } else if is(GIT_COMMANDS) {
        let harmless = matches!(value.as_known(), Some(b"" | b"true" | b"false" | b"0" | b"1" | b"cat"));
        match (harmless, name == "credential.helper") {
            (true, _) => {}
            // a helper without a slash or a bang is a program of git
            (_, true) if !value.prefix().starts_with(b"!") && !value.prefix().starts_with(b"/") => {
                effects.push(Effect::Persist { what: name, value });
            }
            _ => {
                let skipped = usize::from(value.prefix().starts_with(b"!"));
                effects.push(shell(words::skip(&value, skipped)));
            }
        }
    } else if is(GIT_PLACES) {
        let off = matches!(value.as_known(), Some(b"" | b"/dev/null"));
        if !off {
            effects.push(Effect::Persist { what: name, value });
        }
    }
}

/// Adds what `ssh -o name=value` does.
pub(super) fn ssh_setting(setting: &Value, effects: &mut Vec<Effect>) {
    let split = words::cut(setting, b'=').or_else(|| words::cut(setting, b' '));
    let Some((name, value)) = split else {
        effects.push(Effect::Unreadable { program: "ssh".to_owned(), word: setting.clone() });
        return;
    };
    match String::from_utf8_lossy(&name).trim().to_lowercase().as_str() {
        // `Match exec "text"`
        "match" => {
            let command = value.as_str().and_then(|text| text.split_once("exec "));
            effects.extend(command.map(|(_, text)| shell(Value::known(text.trim().trim_matches('"')))));
        }
        "proxycommand" | "localcommand" | "knownhostscommand" | "xauthlocation"
            if value.as_known() != Some(b"none") =>
        {
            effects.push(shell(value));
        }
        "remotecommand" => effects.push(Effect::Script {
            language: Language::Shell(Dialect::Posix),
            text: value,
            target: Target::Host("the remote host".to_owned()),
            arguments: Vec::new(),
        }),
        "pkcs11provider" | "securitykeyprovider" | "include" => {
            effects.push(Effect::RunFile { path: value, language: None });
        }
        "localforward" | "remoteforward" | "dynamicforward" => {
            effects.push(Effect::Listen { address: value });
        }
        _ => {}
    }
}

/// Adds what an action of `tar --checkpoint-action` does.
pub(super) fn tar_action(action: &Value, effects: &mut Vec<Effect>) {
    if action.prefix().starts_with(b"exec=") {
        effects.push(shell(words::skip(action, 5)));
    } else if action.as_known().is_none() {
        effects.push(Effect::Unreadable { program: "tar".to_owned(), word: action.clone() });
    }
}

/// Adds what a setting of apt does: hooks, and programs in the place of its own.
pub(super) fn apt_setting(setting: &Value, effects: &mut Vec<Effect>) {
    let Some((name, value)) = words::cut(setting, b'=') else {
        effects.push(Effect::Unreadable { program: "apt".to_owned(), word: setting.clone() });
        return;
    };
    let name = String::from_utf8_lossy(&name).to_lowercase();
    if ["invoke", "pre-install-pkgs", "dir::bin", "proxyautodetect", "proxy-auto-detect", "solvers"]
        .iter()
        .any(|part| name.contains(part))
    {
        effects.push(shell(value));
    } else if name.starts_with("dir::etc") || name.starts_with("acquire::allow") {
        effects.push(Effect::Persist { what: name, value });
    }
}
