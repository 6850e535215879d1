//! What a command is, and what it is given, where the text around it says so.

use super::acts::{FARTHEST, program_name, written};
use super::{
    Base, Input, Knowledge, MOST_LISTED, Piece, Place, Task, Value, Walk, follow, programs, reader, shell,
};

impl Walk<'_> {
    /// The program that the text put where this command's program word leads.
    pub(super) fn original(&self, task: &Task) -> Option<Value> {
        let word = task.invocation.argv.first()?;
        if let Some(name) = word.as_known().filter(|_| !self.hashed.is_empty())
            && let Some((_, path)) = self.hashed.iter().rev().find(|(hashed, _)| hashed == name)
        {
            return Some(path.clone());
        }
        if self.programs.is_empty() {
            return None;
        }
        word.as_known().filter(|word| word.contains(&b'/'))?;
        // The name itself is asked for, not where a link leads.
        let base = Base { links: Vec::new(), ..Base::clone(&self.base(task)) };
        let place = Place::resolve(word, &base);
        let path = &place.readings.first()?.path;
        self.programs.iter().rev().find(|(name, _)| name == path).map(|(_, original)| original.clone())
    }

    /// What is known of an input to which several commands write: plain words of some
    /// (`(crontab -l; echo '...') | crontab -`), or names that a program lists.
    pub(super) fn known_inputs(&mut self, task: &Task) -> Vec<Input> {
        if let Some(text) = follow::duplicated_input(&task.invocation) {
            return vec![text];
        }
        let (Input::Pipe(writers), Some((group, _))) = (&task.invocation.stdin, task.group) else {
            return Vec::new();
        };
        // `xargs` has read it: what stands in the words is looked up there
        let taken = |piece: &Piece| matches!(piece, Piece::Unknown(hole) if hole.source == programs::READ);
        if task.invocation.argv.iter().flat_map(|word| &word.pieces).any(taken) {
            return Vec::new();
        }
        let Some(group) = self.groups.get(group) else { return Vec::new() };
        let invocations = &group.invocations;
        let runs_input = programs::runs_input(&task.invocation, Knowledge::shipped());
        let mut lines = Vec::new();
        for writer in writers.iter().filter_map(|index| invocations.get(*index)) {
            // a shell runs the lines that `yes` repeats
            let lines_of_code = program_name(writer) == "yes"
                && !matches!(program_name(&task.invocation), "xargs" | "parallel");
            if let Some(listed) = programs::output(writer).filter(|_| !lines_of_code) {
                return listed.names.into_iter().take(MOST_LISTED).map(Input::Text).collect();
            }
            written(writer, invocations, runs_input, FARTHEST, &mut lines);
        }
        let known = !lines.is_empty() && (!runs_input || self.parses(&lines));
        if known { vec![Input::Known(lines)] } else { Vec::new() }
    }

    /// Whether a text that is a guess reads as a program: one that does not says nothing.
    fn parses(&mut self, text: &[u8]) -> bool {
        let text = String::from_utf8_lossy(text);
        shell::read(&text, None, &reader::of_request(self.facts, &self.start.cwd), &mut self.budget).is_ok()
    }
}
