//! Real work gives the same results inside as bare, as root and as an ordinary user.

mod audit;
mod everyday;
mod later;
mod limits;
mod own_tests;
mod redaction;
mod stream;
mod work;
