//! The pipeline's types: a command that was not cleared has no type that runs.
