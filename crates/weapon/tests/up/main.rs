//! `weapon up` and `weapon down` where the system, not the file, is what is wrong: the exit code,
//! the message to its last character, and that nothing is left half-done.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

mod background;
mod refused;
mod running;
mod site;
