//! The table of methods: for each its name, its parameters and its result. Everything else is made from it.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::*;

/// A request's parameters, which know their method and what the reply to it holds.
pub trait Method: Serialize {
    /// As JSON-RPC names it.
    const NAME: &'static str;
    /// What the reply holds.
    type Result: Serialize + DeserializeOwned;
}

/// Makes the requests of one socket.
macro_rules! calls {
    ($(#[$doc:meta])* $call:ident { $($name:literal $variant:ident ( $params:ty ) -> $result:ty;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $call {
            $(#[doc = concat!("`", $name, "`.")] $variant($params),)*
        }

        impl $call {
            /// The names of all methods of this socket.
            pub const METHODS: &'static [&'static str] = &[$($name,)*];

            /// Reads what a request asks for.
            ///
            /// # Errors
            /// When there is no such method here, or its parameters do not fit.
            pub fn read(request: &Request) -> Result<Self, Error> {
                match request.method.as_str() {
                    $($name => request.parameters().map(Self::$variant),)*
                    _ => Err(Error::new(Code::UnknownMethod, "this socket has no such method")
                        .hint(format!("it has {}", Self::METHODS.join(", ")))),
                }
            }

            /// Its method.
            pub const fn method(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)* }
            }

            /// The schemas of each method's parameters and result.
            pub(in crate::wire) fn schemas(
                generator: &mut schemars::SchemaGenerator,
            ) -> Vec<(&'static str, schemars::Schema, schemars::Schema)> {
                vec![$((
                    $name,
                    generator.subschema_for::<$params>(),
                    generator.subschema_for::<$result>(),
                ),)*]
            }
        }
    };
}

calls! {
    /// What an agent may ask, on agent.sock.
    AgentCall {
        "hello" Hello(Hello) -> Welcome;
        "session/open" SessionOpen(OpenSession) -> SessionOpened;
        "session/close" SessionClose(OfSession) -> Done;
        "session/list" SessionList(Nothing) -> Sessions;
        "session/get" SessionGet(OfSession) -> Session;
        "exec/start" ExecStart(StartExec) -> Started;
        "exec/read" ExecRead(ReadExec) -> Read;
        "exec/range" ExecRange(RangeExec) -> Range;
        "exec/write" ExecWrite(WriteExec) -> Written;
        "exec/signal" ExecSignal(SignalExec) -> Done;
        "exec/resize" ExecResize(ResizeExec) -> Done;
        "exec/wait" ExecWait(WaitExec) -> Waited;
        "exec/kill" ExecKill(OfExec) -> Done;
        "exec/list" ExecList(OfSession) -> Execs;
        "gate/check" GateCheck(Check) -> Checked;
        "scan/path" ScanPath(ScanPath) -> Scanned;
    }
}

calls! {
    /// What an operator may ask, on operator.sock.
    OperatorCall {
        "hello" Hello(Hello) -> Welcome;
        "approval/list" ApprovalList(Nothing) -> Approvals;
        "approval/watch" ApprovalWatch(Nothing) -> Approvals;
        "approval/preview" ApprovalPreview(PreviewApproval) -> Preview;
        "approval/answer" ApprovalAnswer(AnswerApproval) -> Done;
        "grant/list" GrantList(ListGrants) -> Grants;
        "grant/show" GrantShow(OfGrant) -> Grant;
        "grant/revoke" GrantRevoke(OfGrant) -> Done;
        "principal/list" PrincipalList(Nothing) -> Known;
        "principal/pair" PrincipalPair(PairPrincipal) -> Paired;
        "principal/revoke" PrincipalRevoke(RevokePrincipal) -> Done;
        "principal/mode" PrincipalMode(SetPrincipalMode) -> Done;
        "session/list" SessionList(Nothing) -> Sessions;
        "session/mode" SessionMode(SetSessionMode) -> Done;
        "session/kill" SessionKill(KillSession) -> Done;
        "exec/list" ExecList(OfSession) -> Execs;
        "model/list" ModelList(Nothing) -> Models;
        "model/test" ModelTest(TestModel) -> ModelTested;
        "policy/reload" PolicyReload(Nothing) -> Policy;
        "policy/show" PolicyShow(Nothing) -> Policy;
        "job/list" JobList(Nothing) -> Jobs;
        "job/show" JobShow(OfJob) -> ShownJob;
        "job/history" JobHistory(JobHistory) -> JobRuns;
        "job/run" JobRun(OfJob) -> AskedRun;
        "job/switch" JobSwitch(SwitchJob) -> Done;
        "job/test" JobTest(OfJob) -> TestedJob;
        "job/letters" JobLetters(ListLetters) -> JobLetters;
        "job/settle" JobSettle(SettleLetter) -> Done;
        "audit/tail" AuditTail(TailAudit) -> Records;
        "status/show" StatusShow(Nothing) -> Status;
        "event/watch" EventWatch(Nothing) -> Done;
    }
}

/// Says what a type of parameters is for, where only one method takes it.
macro_rules! methods {
    ($($params:ty => $name:literal -> $result:ty;)*) => {
        $(impl Method for $params {
            const NAME: &'static str = $name;
            type Result = $result;
        })*
    };
}

methods! {
    Hello => "hello" -> Welcome;
    OpenSession => "session/open" -> SessionOpened;
    StartExec => "exec/start" -> Started;
    ReadExec => "exec/read" -> Read;
    WriteExec => "exec/write" -> Written;
    SignalExec => "exec/signal" -> Done;
    ResizeExec => "exec/resize" -> Done;
    WaitExec => "exec/wait" -> Waited;
    OfExec => "exec/kill" -> Done;
    Check => "gate/check" -> Checked;
    ScanPath => "scan/path" -> Scanned;
    PreviewApproval => "approval/preview" -> Preview;
    AnswerApproval => "approval/answer" -> Done;
    ListGrants => "grant/list" -> Grants;
    PairPrincipal => "principal/pair" -> Paired;
    RevokePrincipal => "principal/revoke" -> Done;
    SetPrincipalMode => "principal/mode" -> Done;
    SetSessionMode => "session/mode" -> Done;
    KillSession => "session/kill" -> Done;
    TestModel => "model/test" -> ModelTested;
    JobHistory => "job/history" -> JobRuns;
    SwitchJob => "job/switch" -> Done;
    ListLetters => "job/letters" -> JobLetters;
    SettleLetter => "job/settle" -> Done;
    TailAudit => "audit/tail" -> Records;
}

/// Makes the notifications.
macro_rules! events {
    ($($name:literal $variant:ident ( $params:ty );)*) => {
        /// What the server says unasked.
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub enum Event {
            $(#[doc = concat!("`", $name, "`.")] $variant($params),)*
            /// One that this version does not know; only a client meets it.
            Other(String),
        }

        impl Event {
            /// Reads a notification.
            ///
            /// # Errors
            /// When its parameters do not fit.
            pub fn read(notification: &Notification) -> Result<Self, serde_json::Error> {
                let params: &RawValue = &notification.params;
                match notification.method.as_str() {
                    $($name => serde_json::from_str(params.get()).map(Self::$variant),)*
                    other => Ok(Self::Other(other.to_owned())),
                }
            }

            /// Appends the line, its end included.
            pub fn encode(&self, out: &mut Vec<u8>) {
                let notification = match self {
                    $(Self::$variant(params) => Notification::new($name, params),)*
                    Self::Other(_) => return,
                };
                if let Ok(notification) = notification {
                    notification.encode(out);
                }
            }

            /// The schema of each notification's parameters.
            pub(in crate::wire) fn schemas(
                generator: &mut schemars::SchemaGenerator,
            ) -> Vec<(&'static str, schemars::Schema)> {
                vec![$(($name, generator.subschema_for::<$params>()),)*]
            }
        }
    };
}

events! {
    "exec/output" Output(OutputEvent);
    "exec/exited" Exited(ExitedEvent);
    "exec/closed" Closed(ClosedEvent);
    "approval/pending" Pending(PendingEvent);
    "approval/settled" Settled(SettledEvent);
    "audit/record" Record(RecordEvent);
    "event/happened" Happened(Happened);
}
