//! `execward pair`: who is let in by a code.

use clap::Subcommand;

use super::exit::Exit;
use super::screen::{Screen, shown};
use super::session::{At, Trouble, done, words};
use crate::wire::rpc::{Known, Nothing, PairPrincipal, RevokePrincipal, Socket};

/// Pairing.
#[derive(Debug, Subcommand)]
pub(super) enum Pair {
    /// Let somebody in: confirm the code that the agent was given
    Approve {
        #[command(flatten)]
        at: At,
        /// The code; dashes, blanks and case do not count
        code: String,
    },
    /// List who may connect, and who waits to
    List {
        #[command(flatten)]
        at: At,
    },
    /// Put somebody out who was let in by a code: connections and sessions end at once
    Revoke {
        #[command(flatten)]
        at: At,
        /// User id
        uid: u32,
    },
}

pub(super) fn pair(arguments: Pair, screen: Screen) -> Exit {
    done(do_pair(arguments, screen), screen)
}

fn do_pair(arguments: Pair, screen: Screen) -> Result<Exit, Trouble> {
    match arguments {
        Pair::Approve { at, code } => {
            let paired = at.connect(Socket::Operator)?.call(&PairPrincipal { code: words(code)? })?;
            let text = format!("{} (uid {}) may connect as an agent\n", shown(&paired.name), paired.uid);
            Ok(at.say(&paired, |_| text, screen))
        }
        Pair::List { at } => {
            let known: Known = at.connect(Socket::Operator)?.ask("principal/list", &Nothing {})?;
            Ok(at.say(&known, lines, screen))
        }
        Pair::Revoke { at, uid } => {
            let revoked = at.connect(Socket::Operator)?.call(&RevokePrincipal { uid })?;
            Ok(at.say(&revoked, |_| String::new(), screen))
        }
    }
}

fn lines(known: &Known) -> String {
    let mut out = String::new();
    for principal in &known.principals {
        let id = match (principal.uid, principal.gid) {
            (Some(uid), _) => format!("uid {uid}"),
            (None, Some(gid)) => format!("gid {gid}"),
            (None, None) => String::new(),
        };
        let (name, roles, by) = (shown(&principal.name), principal.roles.join(","), shown(&principal.by));
        out.push_str(&format!("{name}  {id}  {roles}  {}  by {by}\n", principal.mode.name()));
    }
    for waiting in &known.pending {
        let (name, expires) = (shown(&waiting.name), shown(&waiting.expires));
        out.push_str(&format!(
            "{name}  uid {}  waits for its code to be confirmed, until {expires}\n",
            waiting.uid
        ));
    }
    out
}
