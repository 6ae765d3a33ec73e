//! A Markdown file of which a part is written by a program.

use std::io;
use std::path::Path;

const BEGIN: &str = "<!-- generated: begin -->";
const END: &str = "<!-- generated: end -->";

/// Puts `text` in place of what is between the two marks of the file.
///
/// # Errors
/// When the file can't be read or written, or lacks the marks.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let old = std::fs::read_to_string(path)?;
    let Some(new) = between_marks(&old, text) else {
        let complaint = format!("the lines {BEGIN} and {END} are missing");
        return Err(io::Error::new(io::ErrorKind::InvalidData, complaint));
    };
    std::fs::write(path, new)
}

fn between_marks(old: &str, text: &str) -> Option<String> {
    let (before, rest) = old.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    let text = text.trim_end();
    Some(format!("{before}{BEGIN}\n\n{text}\n\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_the_marks_is_replaced() {
        let old = format!("# a\n{BEGIN}\nold\n{END}\nb\n");
        let new = between_marks(&old, "new\n").unwrap();
        assert_eq!(new, format!("# a\n{BEGIN}\n\nnew\n\n{END}\nb\n"));
        assert_eq!(between_marks("no marks", "new"), None);
    }
}
