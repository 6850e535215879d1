//! Asking a person: the question as it is shown, and the answer as it becomes a grant.
//!
//! This first version knows one place where a person can be: the terminal that execward was started from. The question
//! goes there and nowhere else, never to stdout or stdin, which belong to the command and to whoever reads it. It is
//! asked before the command has been started, so that nothing which the command prints can pass for it. No terminal,
//! no answer in time, or any answer but a clear yes is a no.
//!
//! Where agent and operator share a uid, nothing in user space keeps an agent with a terminal of its own from
//! answering: reports say `separation: none`.

mod broker;
mod prompt;
mod tty;

pub use broker::{About, Broker, Event, NotAnswered};
pub use prompt::{marked, prompt};
pub use tty::{Answer, NoPerson, Terminal};
