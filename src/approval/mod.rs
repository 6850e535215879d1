//! Asking a person: the question as it is shown, and the answer as it becomes a grant.
//!
//! A person is asked at one of two places. Without a daemon it is the terminal that execward was started from: the question
//! goes there and nowhere else, never to stdout or stdin, which belong to the command and to whoever reads it, and before
//! the command has been started, so that nothing which the command prints can pass for it. With a daemon it is a queue that
//! operators look at ([`Broker`]). No terminal, no answer in time, or any answer but a clear yes is a no.
//!
//! Not everything that asks needs a person each time: a standing grant may cover it ([`Grants`]), or an operator has set a
//! mode ([`Modes`]). All of them answer only what the policy asks about; what is refused never gets here.
//!
//! Where agent and operator share a uid, nothing in user space keeps an agent from answering for itself: reports say
//! `separation: none`, and no grant is given that outlives its session.

mod assessor;
mod broker;
mod grants;
mod modes;
mod prompt;
mod shape;
mod shown;
mod tty;

pub use assessor::{Assessment, Budget, Verdict, assess};
pub use broker::{About, Broker, Event, NotAnswered, Taken};
pub use grants::{GrantError, Grants, Situation, described, would_have_covered};
pub use modes::{Modes, Set};
pub use prompt::{marked, prompt};
pub use shape::{excluded, run_files};
pub use tty::{Answer, NoPerson, Terminal};
