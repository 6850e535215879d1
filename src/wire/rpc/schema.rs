//! The schema of the protocol, made from its types: JSON Schema 2020-12, one document for each socket.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{AgentCall, Code, Error, Event, Id, OperatorCall, PROTOCOL};

/// Which socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    /// agent.sock.
    Agent,
    /// operator.sock.
    Operator,
}

impl Socket {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Operator => "operator",
        }
    }
}

/// The schema of one socket: under `methods` for each its `params` and `result`, under `notifications` the `params` of
/// each, the ids, the errors, and the table of codes. `docs/schema/` holds what this gives.
pub fn schema(socket: Socket) -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let methods = match socket {
        Socket::Agent => AgentCall::schemas(&mut generator),
        Socket::Operator => OperatorCall::schemas(&mut generator),
    };
    let methods: Map<String, Value> = methods
        .into_iter()
        .map(|(name, params, result)| (name.to_owned(), json!({ "params": params, "result": result })))
        .collect();
    let notifications = notifications(socket, &mut generator);
    let id = generator.subschema_for::<Id>();
    let error = generator.subschema_for::<Error>();
    let codes: Map<String, Value> =
        Code::ALL.iter().map(|code| (code.name().to_owned(), code.number().into())).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("execward {}.sock", socket.name()),
        "description": "JSON-RPC 2.0, one object per line. Parameters with a field that is not here are refused; \
                        results and notifications may have more fields than are here.",
        "protocol": PROTOCOL,
        "id": id,
        "error": error,
        "codes": codes,
        "methods": methods,
        "notifications": notifications,
        "$defs": generator.take_definitions(true),
    })
}

fn notifications(socket: Socket, generator: &mut SchemaGenerator) -> Map<String, Value> {
    let here = |name: &str| name.starts_with("exec/") == (socket == Socket::Agent);
    Event::schemas(generator)
        .into_iter()
        .filter(|(name, _)| here(name))
        .map(|(name, params)| (name.to_owned(), json!({ "params": params })))
        .collect()
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::expect_used, reason = "a test that cannot go on says where")]
mod tests {
    use super::*;

    /// After a change that is meant: `execward protocol schema agent > docs/schema/agent.json`, and the same for operator.
    #[test]
    fn the_committed_schema_is_current() {
        let committed = [
            (Socket::Agent, include_str!("../../../docs/schema/agent.json")),
            (Socket::Operator, include_str!("../../../docs/schema/operator.json")),
        ];
        for (socket, text) in committed {
            assert_eq!(format!("{:#}\n", schema(socket)), text, "docs/schema/{}.json", socket.name());
        }
    }

    #[test]
    fn every_reference_has_its_definition() {
        for socket in [Socket::Agent, Socket::Operator] {
            let schema = schema(socket);
            let text = schema.to_string();
            let defs = schema["$defs"].as_object().unwrap();
            let mut references = 0;
            for part in text.split("\"$ref\":\"#/$defs/").skip(1) {
                let name = part.split('"').next().unwrap();
                assert!(defs.contains_key(name), "{name}");
                references += 1;
            }
            assert!(references > 20, "{references}");
        }
    }

    #[test]
    fn parameters_are_closed_and_results_are_open() {
        let schema = schema(Socket::Agent);
        let resolve = |value: &Value| {
            let name = value["$ref"].as_str().unwrap().trim_start_matches("#/$defs/").to_owned();
            schema["$defs"][name.as_str()].clone()
        };
        for (name, method) in schema["methods"].as_object().unwrap() {
            let params = resolve(&method["params"]);
            assert_eq!(params["additionalProperties"], false, "{name}");
            let result = resolve(&method["result"]);
            assert_eq!(result.get("additionalProperties"), None, "{name}");
        }
    }
}
