//! An MCP server over stdio: tools to run commands, and to go on with those that run.
//!
//! The protocol is rmcp's. Each call of a tool asks the daemon over a connection of its own, in a thread that may wait, so
//! that a slow command keeps no other call from being served. A command belongs to the connection that started it: it is
//! kept until the command has ended, and when the server ends, its commands end.

mod desk;
mod stdio;
mod tools;

use std::borrow::Cow;
use std::sync::Arc;

use rmcp::handler::server::tool::{schema_for_input, schema_for_output};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, Implementation,
    JsonObject, ListToolsResult, PaginatedRequestParams, ProgressNotificationParam, ServerCapabilities,
    ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler, ServiceExt as _};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

pub use self::desk::Options;
use self::desk::{Call, Desk, Failure};
use self::tools::{Answer, Check, Checked, Going, Kill, List, Listed, Open, Opened, Read, Run, Write};

/// Why the server ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum McpError {
    /// Something of the system.
    #[error("cannot start the event loop: {0}")]
    System(std::io::Error),
    /// The client did not speak the protocol.
    #[error("the MCP client: {0}")]
    Protocol(String),
}

/// Serves the client on standard input and output until it goes away.
///
/// # Errors
/// When the client cannot be served at all.
pub fn serve(options: Options) -> Result<(), McpError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(McpError::System)?;
    let served = runtime.block_on(async {
        let server = Server { desk: Arc::new(Desk::new(options)) };
        let running = server
            .serve(stdio::Stdio::new(tokio::io::stdin(), tokio::io::stdout()))
            .await
            .map_err(|error| McpError::Protocol(error.to_string()))?;
        running.waiting().await.map(drop).map_err(|error| McpError::Protocol(error.to_string()))
    });
    // A thread may still be reading standard input: nothing ends that but the process.
    runtime.shutdown_background();
    served
}

#[derive(Debug, Clone)]
struct Server {
    desk: Arc<Desk>,
}

const INSTRUCTIONS: &str = "Commands run in execward's sandbox, in the workspace of the session, and are judged first. A \
    refusal says why and often how to do it lawfully: do that, and do not try another spelling. A command that is `waiting` \
    needs a person's yes: tell the user, and use `read` with its id to see what became of it.";

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("execward", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(all()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        all().into_iter().find(|tool| tool.name == name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let (said, mut progress) = mpsc::unbounded_channel();
        let call = Call { cancelled: context.ct.clone(), said };
        let desk = Arc::clone(&self.desk);
        let CallToolRequestParams { name, arguments, .. } = request;
        let mut work = tokio::task::spawn_blocking(move || dispatch(&desk, &call, &name, arguments));
        let token = context.meta.get_progress_token();
        let mut count = 0.0;
        loop {
            tokio::select! {
                biased;
                Some(message) = progress.recv() => {
                    let Some(token) = token.clone() else { continue };
                    count += 1.0;
                    let told = ProgressNotificationParam::new(token, count).with_message(message);
                    // One that cannot be delivered is not missed; the reply would not be, either.
                    let _ = context.peer.notify_progress(told).await;
                }
                done = &mut work => {
                    return done.unwrap_or_else(|_| Err(ErrorData::internal_error("the call failed", None))).map(Into::into);
                }
            }
        }
    }
}

/// Does what a call asks for.
fn dispatch(
    desk: &Desk,
    call: &Call,
    name: &str,
    arguments: Option<JsonObject>,
) -> Result<CallToolResult, ErrorData> {
    let arguments = serde_json::Value::Object(arguments.unwrap_or_default());
    match name {
        "run" => answer(desk.run(call, read::<Run>(arguments)?)),
        "read" => answer(desk.read(call, read::<Read>(arguments)?)),
        "write" => answer(desk.write(read::<Write>(arguments)?)),
        "list" => answer(desk.list(read::<List>(arguments)?)),
        "kill" => answer(desk.kill(read::<Kill>(arguments)?)),
        "check" => answer(desk.check(read::<Check>(arguments)?)),
        "open_session" => answer(desk.open(read::<Open>(arguments)?)),
        _ => Err(ErrorData::invalid_params(format!("there is no tool `{name}`"), None)),
    }
}

fn read<T: DeserializeOwned>(arguments: serde_json::Value) -> Result<T, ErrorData> {
    serde_json::from_value(arguments).map_err(|error| ErrorData::invalid_params(error.to_string(), None))
}

/// What the daemon said, as a result: structured, and the same as text for clients that do not read that. A refusal is an
/// error of the tool, which models are shown, and not one of the protocol, which they are not.
fn answer<T: Answer>(said: Result<T, Failure>) -> Result<CallToolResult, ErrorData> {
    let inexpressible = |error: serde_json::Error| ErrorData::internal_error(error.to_string(), None);
    Ok(match said {
        Ok(value) => {
            let failed = value.is_failure();
            let value = serde_json::to_value(value).map_err(inexpressible)?;
            if failed { CallToolResult::structured_error(value) } else { CallToolResult::structured(value) }
        }
        // Without structured content: the schema of a tool's result speaks of results.
        Err(failure) => CallToolResult::error(vec![ContentBlock::text(
            serde_json::to_string(&failure).map_err(inexpressible)?,
        )]),
    })
}

/// The tools. What each one may do is said to clients that ask their users by it; nothing here relies on that.
fn all() -> Vec<Tool> {
    let looks = || ToolAnnotations::new().read_only(true).idempotent(true).open_world(false);
    let acts =
        || ToolAnnotations::new().read_only(false).destructive(true).idempotent(false).open_world(true);
    vec![
        tool::<Run, Going>("run", "Run a command", RUN, acts()),
        tool::<Read, Going>("read", "Read a command's output", READ, looks().idempotent(false)),
        tool::<Write, tools::Written>("write", "Write to a command", WRITE, acts()),
        tool::<List, Listed>("list", "List commands", "Lists the commands of a session.", looks()),
        tool::<Kill, tools::Killed>("kill", "End a command", KILL, acts().open_world(false)),
        tool::<Check, Checked>("check", "Check a command", CHECK, looks()),
        tool::<Open, Opened>("open_session", "Open a session", OPEN, acts().destructive(false)),
    ]
}

const RUN: &str = "Runs a command in the sandbox and waits up to `wait_seconds` for it. One that still runs then goes on: \
    `read` has the rest. One that needs a person's yes comes back as `waiting` with how they can answer; it has not run.";
const READ: &str = "Reads what a command wrote since it was last read, and says how far it has come.";
const WRITE: &str = "Writes to the standard input of a command that was started with `stdin`.";
const KILL: &str =
    "Ends a command with everything that it started, or takes one back that waits for a person.";
const CHECK: &str = "Says what would be decided about a command, and why. Nothing is run.";
const OPEN: &str =
    "Opens a session in another directory or under another profile. Without one, `run` uses the server's.";

fn tool<I: JsonSchema + 'static, O: JsonSchema + Serialize + 'static>(
    name: &'static str,
    title: &'static str,
    description: &'static str,
    annotations: ToolAnnotations,
) -> Tool {
    // A schema that is no object is a mistake in this file, which the tests of this module find.
    let input = schema_for_input::<I>().unwrap_or_default();
    Tool::new(name, Cow::Borrowed(description), input)
        .with_title(title)
        .with_raw_output_schema(schema_for_output::<O>())
        .with_annotations(annotations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_schemas_of_objects_and_says_what_it_may_do() {
        for tool in all() {
            assert_eq!(tool.input_schema.get("type"), Some(&"object".into()), "{}", tool.name);
            assert_eq!(tool.input_schema.get("additionalProperties"), Some(&false.into()), "{}", tool.name);
            let output = tool.output_schema.expect("there is one");
            assert_eq!(output.get("type"), Some(&"object".into()), "{}", tool.name);
            let annotations = tool.annotations.expect("there are some");
            assert!(annotations.read_only_hint.is_some() && annotations.open_world_hint.is_some());
        }
    }
}
