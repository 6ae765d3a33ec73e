//! Keys for Wireshark: with `danger_export_keys`, what decrypts a recording of the outer packets is
//! written to a file.
//!
//! The file is of the form that Wireshark's dissector of WireGuard reads (`wg.keylog_file`). The
//! helper opens it, as the gateway's process can open none, and looks who else could read it.

mod file;
pub use file::KeyFile;
mod writer;
pub use writer::KeyWriter;

/// Bytes of a file at most. A peer may shake hands fifty times in a second, if it likes to.
const FILE_BYTES_MAX: u64 = 64 << 20;
