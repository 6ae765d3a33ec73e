//! The latest packets that died: what the gateway tells of them, with what each reason means.

// What there is to say of a reason.
mod explained;
pub use explained::{Explained, explained};

// What the gateway tells, and what is made of it for people.
mod report;
pub use report::{DropReport, DropsReport, latest};
mod text;
pub use text::describe;
