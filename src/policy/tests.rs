use std::collections::BTreeMap;

use super::examples::example_facts;
use super::*;
use crate::gate::Decision;

mod mistakes;
mod properties;

#[test]
fn the_shipped_policies_load_with_every_example() {
    for (name, text) in Policy::SHIPPED {
        let policy = Policy::parse(text, name).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(policy.lint(), [], "{name}");
    }
    assert_ne!(Policy::builtin().name(), "refuse-everything");
}

fn error(text: &str) -> PolicyError {
    Policy::parse(text, "p.toml").unwrap_err()
}

fn judge(policy: &Policy, line: &str) -> Judgement {
    let argv = line.split(' ').map(str::to_owned).collect();
    policy.judge(&Command::Argv(argv), &example_facts(None, &BTreeMap::new()))
}

#[test]
fn an_unknown_key_is_shown_with_a_hint() {
    let error = error("[[rule]]\nid = \"x\"\ndecison = \"ask\"\nreason = \"r\"\n");
    let shown = error.to_string();
    assert!(shown.contains("p.toml:3:1"), "{shown}");
    assert!(shown.contains("^^^^^^^"), "{shown}");
    assert!(shown.contains("did you mean `decision`?"), "{shown}");
    assert_eq!(error.place(), Some((3, 1)));
}

#[test]
fn mistakes_name_their_place() {
    let rule = "[[rule]]\nid = \"a\"\ndecision = \"ask\"\nreason = \"r\"\n";
    for (text, message, line) in [
        ("[limits]\nmemory = \"4 gigs\"\n".to_owned(), "is not a size", 2),
        ("[approval]\ntimeout = \"soon\"\n".to_owned(), "is not a time", 2),
        ("[network]\nmode = \"nonne\"\n".to_owned(), "unknown variant `nonne`", 2),
        ("[limit]\n".to_owned(), "unknown field `limit`", 1),
        (
            format!("{rule}effect = {{ delete = {{ path = \"!workspaze\" }} }}\n"),
            "unknown path class `workspaze`",
            5,
        ),
        (format!("{rule}effect = {{ delete = {{ pth = \"home\" }} }}\n"), "unknown field `pth`", 5),
        (format!("{rule}effect = \"delte\"\n"), "unknown variant `delte`", 5),
        (
            format!("{rule}effect = {{ write = {{ how = \"overwritte\" }} }}\n"),
            "unknown way to write or remove `overwritte`",
            5,
        ),
        (format!("{rule}effect = []\n"), "the list is empty", 5),
        (rule.to_owned(), "has no condition", 1),
        (format!("{rule}program = \"ls\"\n{rule}program = \"ls\"\n"), "two rules with the id `a`", 7),
        (rule.replace("\"a\"", "\"hardline.x\"") + "program = \"ls\"\n", "reserved", 2),
        (rule.replace("\"a\"", "\"A b\"") + "program = \"ls\"\n", "is not a rule id", 2),
        (rule.replace("\"r\"", "\" \"") + "program = \"ls\"\n", "the reason is empty", 4),
        (rule.replace("\"ask\"", "\"hardline\"") + "program = \"ls\"\n", "unknown variant `hardline`", 3),
        ("[[rule]\n".to_owned(), "", 1),
        (
            format!("{rule}program = \"ls\"\nexamples = [{{ argv = [\"ls\"], expect = \"allow\" }}]\n"),
            "an example of the rule `a` fails",
            6,
        ),
    ] {
        let error = error(&text);
        assert!(error.message().contains(message), "{message:?} in {error}");
        assert_eq!(error.place().map(|place| place.0), Some(line), "{error}");
    }
    assert!(error("[workspace]\nroots = [\"x\"]\n").message().contains("not an absolute path"));
    assert!(error("[environment]\npass = [\"A-B\"]\n").message().contains("not the name of a variable"));
}

#[test]
fn sections_are_read() {
    let text = "[environment]\npass = [\"LC_*\"]\n[workspace]\nroots = [\"/srv/w\"]\n[network]\nmode = \"host\"\n\
                [limits]\ntime = \"90s\"\nmemory = \"512MiB\"\nopen-files = 64\n[approval]\ntimeout = \"2m\"\n";
    let policy = Policy::parse(text, "p.toml").unwrap();
    let base = policy.base();
    assert_eq!(base.pass, ["LC_*"]);
    assert_eq!(policy.roots.as_deref(), Some(&["/srv/w".to_owned()][..]));
    assert_eq!(base.network, Network::Host);
    assert_eq!(base.limits.time.as_secs(), 90);
    assert_eq!(base.limits.memory, ByteSize(512 << 20));
    assert_eq!(base.limits.open_files, 64);
    assert_eq!(base.limits.processes, Limits::default().processes);
    assert_eq!(policy.approval.timeout.as_secs(), 120);
    assert_ne!(policy.digest(), Policy::parse("", "p.toml").unwrap().digest());
}

#[test]
fn profiles_differ_from_the_sections_at_the_top() {
    let text = "[network]\nmode = \"host\"\n[sandbox]\nmasked = [\"~/notes\"]\n\
                [profile.readonly]\nworkspace = \"read\"\nnetwork = { mode = \"none\" }\n\
                [profile.more]\nlimits = { memory = \"8GiB\" }\nselectable = true\n\
                [profile.hidden]\nminimum = \"landlock-seccomp\"\nmasked = [\"data/keys\"]\n";
    let policy = Policy::parse(text, "p.toml").unwrap();
    let readonly = policy.profile("readonly").unwrap();
    assert_eq!((readonly.workspace, &readonly.network), (Access::Read, &Network::None));
    assert_eq!(readonly.masked, ["~/notes"]);
    let names: Vec<(&str, bool)> =
        policy.profiles().map(|profile| (profile.name.as_str(), profile.selectable)).collect();
    // One that gives more is only for who is told so.
    assert_eq!(names, [("default", true), ("hidden", false), ("more", true), ("readonly", true)]);
    assert_eq!(policy.profile("hidden").unwrap().masked, ["~/notes", "data/keys"]);
    for (text, message, line) in [
        ("[profile.default]\n", "is what the sections at the top say", Some(1)),
        ("[profile.\"A b\"]\n", "is not the name of a profile", Some(1)),
        ("[profile.x]\nnetwork = { mode = \"proxy\" }\n", "needs `allow`", Some(1)),
        ("[profile.x]\nmasked = [\"../x\"]\n", "cannot be masked", Some(2)),
        ("[profile.x]\nenvironment = { pass = [\"*\"] }\n", "is not the name of a variable", Some(2)),
        ("[profile.x.network]\nmode = \"proxy\"\nallow = [\"x\"]\n", "is not a destination", Some(3)),
        ("[network]\nallow = []\n", "give `mode", Some(2)),
        ("[network]\nmode = \"none\"\nallow = [\"a.example:1\"]\n", "[network]", Some(3)),
        ("\n[workspace]\nroots = [\"/a\",\n\"rel\"]\n", "not an absolute path", Some(4)),
        ("[environment]\npass = [\"A=B\"]\n", "not the name of a variable", Some(2)),
        ("[scan]\naccept = [\"xyz\"]\n", "not a SHA-256", Some(2)),
        ("[sandbox]\nmasked = [\"/\"]\n", "cannot be masked", Some(2)),
        ("[limits]\nmemory = \"0\"\n", "no command can run", Some(2)),
        ("[limits]\nprocesses = 0\n", "no command can run", Some(2)),
        ("[limits]\nopen-files = 0\n", "no command can run", Some(2)),
        ("[limits]\ntime = \"0s\"\n", "no command can run", Some(2)),
        ("[profile.x]\nlimits = { time = \"0s\" }\n", "no command can run", Some(2)),
    ] {
        let error = error(text);
        assert!(error.message().contains(message), "{error}");
        assert_eq!(error.place().map(|place| place.0), line, "{error}");
    }
}

#[test]
fn rules_speak_of_programs_arguments_and_paths() {
    let text = r#"
        [[rule]]
        id = "no-publish"
        program = "cargo"
        arguments = { first = "publish", none = "--dry-run" }
        decision = "deny"
        reason = "releases are made by people"

        [[rule]]
        id = "keep-data"
        effect = { delete = { path = ["/srv/data/**", "!/srv/data/tmp/**"] } }
        decision = "deny"
        reason = "data"
    "#;
    let policy = Policy::parse(text, "p.toml").unwrap();
    for (line, decision) in [
        ("cargo publish", Decision::Deny),
        ("cargo -q publish", Decision::Deny),
        ("cargo publish --dry-run", Decision::Allow),
        ("cargo build", Decision::Allow),
        ("rm /srv/data/x", Decision::Deny),
        ("rm /srv/data/x/y", Decision::Deny),
        ("rm /srv/data/tmp/y", Decision::Allow),
        ("rm /srv/other", Decision::Allow),
    ] {
        assert_eq!(judge(&policy, line).decision, decision, "{line}");
    }
}

#[test]
fn an_allow_rule_lifts_the_default_and_nothing_else() {
    let text = r#"
        default = "ask"
        [[rule]]
        id = "deny-home"
        effect = { delete = { path = "home" } }
        decision = "deny"
        reason = "r"
        [[rule]]
        id = "allow-rm"
        program = "rm"
        effect = "delete"
        decision = "allow"
        reason = "r"
    "#;
    let policy = Policy::parse(text, "p.toml").unwrap();
    assert_eq!(judge(&policy, "rm build/x").decision, Decision::Allow);
    assert_eq!(judge(&policy, "rm /home/user/x").decision, Decision::Deny);
    assert_eq!(judge(&policy, "rm -rf /").decision, Decision::Hardline);
    assert_eq!(judge(&policy, "some-tool").decision, Decision::Ask);
}

fn beneath(upper: &str, lower: &str) -> Policy {
    let upper = Policy::parse(upper, "upper.toml").unwrap();
    let lower = Loader::beneath(&upper, Role::Project).load(lower, "lower.toml").unwrap();
    upper.over(&lower)
}

#[test]
fn a_lower_layer_only_tightens() {
    let upper = "default = \"ask\"\n[network]\nmode = \"host\"\n[workspace]\nroots = [\"/srv\", \"/home/user\"]\n\
                 [profile.build]\nworkspace = \"read\"\n";
    let same = beneath(upper, "");
    assert_eq!(same.base(), Policy::parse(upper, "p").unwrap().base());
    assert_eq!(judge(&same, "some-tool").decision, Decision::Ask);

    let lower = "default = \"allow\"\n[workspace]\nroots = [\"/srv/a\", \"/etc\", \"/srvx\"]\n[limits]\nmemory = \"1TiB\"\n\
                 time = \"5s\"\n[environment]\npass = [\"MINE\"]\n[approval]\ntimeout = \"24h\"\n\
                 [profile.build]\nnetwork = { mode = \"none\" }\n[profile.mine]\nlimits = { processes = 100000 }\n\
                 [[rule]]\nid = \"all\"\nprogram = \"*\"\ndecision = \"allow\"\nreason = \"r\"\n";
    let policy = beneath(upper, lower);
    assert_eq!(judge(&policy, "some-tool").decision, Decision::Ask);
    assert_eq!(policy.roots.as_deref(), Some(&["/srv/a".to_owned()][..]));
    assert_eq!(policy.approval, Approval::default());
    let base = policy.base();
    assert_eq!((base.limits.memory, base.limits.time.as_secs()), (Limits::default().memory, 5));
    assert_eq!((&base.network, base.pass.as_slice()), (&Network::Host, &[][..]));
    let build = policy.profile("build").unwrap();
    assert_eq!(
        (build.workspace, &build.network, build.limits.time.as_secs()),
        (Access::Read, &Network::None, 5)
    );
    assert_eq!(policy.profile("mine").unwrap().limits.processes, Limits::default().processes);
}

#[test]
fn a_rule_has_a_command_run_under_a_profile() {
    let text = r#"
        [network]
        mode = "host"
        [profile.no-network]
        network = { mode = "none" }
        [[rule]]
        id = "make-offline"
        program = "make"
        decision = "allow"
        run-under = "no-network"
        reason = "builds need no network"
        examples = [
          { command = "make", expect = "allow", run-under = ["no-network"] },
          { command = "$(echo make)", expect = "allow", run-under = ["no-network"] },
          { command = "ls", expect = "allow", run-under = [] },
        ]
        [[rule]]
        id = "ask-delete"
        effect = "delete"
        decision = "ask"
        reason = "r"
    "#;
    let policy = Policy::parse(text, "p.toml").unwrap();
    let judgement = judge(&policy, "make all");
    assert_eq!(
        (judgement.decision, judgement.run_under.as_slice()),
        (Decision::Allow, &["no-network".to_owned()][..])
    );
    let confined = policy.confine(policy.base(), &judgement);
    assert_eq!((confined.network, confined.name.as_str()), (Network::None, "default+no-network"));
    let missing = error(&text.replace("run-under = \"no-network\"", "run-under = \"none\""));
    assert!(missing.message().contains("there is no profile `none`"), "{missing}");
    let wrong = error(&text.replace("run-under = []", "run-under = [\"x\"]"));
    assert!(wrong.message().contains("`ls` runs under no profile of a rule"), "{wrong}");
}

/// A rule can take away and never give: under a profile with more than the session has, the session's own holds.
#[test]
fn a_profile_of_a_rule_gives_nothing() {
    let text = "[network]\nmode = \"none\"\n[limits]\nmemory = \"1GiB\"\n[profile.wide]\nlimits = { memory = \"8GiB\" }\n\
        network = { mode = \"host\" }\n[[rule]]\nid = \"x\"\nprogram = \"make\"\ndecision = \"allow\"\nreason = \"r\"\nrun-under = \"wide\"\n";
    let policy = Policy::parse(text, "p.toml").unwrap_or_else(|error| panic!("{error}"));
    let judgement = judge(&policy, "make all");
    assert_eq!(judgement.run_under, ["wide"]);
    let own = policy.profile("default").unwrap();
    let confined = policy.confine(own, &judgement);
    assert_eq!(confined.network, own.network);
    assert_eq!(confined.limits, own.limits);
    assert!(own.beyond(&confined).is_empty());
}

#[test]
fn rules_speak_of_hosts_people_sessions_backends_and_redirections() {
    let text = r#"
        [[rule]]
        id = "other-hosts"
        effect = { fetch = { host = ["!example.org", "!*.example.org"] } }
        decision = "deny"
        reason = "r"
        examples = [
          { command = "curl https://api.example.org/x", expect = "allow" },
          { command = "curl https://example.org.evil.example/x", expect = "deny" },
          { command = "curl https://$h/x", expect = "deny" },
        ]
        [[rule]]
        id = "bob"
        program = "make"
        principal = ["bob", "0"]
        decision = "ask"
        reason = "r"
        examples = [
          { command = "make", expect = "allow" },
          { command = "make", expect = "ask", principal = "bob" },
          { command = "make", expect = "ask", principal = "root" },
        ]
        [[rule]]
        id = "session"
        program = "cargo"
        session = "default"
        decision = "ask"
        reason = "r"
        examples = [
          { command = "cargo b", expect = "ask" },
          { command = "cargo b", expect = "allow", session = "build" },
        ]
        [[rule]]
        id = "backend"
        program = "nproc"
        backend = "docker"
        decision = "ask"
        reason = "r"
        examples = [{ command = "nproc", expect = "allow" }, { command = "nproc", expect = "ask", backend = "docker" }]
        [[rule]]
        id = "redirected"
        effect = { write = { path = "workspace", redirected = true } }
        decision = "ask"
        reason = "r"
        examples = [{ command = "ls > x", expect = "ask" }, { command = "ls >> x", expect = "ask" }, { command = "touch x", expect = "allow" }]
    "#;
    if let Err(error) = Policy::parse(text, "p.toml") {
        panic!("{error}");
    }
}

#[test]
fn a_lower_layer_only_tightens_the_scan() {
    let (first, second) = ("a".repeat(64), "b".repeat(64));
    let upper =
        format!("[scan]\non-hit = \"ask\"\nseverity = \"medium\"\naccept = [\"{first}\", \"{second}\"]\n");
    let scan = |lower: &str| beneath(&upper, lower).scan;
    assert_eq!(scan(""), Policy::parse(&upper, "p").unwrap().scan);
    assert_eq!(scan("[scan]\non-hit = \"flag\"\nseverity = \"high\"\n"), scan(""));
    let deny = scan("[scan]\non-hit = \"deny\"\nseverity = \"low\"\n");
    assert_eq!((deny.on_hit, deny.severity), (OnHit::Deny, crate::scan::Severity::Low));
    // Nobody accepts a file for those above; what they accept can be taken back.
    let accepting = scan(&format!("[scan]\naccept = [\"{first}\", \"{}\"]\n", "c".repeat(64)));
    assert!(accepting.accepts(&first) && !accepting.accepts(&second) && !accepting.accepts(&"c".repeat(64)));
    let none = beneath("", &format!("[scan]\naccept = [\"{first}\"]\n")).scan;
    assert!(!none.accepts(&first));
    for wrong in ["C".repeat(64), "a".repeat(63), String::new()] {
        let error = error(&format!("[scan]\naccept = [\"{wrong}\"]\n"));
        assert!(error.message().contains("is not a SHA-256"), "{error}");
    }
}

#[test]
fn layers_add_shapes_of_secrets_and_a_project_adds_none() {
    let shape = |id: &str, word: &str| {
        format!(
            "[[redact]]\nid = \"{id}\"\nliterals = [\"{word}\"]\nsecret = '{word}[A-Za-z0-9]{{8,64}}'\n\
             masks = [\"{word}{{{{a20}}}}\"]\nleaves = [\"{word}\"]\n"
        )
        .replace("{{", "{")
        .replace("}}", "}")
    };
    let upper = Policy::parse(&shape("upper", "upw_"), "upper.toml").unwrap();
    let lower = Loader::beneath(&upper, Role::Operator).load(&shape("lower", "low_"), "lower.toml").unwrap();
    let redactor = crate::redact::Redactor::new(&upper.over(&lower).redaction(), Vec::new());
    for secret in ["upw_a1b2c3d4e5f6", "low_a1b2c3d4e5f6", "ghp_0123456789abcdefghijABCDEFGHIJ012345"] {
        let (text, places) = redactor.text(&format!("x {secret} y"));
        assert!(places == 1 && !text.contains(secret), "{text}");
    }
    let refused = Loader::beneath(&upper, Role::Project).load(&shape("own", "own_"), "p.toml").unwrap_err();
    assert!(refused.message().contains("adds no shapes of secrets"), "{refused}");
    let twice = error(&(shape("same", "one_") + &shape("same", "two_")));
    assert!(twice.message().contains("there is a rule of that name"), "{twice}");
}

#[test]
fn files_are_included_within_bounds() {
    let files = BTreeMap::from([
        (
            "a",
            "include = [\"b\"]\n[[rule]]\nid = \"a\"\nprogram = \"aa\"\ndecision = \"deny\"\nreason = \"r\"\n",
        ),
        ("b", "[[rule]]\nid = \"b\"\nprogram = \"bb\"\ndecision = \"deny\"\nreason = \"r\"\n"),
        ("circle", "include = [\"circle\"]\n"),
        ("section", "[limits]\ntime = \"1s\"\n"),
        ("wrong", "\n\nnonsense = 1\n"),
        ("strict", include_str!("../../policies/strict.toml")),
    ]);
    let find = |name: &str, _: &str| {
        let text = files.get(name).map(|text| (*text).to_owned()).or_else(|| {
            // Ever deeper, and ever wider.
            let number = name.strip_prefix("deep")?.parse::<u32>().ok()?;
            Some(format!("include = [\"deep{}\"]\n", number + 1))
        });
        Ok(Included { name: name.to_owned(), text: text.ok_or("there is no such file")? })
    };
    let load = |text: &str, role| Loader { find: Some(&find), ..Loader::new(role) }.load(text, "main.toml");
    let policy = load("include = [\"a\", \"b\"]\n", Role::Operator).unwrap();
    assert_eq!(policy.rule_ids().collect::<Vec<_>>(), ["b", "a"]);
    assert_ne!(policy.digest(), load("include = [\"a\"]\n", Role::Operator).unwrap().digest());
    for (text, message) in [
        ("include = [\"circle\"]\n", "includes itself"),
        ("include = [\"deep0\"]\n", "deep"),
        ("include = [\"none\"]\n", "there is no such file"),
        ("include = [\"section\"]\n", "`section` has [limits]"),
        ("include = [\"strict\"]\n[limits]\n[network]\n[approval]\n", "`strict` has `default`"),
        ("include = [\"wrong\"]\n", "unknown field `nonsense`"),
    ] {
        let error = load(text, Role::System).unwrap_err();
        assert!(error.message().contains(message), "{error}");
    }
    assert!(load("include = [\"wrong\"]\n", Role::System).unwrap_err().to_string().contains("wrong:3:1"));
    // What it says of sections is the including file's to say.
    let own = "include = [\"strict\"]\ndefault = \"ask\"\n[limits]\ntime = \"1m\"\n[network]\nmode = \"none\"\n[approval]\n";
    let strict = load(own, Role::System).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(strict.base().limits.time.as_secs(), 60);
    assert!(load(&own.replace("[limits]\ntime", "[limits]\ngrace"), Role::System).is_ok());
    let project = load("include = [\"b\"]\n", Role::Project).unwrap_err();
    assert!(
        project.message().contains("includes nothing") && !project.to_string().contains("bb"),
        "{project}"
    );
    assert!(error("include = [\"b\"]\n").message().contains("nothing can be included here"));
}

#[test]
fn known_examples_are_not_tried_again() {
    let text = "[[rule]]\nid = \"a\"\nprogram = \"ls\"\ndecision = \"ask\"\nreason = \"r\"\n\
                examples = [{ command = \"ls\", expect = \"deny\" }]\n";
    assert!(error(text).message().contains("an example of the rule `a` fails"));
    let known = |_: &[u8; 32]| true;
    assert!(Loader { examples_hold: Some(&known), ..Loader::new(Role::System) }.load(text, "p").is_ok());
}

#[test]
fn an_empty_list_never_means_everything() {
    let policy = Policy::parse(
        "[workspace]\nroots = []\n[network]\nmode = \"proxy\"\nallow = []\n[environment]\npass = []\n",
        "p",
    )
    .unwrap();
    assert_eq!(policy.roots, Some(Vec::new()));
    let Network::Proxy(allowed) = &policy.base().network else { panic!("it is proxied") };
    assert!(!allowed.permits("example.org", 443));
    let rule = "[[rule]]\nid = \"a\"\ndecision = \"allow\"\nreason = \"r\"\n";
    for empty in [
        "program = []",
        "arguments = { any = [] }",
        "effect = []",
        "effect = { read = { path = [] } }",
        "principal = []",
        "via = []",
    ] {
        assert!(error(&format!("{rule}{empty}\n")).message().contains("empty"), "{empty}");
    }
}

#[test]
fn a_verdict_is_explained() {
    let facts = example_facts(None, &BTreeMap::new());
    let explained = |text: &str| Policy::builtin().explain(&Command::Shell(text.to_owned()), &facts);
    let outside = explained("rm -r ../other");
    assert!(outside.matched.iter().any(|matched| matched.rule == "delete.outside-workspace"), "{outside:?}");
    let nearest = outside.nearest.unwrap();
    let argv = shell_words::split(&nearest).unwrap();
    assert_eq!(Policy::builtin().judge(&Command::Argv(argv), &facts).decision, Decision::Allow, "{nearest}");
    assert!(explained("ls").nearest.is_none());
    assert!(explained("sudo ls").nearest.is_some_and(|nearest| nearest == "ls"));
}

#[test]
fn the_committed_schema_is_current() {
    let committed = include_str!("../../docs/policy.schema.json");
    let current = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    assert!(committed == current, "run `execward policy schema > docs/policy.schema.json`");
}

#[test]
fn the_refusing_policy_refuses() {
    assert_eq!(judge(&Policy::refusing(), "ls").decision, Decision::Deny);
}

#[test]
fn a_pattern_in_a_path_is_kept_off_by_what_it_surely_is() {
    let text = r#"
        [[rule]]
        id = "keep"
        effect = { delete = { path = ["/data/**", "!/data/tmp/**"] } }
        except = [{ effect = { delete = { path = "/data/old/**" } } }]
        decision = "deny"
        reason = "r"
    "#;
    let policy = Policy::parse(text, "p.toml").unwrap();
    let facts = example_facts(None, &BTreeMap::new());
    for (command, decision) in [
        ("rm /data/tmp/x", Decision::Allow),
        ("rm /data/tmp/*", Decision::Allow),
        ("rm /data/t*/x", Decision::Deny),
        ("rm /data/old/*", Decision::Allow),
        ("rm /data/o*/x", Decision::Deny),
        ("rm /d*/x", Decision::Deny),
    ] {
        let judgement = policy.judge(&Command::Shell(command.to_owned()), &facts);
        assert_eq!(judgement.decision, decision, "{command}");
    }
}
