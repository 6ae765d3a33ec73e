//! The project's own chores: test, bench, tidy.
fn main() {}
