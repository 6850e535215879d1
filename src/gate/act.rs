//! An act: one effect of one command, with its paths resolved and the command that has it.

use std::sync::Arc;

use crate::programs::{Effect, Target};
use crate::shell::{Span, Value};

use super::class::ClassSet;
use super::place::Place;

/// One effect in its context. Rules are held against acts.
#[derive(Debug, Clone)]
pub struct Act {
    /// What happens.
    pub effect: Effect,
    /// Where it happens, for an effect that has a path.
    pub place: Option<Place>,
    /// The command that has it.
    pub scene: Arc<Scene>,
}

/// The command that an act belongs to.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Program and arguments as resolved.
    pub argv: Vec<Value>,
    /// The program's name without its directories; empty where it is not known.
    pub program: String,
    /// The part of the request.
    pub span: Span,
    /// Where it runs.
    pub target: Target,
    /// The programs that lead to it, outermost first: `sudo`, `xargs`.
    pub via: Vec<String>,
    /// What arrives on its standard input from the network or from a program that is not known.
    pub fed: Feed,
}

/// Where bytes that a command is fed come from, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feed {
    /// Inherited, constant, or from a file.
    Plain,
    /// From a credential store.
    Credential,
    /// From the network.
    Network,
}

impl Act {
    /// Every class that the place may have. An effect without a place has none.
    pub fn may_be(&self) -> ClassSet {
        self.place.as_ref().map_or(ClassSet::NONE, Place::may_be)
    }

    /// The argv as a person reads it.
    pub fn words(&self) -> Vec<String> {
        self.scene.argv.iter().map(Value::to_string).collect()
    }
}
