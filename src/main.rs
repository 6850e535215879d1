//! Chooses the role, runner first, before anything else is touched.

fn main() {}
