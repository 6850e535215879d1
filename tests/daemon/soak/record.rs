//! The log against what clients were told.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::super::*;
use super::clients::Came;

pub(super) fn records(daemon: &Daemon) -> Vec<Value> {
    let mut all = Vec::new();
    for entry in fs::read_dir(daemon.path().join("state/audit")).unwrap().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "jsonl") {
            let text = fs::read_to_string(entry.path()).unwrap();
            all.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
    }
    all
}

/// All texts in a value.
fn texts<'a>(value: &'a Value, into: &mut HashSet<&'a str>) {
    match value {
        Value::String(text) => drop(into.insert(text)),
        Value::Array(all) => all.iter().for_each(|value| texts(value, into)),
        Value::Object(all) => all.values().for_each(|value| texts(value, into)),
        _ => {}
    }
}

/// Everything that a client was told is in the log as it was told, and every command that was let go has one end.
pub(super) fn account(daemon: &Daemon, came: &[Came]) -> usize {
    let all = records(daemon);
    let (mut ends, mut by_decision) = (HashMap::<&str, &Value>::new(), HashMap::<u64, u32>::new());
    let (mut let_go, mut said, mut last) = (Vec::new(), HashSet::new(), HashMap::<&str, u64>::new());
    for record in &all {
        texts(&record["body"], &mut said);
        if let ("decision", Some(id)) = (record["kind"].as_str().unwrap(), record["body"]["id"].as_str()) {
            last.insert(id, record["seq"].as_u64().unwrap());
        }
        match record["kind"].as_str() {
            Some("end") => {
                *by_decision.entry(record["body"]["decision"].as_u64().unwrap()).or_default() += 1;
                if let Some(before) = ends.insert(record["body"]["id"].as_str().unwrap(), record) {
                    panic!("two ends: {before}\n{record}");
                }
            }
            Some("decision") if record["body"]["outcome"] == "run" => let_go.push(record),
            _ => {}
        }
    }
    for told in came.iter().flat_map(|came| &came.told) {
        // A refusal stands, whether there is room for it or not; what runs is recorded.
        let recorded = said.contains(told.request.as_str()) || (told.full && !told.ran);
        assert!(recorded, "{} is not recorded", told.request);
        if told.ran {
            let end = ends.get(told.request.as_str());
            let end = end.unwrap_or_else(|| panic!("{} has no end", told.request));
            if let Some(code) = told.code {
                assert!(end["body"]["end"].to_string().contains(&code.to_string()), "told {code}: {end}");
            }
        }
    }
    let told: HashSet<&str> =
        came.iter().flat_map(|came| &came.told).map(|told| told.request.as_str()).collect();
    let mut never = 0;
    for record in let_go {
        // A job ends with its daemon: where that was killed, the run is known as such, and nobody saw the command's end.
        let of_job = record["body"]["facts"]["cwd"]
            .as_str()
            .is_some_and(|cwd| cwd.ends_with(&format!("/jobs-{}", me())));
        let seq = record["seq"].as_u64().unwrap();
        let ends = by_decision.get(&seq).copied().unwrap_or(0);
        // Its daemon was killed between the record and the moment in which it would have let the command go: it is judged again, or
        // it has never run, and nobody was told that it did.
        let id = record["body"]["id"].as_str().unwrap();
        if ends == 0 && !of_job && last[id] == seq && !told.contains(id) {
            never += 1;
            continue;
        }
        assert!(
            ends == u32::from(last[id] == seq) || (of_job && ends == 0),
            "{ends} ends of {record}\n{}",
            daemon.log()
        );
    }
    never
}
