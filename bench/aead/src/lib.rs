//! What is measured and how, for the table, the criterion benchmark and the timing test.

/// Who seals and opens.
pub mod contender;

/// The packets that they work on.
pub mod batch;

/// Interleaved rounds.
pub mod measure;

/// Medians, and Welch's t.
pub mod statistics;

/// The markdown of a run.
pub mod table;

/// The drawing of a run.
pub mod chart;

/// Which processor, and which versions.
pub mod machine;
