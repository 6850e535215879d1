//! The variables that a caller sends with a command.

use std::collections::BTreeMap;

use crate::wire::rpc::{VarName, VarValue};

/// Variables that say how to talk to the caller; the policy decides about them as about any others.
const USUAL: [&str; 8] = ["COLORTERM", "LANG", "LANGUAGE", "NO_COLOR", "PATH", "TERM", "TERM_PROGRAM", "TZ"];

/// The usual ones of the caller's own environment, and those that are named.
///
/// # Errors
/// A sentence: one that is named cannot be sent.
pub fn variables(named: &[String]) -> Result<BTreeMap<VarName, VarValue>, String> {
    let usual = |name: &str| USUAL.contains(&name) || name.starts_with("LC_");
    let mut env = BTreeMap::new();
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        let named = named.contains(&name);
        if !named && !usual(&name) {
            continue;
        }
        let value = value.into_string().map_err(|_| "it is not UTF-8".to_owned());
        let value = value.and_then(|value| VarValue::try_from(value).map_err(|error| error.to_string()));
        match (VarName::try_from(name.clone()), value) {
            (Ok(name), Ok(value)) => {
                env.insert(name, value);
            }
            (_, Err(error)) if named => return Err(format!("the variable {name}: {error}")),
            (Err(error), _) if named => return Err(format!("the variable {name}: {error}")),
            _ => {}
        }
    }
    Ok(env)
}
