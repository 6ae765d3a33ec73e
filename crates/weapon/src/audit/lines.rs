//! The lines of a file, however long and whatever is in them: nothing is held that no record has.

use std::io::{self, BufRead, Read};

use super::line::LINE_BYTES_MAX;

/// A piece of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// A line, without its end.
    Line(Vec<u8>),
    /// What stands behind the last end of a line, or the start of a line that is too long.
    Torn(Vec<u8>),
}

/// The lines of a file.
pub struct Lines {
    reader: Box<dyn BufRead>,
    bytes: u64,
}

impl Lines {
    /// Of what this reads.
    pub fn new(reader: Box<dyn BufRead>) -> Self {
        Self { reader, bytes: 0 }
    }

    /// Bytes of what was read so far.
    pub fn bytes_read(&self) -> u64 {
        self.bytes
    }

    /// The next one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        let mut line = Vec::new();
        let mut limited = Read::take(&mut *self.reader, LINE_BYTES_MAX as u64);
        let count = limited.read_until(b'\n', &mut line)?;
        self.bytes = self.bytes.saturating_add(count as u64);
        if line.last() == Some(&b'\n') {
            line.pop();
            return Ok(Some(Piece::Line(line)));
        }
        Ok((count != 0).then_some(Piece::Torn(line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &[u8]) -> Vec<Piece> {
        let mut lines = Lines::new(Box::new(io::Cursor::new(text.to_vec())));
        let mut all = Vec::new();
        while let Some(piece) = lines.next_piece().unwrap() {
            all.push(piece);
        }
        assert_eq!(lines.bytes_read(), text.len() as u64);
        all
    }

    #[test]
    fn a_file_is_lines_and_what_is_torn() {
        let line = |text: &str| Piece::Line(text.into());
        let torn = |text: &str| Piece::Torn(text.into());
        assert_eq!(pieces(b""), []);
        assert_eq!(pieces(b"a\n\nb\n"), [line("a"), line(""), line("b")]);
        assert_eq!(pieces(b"a\nb"), [line("a"), torn("b")]);
        let long = vec![b'x'; LINE_BYTES_MAX + 1];
        let parts = pieces(&long);
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[1], torn("x"));
    }
}
