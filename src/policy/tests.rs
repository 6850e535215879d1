use super::*;

#[test]
fn the_shipped_policy_loads() {
    if let Err(error) = Policy::parse(BUILTIN, "policies/default.toml") {
        panic!("{error}");
    }
}

#[test]
fn an_unknown_key_is_shown_with_a_hint() {
    let error =
        Policy::parse("[[rule]]\nid = \"x\"\ndecison = \"ask\"\nreason = \"r\"\n", "p.toml").unwrap_err();
    let shown = error.to_string();
    assert!(shown.contains("p.toml:3:1"), "{shown}");
    assert!(shown.contains("^^^^^^^"), "{shown}");
    assert!(shown.contains("did you mean `decision`?"), "{shown}");
    assert_eq!(error.place(), Some((3, 1)));
}
