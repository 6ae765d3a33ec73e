//! Text in lines that fit.

/// Folds at spaces, so that lines have `room` characters at most, but for words that are longer.
/// Spaces at the beginning are kept.
pub fn fold(text: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for (index, word) in text.split(' ').enumerate() {
        let is_begun = !line.is_empty() || (lines.is_empty() && index != 0);
        if !is_begun {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(std::mem::replace(&mut line, word.to_owned()));
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_and_nothing_is_lost() {
        let text = "one two three four incomprehensibilities five";
        for room in 1..60 {
            let lines = fold(text, room);
            assert_eq!(lines.join(" "), text);
            let fits = |line: &String| line.len() <= room || !line.contains(' ');
            assert!(lines.iter().all(fits), "{room}: {lines:?}");
        }
        assert_eq!(fold("", 10), [""]);
        assert_eq!(fold("  one two", 8), ["  one", "two"]);
        assert_eq!(fold("one two", 7), ["one two"]);
        assert_eq!(fold("one two", 6), ["one", "two"]);
    }
}
