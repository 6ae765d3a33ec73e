//! Benchmarks against every peer that is found.
fn main() {}
