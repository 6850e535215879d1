//! The command line as a person and a script meet it: exit codes, messages, JSON, signals, and the question.

mod codes;
mod config;
mod doctor;
mod generated;
mod json;
mod policy;
mod question;
mod scan;
mod signals;
mod terminal;
