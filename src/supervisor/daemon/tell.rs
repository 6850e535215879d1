//! Telling somebody by a command that an operator has configured.
//!
//! It runs in a session of whoever runs the daemon, through the same pipeline as any command: judged, recorded, confined. It
//! gets what it is told on standard input, and says with its exit status whether it took it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::House;
use crate::gate::Command;
use crate::supervisor::session::{Peer, Session, Unattended};
use crate::wire::rpc::{self, Bounded, Error, OpenSession, Outcome, StartExec};

/// How long it may take.
const LONGEST: Duration = Duration::from_secs(60);

/// A command that tells somebody.
#[derive(Debug)]
pub(super) struct Teller<'a> {
    pub(super) argv: &'a [String],
    /// The directory that it may change.
    pub(super) directory: &'a Path,
    /// The profile of the policy that it runs under.
    pub(super) profile: Option<&'a str>,
    /// What its session is for.
    pub(super) label: &'a str,
    /// What is said where the policy asks about it.
    pub(super) why: &'a str,
}

impl Teller<'_> {
    /// Runs it.
    ///
    /// # Errors
    /// A sentence: it could not be run, or did not end with 0.
    pub(super) async fn tell(&self, house: &Arc<House>, text: Vec<u8>) -> Result<(), String> {
        let uid = house.own;
        let peer = Peer {
            uid,
            gid: nix::unistd::getegid().as_raw(),
            pid: std::process::id().cast_signed(),
            root: Peer::own_root(),
            name: house.principals.name(uid),
            account: house.common.accounts.of_jobs(uid),
            separation: rpc::Separation::None,
            roles: Vec::new(),
            admitted: house.closing.child_token(),
        };
        let (open, start) = self.asked()?;
        let session = Session::open(&house.common, &peer, open, false).await.map_err(said)?;
        session.leave_alone(Unattended { why: self.why.to_owned(), agreed: None });
        let joined = session.join();
        house.keep(&session);
        let told = async {
            let started = session.start(&peer, 0, &start, Vec::new()).map_err(said)?;
            let exec = session.execs().pop().ok_or("it was not begun")?;
            exec.feed(text, true).map(drop).map_err(said)?;
            started.await.map_err(said)?;
            match &exec.report().await.outcome {
                Outcome::Exited { code: 0 } => Ok(()),
                outcome => Err(serde_json::to_value(outcome).unwrap_or(Value::Null).to_string()),
            }
        };
        let told = told.await;
        drop(joined);
        house.close(&session).await;
        told
    }

    fn asked(&self) -> Result<(OpenSession, StartExec), String> {
        let directory = self.directory.to_str().ok_or("its directory is not UTF-8")?.to_owned();
        let words = |text: &str| rpc::Words::try_from(text.to_owned()).map_err(|error| error.to_string());
        let open = OpenSession {
            workspace: rpc::PathText::try_from(directory).map_err(|error| error.to_string())?,
            profile: self.profile.map(words).transpose()?,
            backend: None,
            image: None,
            launcher: None,
            network: None,
            limits: None,
            label: Some(words(self.label)?),
            linger_ms: Bounded::MIN,
        };
        let start = StartExec {
            session: None,
            id: rpc::ExecId::try_from("tell".to_owned()).map_err(|error| error.to_string())?,
            command: Command::Argv(self.argv.to_vec()),
            cwd: None,
            env: BTreeMap::new(),
            timeout_ms: Some(Bounded::clamped(u64::try_from(LONGEST.as_millis()).unwrap_or(u64::MAX))),
            background: false,
            persist: false,
            pty: None,
            stdin: rpc::Stdin::Pipe,
            output: rpc::Output::default(),
            fds: Vec::new(),
        };
        Ok((open, start))
    }
}

/// An error in a sentence.
pub(super) fn said(error: Error) -> String {
    match error.data.hint.as_str() {
        "" => error.message,
        hint => format!("{} ({hint})", error.message),
    }
}
