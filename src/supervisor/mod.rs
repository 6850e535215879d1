//! The supervisor: the pipeline from a request to its report, and the state around it.
//!
//! Every error, timeout and panic on the way is a refusal with a record. The supervisor starts no command itself: it
//! asks a runner, and it has nothing to ask with until the types of [`crate::stage`] give it something.

mod context;
mod daemon;
mod egress;
mod embedded;
mod journal;
mod local;
mod passwd;
mod pipeline;
mod policy_file;
mod pulse;
mod relay;
mod scribe;
mod session;
mod state;
mod vault;

pub use daemon::{
    CONFIG_VERSION, ConfigError, Configured, DaemonError, EditError, Engines, JobsError, Layout, Mistake,
    ModelFiles, NewProvider, Options, Over, Part, Place, SocketError, add_provider, config_schema,
    configured, effective, jobs_found, look_over, migrate_config, put_config, remove_provider,
    serve as serve_daemon,
};
pub use embedded::{Agent, Asked, Completed, EmbeddedError, Role, serve};
pub use local::{Local, LocalError};
pub use policy_file::{
    PolicyFileError, Project, Source, Tried, load as load_policy, load_alone as load_policy_alone, well_kept,
};
pub use relay::Captured;
pub use state::{Directories, NoHome};
