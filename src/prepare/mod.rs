//! What a command needs before it can run: a checked working directory, a clean environment, and a look at the files that
//! agents read as instructions.

pub mod context;
pub mod directory;
pub mod environment;

pub use directory::{Directory, DirectoryError, Root};
pub use environment::{Environment, EnvironmentError, Withheld};
