use std::os::unix::ffi::OsStringExt;

use super::*;

fn facts() -> Facts<'static> {
    Facts {
        home: "/home/u",
        user: "u",
        shell: "/bin/bash",
        tmp: "/tmp",
        cwd: Path::new("/home/u/p"),
        proxy: None,
        writable: &[],
        read_only: &[],
    }
}

fn from(variables: &[(&str, &str)], pass: &[&str]) -> Environment {
    let pass: Vec<String> = pass.iter().map(ToString::to_string).collect();
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    build(Rules::builtin(), variables, &pass, facts()).unwrap()
}

fn why(environment: &Environment, name: &str) -> Option<Why> {
    environment.withheld.iter().find(|withheld| withheld.name == name).map(|withheld| withheld.why)
}

#[test]
fn what_is_set_is_ours() {
    let environment =
        from(&[("HOME", "/evil"), ("SHELL", "/evil"), ("PWD", "/evil"), ("USER", "root")], &["HOME"]);
    let vars: Vec<_> = environment.vars.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        vars,
        [
            ("HOME", "/home/u"),
            ("LOGNAME", "u"),
            ("PATH", DEFAULT_PATH),
            ("PWD", "/home/u/p"),
            ("SHELL", "/bin/bash"),
            ("TMPDIR", "/tmp"),
            ("USER", "u"),
        ]
    );
    assert!(environment.withheld.is_empty());
}

#[test]
fn listed_variables_pass_and_others_do_not() {
    let environment = from(
        &[
            ("LANG", "C.UTF-8"),
            ("LC_ALL", "C"),
            ("TERM", "xterm"),
            ("NO_COLOR", "1"),
            ("FOO", "x"),
            ("LESSOPEN", "|x"),
        ],
        &[],
    );
    for name in ["LANG", "LC_ALL", "TERM", "NO_COLOR"] {
        assert!(environment.vars.contains_key(name), "{name}");
    }
    assert_eq!(why(&environment, "FOO"), Some(Why::NotListed));
    assert_eq!(why(&environment, "LESSOPEN"), Some(Why::Injection));
}

#[test]
fn every_injection_variable_is_withheld_even_from_a_wildcard() {
    let names = [
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "LD_AUDIT",
        "GLIBC_TUNABLES",
        "GCONV_PATH",
        "LOCPATH",
        "BASH_ENV",
        "ENV",
        "SHELLOPTS",
        "BASHOPTS",
        "POSIXLY_CORRECT",
        "PS4",
        "PROMPT_COMMAND",
        "IFS",
        "CDPATH",
        "GLOBIGNORE",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "PYTHONHOME",
        "PYTHONINSPECT",
        "NODE_OPTIONS",
        "NODE_PATH",
        "PERL5OPT",
        "PERL5LIB",
        "PERL5DB",
        "RUBYOPT",
        "RUBYLIB",
        "GIT_SSH_COMMAND",
        "GIT_EXTERNAL_DIFF",
        "GIT_CONFIG_COUNT",
        "GIT_EXEC_PATH",
        "GIT_DIR",
        "JAVA_TOOL_OPTIONS",
        "_JAVA_OPTIONS",
        "JDK_JAVA_OPTIONS",
        "CLASSPATH",
        "RUSTC_WRAPPER",
        "RUSTFLAGS",
        "CARGO_HOME",
        "GOFLAGS",
        "MAKEFLAGS",
        "CC",
        "EDITOR",
        "PAGER",
        "LESSOPEN",
        "TERMINFO",
        "TAR_OPTIONS",
        "GREP_OPTIONS",
        "PHPRC",
        "LUA_INIT",
        "OPENSSL_CONF",
        "SSH_AUTH_SOCK",
        "XDG_CONFIG_HOME",
        "http_proxy",
        "HTTPS_PROXY",
        "VIMINIT",
        "EMACSLOADPATH",
        "DOTNET_STARTUP_HOOKS",
        "npm_config_script_shell",
        "EXECWARD_POLICY",
        "ZDOTDIR",
        "HISTFILE",
        "TZDIR",
    ];
    for name in names {
        let environment = from(&[(name, "x")], &["*"]);
        assert!(!environment.vars.contains_key(name), "{name}");
        assert!(
            matches!(why(&environment, name), Some(Why::Injection)),
            "{name} {:?}",
            why(&environment, name)
        );
        assert_eq!(
            from(&[(name, "x")], &[name]).vars.get(name).map(String::as_str),
            Some("x"),
            "{name} by name"
        );
    }
}

#[test]
fn exported_functions_never_pass() {
    let environment = from(
        &[("BASH_FUNC_ls%%", "() { rm x; }"), ("LANG", "() { :; }; x"), ("NODE_ENV", "() { :;}")],
        &["*"],
    );
    assert_eq!(why(&environment, "BASH_FUNC_ls%%"), Some(Why::BadName));
    assert_eq!(why(&environment, "LANG"), Some(Why::Injection));
    assert_eq!(why(&environment, "NODE_ENV"), Some(Why::Injection));
}

#[test]
fn credentials_are_withheld_by_name_and_by_value() {
    let token = format!("ghp_{}", "k7Qm2ZxV9b".repeat(4));
    let environment = from(
        &[
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMIK7MDENG1"),
            ("MY_SERVICE_TOKEN", "abcdefgh"),
            ("DB_PASSWORD", "correct horse"),
            ("STRIPE_KEY", "x"),
            ("RUST_LOG", &token),
            ("DATABASE_URL", "postgres://app:s3cr3tpw@db/x"),
            ("AUTH_METHOD", "password"),
            ("API_KEY_FILE", "/run/secrets/key"),
            ("CI", "true"),
        ],
        &["*"],
    );
    for name in [
        "AWS_SECRET_ACCESS_KEY",
        "MY_SERVICE_TOKEN",
        "DB_PASSWORD",
        "STRIPE_KEY",
        "AUTH_METHOD",
        "API_KEY_FILE",
    ] {
        assert_eq!(why(&environment, name), Some(Why::SecretName), "{name}");
    }
    for name in ["RUST_LOG", "DATABASE_URL"] {
        assert_eq!(why(&environment, name), Some(Why::SecretValue), "{name}");
    }
    assert!(environment.vars.contains_key("CI"));
    let secrets: Vec<_> = environment.secrets.iter().map(Secret::name).collect();
    assert_eq!(
        secrets,
        ["AWS_SECRET_ACCESS_KEY", "MY_SERVICE_TOKEN", "DB_PASSWORD", "RUST_LOG", "DATABASE_URL"]
    );
}

#[test]
fn a_named_credential_passes_and_is_still_redacted() {
    let environment = from(&[("NPM_TOKEN", "s3cr3t-value")], &["NPM_TOKEN"]);
    assert_eq!(environment.vars["NPM_TOKEN"], "s3cr3t-value");
    assert_eq!(environment.secrets.len(), 1);
}

#[test]
fn a_pattern_passes_ordinary_variables() {
    let environment = from(&[("APP_MODE", "x"), ("APP_TOKEN", "y"), ("OTHER", "z")], &["APP_*"]);
    assert_eq!(environment.vars.get("APP_MODE").map(String::as_str), Some("x"));
    assert_eq!(why(&environment, "APP_TOKEN"), Some(Why::SecretName));
    assert_eq!(why(&environment, "OTHER"), Some(Why::NotListed));
}

#[test]
fn names_and_values_that_are_none_are_withheld() {
    let variables = [
        (OsString::new(), OsString::from("x")),
        (OsString::from("A=B"), OsString::from("x")),
        (OsString::from("A\nB"), OsString::from("x")),
        (OsString::from("1A"), OsString::from("x")),
        (OsString::from_vec(vec![0xff]), OsString::from("x")),
        (OsString::from("CI"), OsString::from_vec(vec![0xff])),
        (OsString::from("LINES"), OsString::from("1\x002")),
        (OsString::from("TERM"), OsString::from("a")),
        (OsString::from("TERM"), OsString::from("b")),
        (OsString::from("RUST_LOG"), OsString::from("x".repeat(200 << 10))),
    ];
    let environment = build(Rules::builtin(), variables, &["*".into()], facts()).unwrap();
    let count = |why| environment.withheld.iter().filter(|withheld| withheld.why == why).count();
    assert_eq!(
        (count(Why::BadName), count(Why::BadValue), count(Why::Duplicate), count(Why::TooLong)),
        (5, 2, 1, 1)
    );
    assert_eq!(environment.vars["TERM"], "a");
    assert!(environment.withheld.iter().all(|withheld| !withheld.name.contains('\n')));
}

#[test]
fn too_much_in_all_is_an_error() {
    let variables =
        (0..20).map(|index| (OsString::from(format!("V{index}")), OsString::from("x".repeat(100 << 10))));
    let error = build(Rules::builtin(), variables, &["V*".into()], facts()).unwrap_err();
    assert!(matches!(error, EnvironmentError::TooLarge { .. }), "{error}");
}

#[test]
fn values_that_become_paths_are_withheld() {
    for (name, value) in [
        ("LANG", "../../evil"),
        ("LC_ALL", "/tmp/x"),
        ("TERM", "%s"),
        ("TZ", "/etc/shadow"),
        ("TZ", ":/x"),
        ("TZ", "a/../../b"),
    ] {
        assert_eq!(why(&from(&[(name, value)], &[]), name), Some(Why::UnsafeValue), "{name}={value}");
    }
    assert!(from(&[("TZ", "Europe/Berlin")], &[]).vars.contains_key("TZ"));
}

#[test]
fn path_keeps_only_directories_that_commands_cannot_write() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let (workspace, tools) = (root.join("w"), root.join("home/.cargo/bin"));
    for directory in [&workspace.join("bin"), &tools, &root.join("opt")] {
        std::fs::create_dir_all(directory).unwrap();
    }
    std::os::unix::fs::symlink(workspace.join("bin"), root.join("link")).unwrap();
    let show = |path: &Path| path.to_str().unwrap().to_owned();
    let entries = [
        "/usr/bin".to_owned(),
        String::new(),
        ".".into(),
        "bin".into(),
        show(&workspace.join("bin")),
        "/usr/bin".into(),
        show(&workspace.join("../opt")),
        show(&root.join("link")),
        show(&root.join("home/evil")),
        show(&tools),
        "/bin".into(),
    ];
    let writable = [workspace.clone(), root.join("home")];
    let read_only = [root.join("home/.cargo")];
    let facts = Facts { writable: &writable, read_only: &read_only, ..facts() };
    let variables = [
        (OsString::from("PATH"), OsString::from(entries.join(":"))),
        (OsString::from("JAVA_HOME"), OsString::from("/usr/lib/jvm/x")),
        (OsString::from("VIRTUAL_ENV"), workspace.join(".venv").into_os_string()),
    ];
    let environment = build(Rules::builtin(), variables, &[], facts).unwrap();
    assert_eq!(environment.vars["PATH"], format!("/usr/bin:{}:/bin", show(&tools)));
    let dropped = environment.withheld.iter().filter(|withheld| withheld.name == "PATH").count();
    assert_eq!(dropped, 6);
    assert!(environment.vars.contains_key("JAVA_HOME"));
    assert_eq!(why(&environment, "VIRTUAL_ENV"), Some(Why::UnsafePath));
}

#[test]
fn a_directory_that_is_no_text_is_an_error() {
    let cwd = PathBuf::from(OsString::from_vec(b"/w/\xff".to_vec()));
    let facts = Facts { cwd: &cwd, ..facts() };
    let error = build(Rules::builtin(), [], &[], facts).unwrap_err();
    assert_eq!(error, EnvironmentError::Unusable { name: "PWD" });
}

#[test]
fn a_proxied_sandbox_names_its_proxy_whatever_the_requester_has() {
    let theirs = |name: &str| (name.into(), "http://evil.example:1".into());
    let variables = ["http_proxy", "HTTPS_PROXY", "All_Proxy", "no_proxy", "NO_PROXY"].map(theirs);
    let pass = ["http_proxy".to_owned(), "HTTPS_PROXY".to_owned(), "*_PROXY".to_owned()];
    let facts = Facts { proxy: Some(3128), ..facts() };
    let environment = build(Rules::builtin(), variables, &pass, facts).unwrap();
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        assert_eq!(environment.vars[name], "http://127.0.0.1:3128", "{name}");
    }
    assert_eq!(environment.vars["no_proxy"], "localhost,127.0.0.1,::1");
    assert_eq!(environment.vars["NO_PROXY"], environment.vars["no_proxy"]);
    assert!(!format!("{environment:?}").contains("evil"));
}
