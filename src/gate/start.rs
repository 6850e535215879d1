//! What the requests of one session start from, kept from one to the next: it is the same for nearly all of them, and a
//! machine has dozens of homes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::Facts;
use super::classify::Ground;
use super::place::{Base, Path};
use crate::shell::Value;

/// Where a request starts.
#[derive(Debug)]
pub(super) struct Start {
    /// The paths that classes are made of.
    pub(super) ground: Arc<Ground>,
    /// The directory in which it starts.
    pub(super) cwd: Arc<Value>,
    /// How paths are resolved there, before the text makes a link.
    pub(super) base: Rc<Base>,
}

/// The facts that a start is made of, with the start.
struct Known {
    cwd: String,
    home: String,
    homes: BTreeMap<String, String>,
    workspaces: Vec<String>,
    start: Rc<Start>,
}

thread_local! {
    /// Of the request before.
    static BEFORE: RefCell<Option<Known>> = const { RefCell::new(None) };
}

impl Start {
    /// The start of these facts, which the request before may have left.
    pub(super) fn of(facts: &Facts) -> Rc<Self> {
        BEFORE.with_borrow_mut(|before| {
            let same = before.as_ref().filter(|known| {
                known.home == facts.home && known.workspaces == facts.workspaces && known.homes == facts.homes
            });
            if let Some(known) = same
                && known.cwd == facts.cwd
            {
                return Rc::clone(&known.start);
            }
            let ground = same.map(|known| Arc::clone(&known.start.ground));
            let ground = ground.unwrap_or_else(|| Arc::new(Ground::new(facts)));
            let cwd = Some(Path::literal(&facts.cwd));
            let start = Rc::new(Self {
                cwd: Arc::new(Value::known(facts.cwd.as_bytes())),
                base: Rc::new(Base { cwd, ground: Arc::clone(&ground), links: Vec::new() }),
                ground,
            });
            *before = Some(Known {
                cwd: facts.cwd.clone(),
                home: facts.home.clone(),
                homes: facts.homes.clone(),
                workspaces: facts.workspaces.clone(),
                start: Rc::clone(&start),
            });
            start
        })
    }
}
