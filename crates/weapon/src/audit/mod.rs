//! The audit log: what happened, in the order in which it did, in files that show what was done to
//! them. docs/audit.md says what is in them and what can be proven.

// What happened, on its way.
pub mod entry;
pub mod moment;

mod limits;
mod link;
mod sender;
pub use sender::{OnFailure, Sender};

// Of a gateway that runs.
pub mod events;
pub mod flows;
mod running;
pub use running::{Audit, due, stopped, turned, warnings};

// The writer, which knows nothing of a gateway.
mod also;
pub use also::Copies;
mod folder;
mod open;
mod writer;
pub use writer::Settings;

// What is in a file.
mod line;
mod lines;
mod seal;

// The reader.
mod reading;
mod verify;

// `weapon audit`.
mod commands;
mod show;
pub use commands::{run, verify_file};

#[cfg(test)]
mod tests;
