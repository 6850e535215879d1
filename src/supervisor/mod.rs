//! The supervisor: the pipeline from a request to its report, and the state around it.

mod passwd;
mod relay;
mod state;
