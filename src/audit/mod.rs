//! The record that proves what happened: append-only JSON lines, each carrying the hash of the one before.
