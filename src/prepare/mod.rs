//! What a command needs before it can run: a checked working directory and a clean environment.

pub mod directory;
pub mod environment;

pub use directory::{Directory, DirectoryError, Root};
pub use environment::{Environment, EnvironmentError, Withheld};
