//! What a command needs before it can run: a checked working directory and a clean environment.
