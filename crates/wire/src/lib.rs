#![forbid(unsafe_code)]
//! Bytes and their meaning: WireGuard messages, IP views, checksums, superpacket split and merge.
