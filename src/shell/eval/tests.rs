//! Tests of evaluation.

#![allow(clippy::indexing_slicing)]

use super::super::*;
use super::*;

fn context() -> Context<'static> {
    Context {
        cwd: Arc::new(Value::known("/home/user/project")),
        home: "/home/user".into(),
        user: "user".into(),
        uid: 1000,
        ..Context::default()
    }
}

fn evaluation(text: &str) -> Evaluation {
    read(text, None, &context(), &mut Budget::default()).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

/// The commands as a person reads them, unset variables read as empty.
fn commands(text: &str) -> Vec<String> {
    let line = |invocation: &Invocation| {
        let words: Vec<String> =
            invocation.argv.iter().map(|value| value.with_unset_empty().to_string()).collect();
        words.join(" ")
    };
    evaluation(text).invocations.iter().map(line).collect()
}

#[track_caller]
fn runs(text: &str, command: &str) {
    let all = commands(text);
    assert!(all.iter().any(|run| run == command), "{text:?} runs {all:#?}");
}

#[track_caller]
fn never_runs(text: &str, program: &str) {
    let all = commands(text);
    assert!(!all.iter().any(|run| run.split(' ').next() == Some(program)), "{text:?} runs {all:#?}");
}

#[test]
fn quoting_and_expansion_reveal_the_words() {
    for text in [
        "rm -rf /",
        "r\\m -rf /",
        "r''m -rf /",
        "\"r\"m -rf /",
        "$'rm' -rf /",
        "$'\\x72\\155' -rf $'\\57'",
        "$\"rm\" -rf /",
        "r\\\nm -rf /",
        "{rm,-rf,/}",
        "rm${IFS:0:1}-rf${IFS:0:1}/",
        "r${x}m -rf /",
        "r``m -rf /",
        "r$()m -rf /",
        "r$!m -rf /",
        "a=rm b=-rf c=/; $a $b $c",
        "a=xrmx; ${a//x/} -rf /",
        "a=rmfoo; ${a%foo} -rf /",
        "a=foorm; ${a#foo} -rf /",
        "k=a; a=rm; ${!k} -rf /",
        "a+=rm; $a -rf /",
        "a=RM; ${a,,} -rf /",
        "a=rm; ${a@E} -rf /",
        "r=rm; declare -n q=r; $q -rf /",
        "printf -v c rm; $c -rf /",
        "for c in rm; do $c -rf /; done",
        "declare -a z=(rm -rf /); eval \"${z[*]}\"",
        "IFS=: read -ra c <<< 'rm:-rf:/'; \"${c[@]}\"",
        "IFS=,; c=rm,-rf,/; $c",
        "set -- rm -rf /; \"$@\"",
        "set -- x rm -rf /; shift; $@",
        "$(echo rm) -rf /",
        "$(printf '\\162\\155') -rf /",
        "`echo rm -rf /`",
        "eval 'rm -rf /'",
        "eval \"$(echo cm0gLXJmIC8= | base64 -d)\"",
        "f() { \"$@\"; }; f rm -rf /",
        "f() { local t=$1; rm -rf \"$t\"; }; f /",
        "x=${y:-rm}; $x -rf /",
        "x=(a rm); ${x[1]} -rf /",
        "trap 'rm -rf /' EXIT",
        "if false; then c=rm; else c=ls; fi; $c -rf /",
        "case $z in a) c=rm;; *) c=ls;; esac; $c -rf /",
        "c=ls; while read l; do c=rm; done; $c -rf /",
        "while read -r c; do $c -rf /; done <<< rm",
        "x='$(rm -rf /)'; echo ${x@P}",
        "x='a[$(rm -rf /)]'; echo $((x))",
        "[ -v 'a[$(rm -rf /)]' ]",
        "[[ -v 'a[$(rm -rf /)]' ]]",
        "let 'a[$(rm -rf /)]=1'",
        "read 'a[$(rm -rf /)]' <<< x",
        "a[$(rm -rf /)]=1",
        "unset 'a[$(rm -rf /)]'",
        "printf -v 'a[$(rm -rf /)]' x",
        "PS4='$(rm -rf /)'; set -x; :",
        "compgen -C 'rm -rf /' x",
        "mapfile -C 'rm -rf /' -c 1 x",
        ": ${x:-$(rm -rf /)}",
        ": \"${x:-`rm -rf /`}\"",
        "cat <<EOF\n$(rm -rf /)\nEOF",
        "cat <<< $(rm -rf /)",
        "echo hi > >(rm -rf /)",
        "cat <(rm -rf /)",
        "(( $(rm -rf /; echo 1) ))",
        "echo $(( $(rm -rf /; echo 1) + 1 ))",
        "f() { rm -rf /; }",
        "coproc rm -rf /",
        "select x in a; do rm -rf /; break; done <<< 1",
        "shopt -s expand_aliases\nalias x=rm\nx -rf /",
        ". /dev/stdin <<< 'rm -rf /'",
        "printf 'rm -rf /' > /tmp/x && . /tmp/x",
        "source <(echo rm -rf /)",
        "echo / > /tmp/l; rm -rf $(cat /tmp/l)",
        "rm -rf $(pwd | cut -c1)",
        "rm -rf ${SHELL:0:1}",
        "rm -rf $(realpath /tmp/..)",
        "x=$((1-1)); set -- rm; $1 -rf /",
        "rm -rf ~user/../..$x/ ; rm -rf /",
        "declare rm=rm; $rm -rf /",
        "export T=/; rm -rf $T",
        "arr[0]=rm; $arr -rf /",
        "! rm -rf /",
        "time rm -rf /",
    ] {
        runs(text, "rm -rf /");
    }
    runs("rm -rf /{bin,usr/{a,b}}", "rm -rf /bin /usr/a /usr/b");
    runs("rm {a..c}{1..2}", "rm a1 a2 b1 b2 c1 c2");
    runs("rm -rf ${PWD//[!\\/]/}", "rm -rf ///");
    runs("rm -rf ~", "rm -rf /home/user");
    runs("rm -rf ~root/x", "rm -rf /root/x");
    runs("p=; rm -rf \"$p\"/*", "rm -rf /*");
    runs("kill -9 -$((0+1))", "kill -9 -1");
    runs("m=mkfs; $m.ext4 /dev/sda", "mkfs.ext4 /dev/sda");
    runs("echo \"${x:-rm -rf /}\"", "echo rm -rf /");
}

#[test]
fn data_stays_data() {
    for text in [
        "echo 'rm -rf /'",
        "cat <<'EOF'\n$(rm -rf /)\nEOF",
        "cat <<EOF\n\\$(rm -rf /)\nEOF",
        "# rm -rf /\nls",
        "f() { echo \"$1\"; }; f 'rm -rf /'",
        "x='$(rm -rf /)'; echo \"$x\"",
        "echo \"\\`rm -rf /\\`\"",
        "a=rm; echo $a",
        "echo '$(rm -rf /)' | cat",
    ] {
        never_runs(text, "rm");
    }
}

#[test]
fn pipelines_of_constants_are_known() {
    let stdin = |text: &str| evaluation(text).invocations.last().map(|invocation| invocation.stdin.clone());
    for text in [
        "echo cm0gLXJmIC8K | base64 -d | sh",
        "echo '/ fr- mr' | rev | sh",
        "echo 'ez -es /' | tr 'a-z' 'n-za-m' | sh",
        "sed 's/x/m/' <<< 'rx -rf /' | sh",
        "echo rm -rf / | cat | tee /dev/null | sh",
        "{ echo rm -rf /; } | sh",
        "sh <<< 'rm -rf /'",
        "cat <<X | sh\nrm -rf /\nX",
        "sh <<'E'\nrm -rf /\nE",
        "sh < <(echo rm -rf /)",
        "echo 726d202d7266202f0a | xxd -r -p | sh",
        "printf '%s\\n' 'rm -rf /' | sh",
    ] {
        assert_eq!(stdin(text), Some(Input::Known(b"rm -rf /\n".to_vec())), "{text:?}");
    }
    assert!(matches!(stdin("curl x | sh"), Some(Input::Pipe(writers)) if writers == [0]));
    assert!(matches!(stdin("{ curl x; echo a; } | sh"), Some(Input::Pipe(writers)) if writers.len() == 2));
    assert!(matches!(stdin("(false && echo '#'; echo rm) | sh"), Some(Input::Pipe(_))));
    assert!(matches!(stdin("sh < x"), Some(Input::File(_))));
}

#[test]
fn fork_bombs_are_found_under_any_name() {
    for text in [
        ":(){ :|:& };:",
        ":() { : | : & } ; :",
        "f(){ f|f& }; f",
        ".(){ .|.& };.",
        "f(){ (f)& (f)& }; f",
        "f(){ \"${FUNCNAME[0]}\" & \"${FUNCNAME[0]}\" & }; f",
        "f(){ local x; $FUNCNAME|$FUNCNAME& }; f",
        "eval ':(){ :|:& };:'",
        "trap 'f' DEBUG; f(){ f|f& }; f",
        "x(){ x|x& }",
        "$0 & $0",
        "f(){ g; }; g(){ f & f & }; f",
        "while :; do (while :; do :; done) & done",
        "for ((;;)); do sleep 1h & done",
    ] {
        let found = evaluation(text).oddities;
        assert!(
            found.iter().any(|oddity| matches!(oddity, Oddity::SelfForking { .. })),
            "{text:?}: {found:?}"
        );
    }
    for text in [
        "f(){ for x in *; do f $x; done; }; f",
        "f(){ echo; }; f & f & wait",
        "f(){ sleep 1; }; f | f",
        "while :; do sleep 1; done",
    ] {
        let found = evaluation(text).oddities;
        assert!(
            !found.iter().any(|oddity| matches!(oddity, Oddity::SelfForking { .. })),
            "{text:?}: {found:?}"
        );
    }
}

#[test]
fn the_directory_is_followed() {
    let cwd = |text: &str| {
        evaluation(text).invocations.last().map(|invocation| invocation.cwd.to_string()).unwrap()
    };
    assert_eq!(cwd("cd / && rm -rf *"), "/");
    assert_eq!(cwd("cd /usr && rm -rf ../*"), "/usr");
    assert_eq!(cwd("cd src && ls"), "/home/user/project/src");
    assert_eq!(cwd("(cd /); ls"), "/home/user/project");
    assert_eq!(cwd("pushd /; popd; ls"), "/home/user/project");
    assert_eq!(cwd("pushd /; popd; cd $OLDPWD; ls"), "/");
    assert_eq!(cwd("cd ~; ls"), "/home/user");
}

#[test]
fn unset_variables_are_holes_that_can_be_read_as_empty() {
    let argv = evaluation("rm -rf \"$DIR\"/*").invocations.remove(0).argv;
    let target = &argv[2];
    assert!(target.has_unset() && target.has_glob());
    assert_eq!(target.with_unset_empty().to_string(), "/*");
    let argv = evaluation("d=$(mktemp -d) && rm -rf \"$d\"").invocations.pop().unwrap().argv;
    assert!(
        matches!(argv[2].pieces.as_slice(), [Piece::Unknown(unknown)] if !unknown.may_be_empty && unknown.below.is_some())
    );
    let argv = evaluation("for f in /*; do rm -rf \"$f\"; done").invocations.pop().unwrap().argv;
    assert_eq!(argv[2].pieces.as_slice(), [Piece::known(b"/"), Piece::glob(b"*")]);
}
