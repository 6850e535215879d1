//! An act: one effect of one command, with its paths resolved and the command that has it.

use std::sync::{Arc, OnceLock};

use crate::programs::{Effect, Operation, Target};
use crate::shell::{Bytes, Span, Value};

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
    /// Whether the hardline list speaks of it: no rule can say more.
    pub(crate) settled: bool,
}

/// The command that an act belongs to.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Program and arguments as resolved.
    pub argv: Arc<Vec<Value>>,
    /// The program's name without its directories; empty where it is not known.
    pub program: Bytes,
    /// The part of the request.
    pub span: Span,
    /// Where it runs.
    pub target: Target,
    /// Whether it runs in a container whose processes are its own: neither the machine's init nor its power is in reach.
    pub(crate) apart: bool,
    /// The programs that lead to it, outermost first: `sudo`, `xargs`.
    pub via: Vec<String>,
    /// What arrives on its standard input from the network or from a program that is not known.
    pub fed: Feed,
    /// The targets of its redirections.
    pub redirects: Vec<Value>,
    /// Whether the command has any effect beside its start.
    pub has_effects: bool,
    /// Whether it reads whole trees, once somebody has asked: a command of thousands of operands has as many acts.
    pub(crate) reads_trees: OnceLock<bool>,
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

    /// Whether this is the start of the command itself, which every command has beside its effects.
    pub fn is_start(&self) -> bool {
        matches!(&self.effect, Effect::Exec { argv, .. } if *argv == self.scene.argv)
    }

    /// Whether the effect reaches what lies below its path too.
    pub fn takes_trees(&self) -> bool {
        match &self.effect {
            Effect::Delete { recursive, how, .. } => *recursive || *how == Operation::Move,
            Effect::Metadata { recursive, .. } => *recursive,
            Effect::Read { .. } | Effect::Send { .. } => {
                *self.scene.reads_trees.get_or_init(|| reads_trees(&self.scene))
            }
            _ => false,
        }
    }

    /// The argv as a person reads it.
    pub fn words(&self) -> Vec<String> {
        self.scene.argv.iter().map(|word| word.text().into_owned()).collect()
    }

    /// The beginning of it, for a finding: a command of thousands of operands, or of a long text, has as many findings, each with
    /// what it is about.
    pub(super) fn first_words(&self) -> Vec<String> {
        /// As many as a person reads.
        const MOST: usize = 32;
        /// Bytes of a word.
        const LONGEST: usize = 4096;
        let cut = |word: &Value| {
            let mut text = word.text().into_owned();
            if text.len() > LONGEST {
                let at = (0..=LONGEST).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
                let left_out = text.len() - at;
                text.truncate(at);
                text.push_str(&format!("... ({left_out} more bytes)"));
            }
            text
        };
        let argv = &self.scene.argv;
        let left_out = argv.len().saturating_sub(MOST);
        let more = (left_out > 0).then(|| format!("({left_out} more words)"));
        argv.iter().take(MOST).map(cut).chain(more).collect()
    }
}

/// The name of a command's program without its directories; empty where it is not known.
pub(super) fn program_name(argv: &[Value]) -> &str {
    let Some(word) = argv.first().and_then(Value::as_str) else { return "" };
    word.rsplit('/').next().unwrap_or(word)
}

/// Whether a program that reads reads whole trees: an archiver by itself, others with `-r`.
fn reads_trees(scene: &Scene) -> bool {
    let options = || scene.argv.iter().skip(1).filter_map(Value::as_str);
    let short = |letters: &[char]| {
        options().any(|word| word.starts_with('-') && !word.starts_with("--") && word.contains(letters))
    };
    match &*scene.program {
        b"tar" | b"bsdtar" | b"gtar" | b"zip" | b"7z" | b"7za" | b"rg" | b"ag" | b"ack" | b"rclone"
        | b"restic" | b"borg" | b"cpio" | b"ugrep" | b"trufflehog" | b"gitleaks" | b"mksquashfs"
        | b"genisoimage" | b"duplicity" | b"aws" | b"gsutil" => true,
        b"rsync" => short(&['a', 'r']) || options().any(|word| word == "--archive" || word == "--recursive"),
        b"cp" | b"scp" | b"grep" | b"egrep" | b"fgrep" | b"zgrep" | b"chmod" | b"rgrep" => {
            *scene.program == *b"rgrep"
                || short(&['r', 'R', 'a'])
                || options()
                    .any(|word| matches!(word, "--recursive" | "--archive" | "--dereference-recursive"))
        }
        _ => false,
    }
}
