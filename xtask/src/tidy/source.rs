//! A Rust file as tokens: which functions it has, which part is test code, what it calls.
//!
//! Tokens are enough for these rules, also inside macro calls, where a syntax tree ends.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A token that is not test code, with the line it stands on.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// Identifier, literal, punctuation (`::` is one token) or delimiter.
    pub(crate) text: String,
    /// Line, counted from one.
    pub(crate) line: usize,
    /// Whether it stands in a function that is off the hot path: `new`, `default`, or `#[cold]`.
    pub(crate) is_cold: bool,
}

/// A function that is not test code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its name, without type or module.
    pub(crate) name: String,
    /// Line of `fn`.
    pub(crate) first_line: usize,
    /// Line of the closing brace.
    pub(crate) last_line: usize,
}

impl Function {
    /// Lines from `fn` to the closing brace.
    pub(crate) fn line_count(&self) -> usize {
        self.last_line - self.first_line + 1
    }
}

/// What the rules want to know of a Rust file.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// Tokens outside test code, in order.
    pub(crate) tokens: Vec<Token>,
    /// Functions outside test code, in order.
    pub(crate) functions: Vec<Function>,
    /// First and last line of each test item.
    pub(crate) test_lines: Vec<(usize, usize)>,
    /// Names of the modules in other files that are declared under `#[cfg(test)]`.
    pub(crate) test_modules: Vec<String>,
}

impl Source {
    /// Reads `text`; none if its brackets do not match.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let stream: TokenStream = text.parse().ok()?;
        let mut source = Self::default();
        source.walk(stream, false);
        Some(source)
    }

    /// The lines where the tokens of `pattern`, separated by spaces, follow each other.
    pub(crate) fn lines_with(&self, pattern: &str) -> Vec<(usize, bool)> {
        let wanted: Vec<&str> = pattern.split(' ').collect();
        self.tokens
            .windows(wanted.len())
            .filter(|run| {
                run.iter()
                    .zip(&wanted)
                    .all(|(token, word)| token.text == *word)
            })
            .map(|run| (run[0].line, run[0].is_cold))
            .collect()
    }

    /// How many lines are test code.
    pub(crate) fn test_line_count(&self) -> usize {
        self.test_lines
            .iter()
            .map(|(first, last)| last - first + 1)
            .sum()
    }

    fn walk(&mut self, stream: TokenStream, is_cold: bool) {
        let trees: Vec<TokenTree> = stream.into_iter().collect();
        let mut index = 0;
        let mut next_is_cold = false;
        while let Some(tree) = trees.get(index) {
            if let Some(attribute) = attribute_at(&trees, index) {
                if is_test_attribute(&attribute) {
                    index = self.skip_test_item(&trees, index);
                    continue;
                }
                next_is_cold |= attribute == "cold";
            }
            if let Some((name, body_at)) = function_at(&trees, index) {
                let body_is_cold = is_cold || next_is_cold || is_constructor(&name);
                next_is_cold = false;
                self.note_function(name, tree, &trees[body_at]);
                for part in &trees[index..=body_at] {
                    self.push(part, body_is_cold);
                }
                index = body_at + 1;
                continue;
            }
            self.push(tree, is_cold);
            index += 1;
        }
    }

    fn note_function(&mut self, name: String, keyword: &TokenTree, body: &TokenTree) {
        self.functions.push(Function {
            name,
            first_line: keyword.span().start().line,
            last_line: body.span().end().line,
        });
    }

    fn push(&mut self, tree: &TokenTree, is_cold: bool) {
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = delimiters(group);
                self.push_text(open, group.span_open().start().line, is_cold);
                self.walk(group.stream(), is_cold);
                self.push_text(close, group.span_close().start().line, is_cold);
            }
            TokenTree::Punct(punct) => {
                let line = punct.span().start().line;
                match self.tokens.last_mut() {
                    Some(last) if punct.as_char() == ':' && last.text == ":" => {
                        last.text = "::".to_owned();
                    }
                    _ => self.push_text(&punct.as_char().to_string(), line, is_cold),
                }
            }
            TokenTree::Ident(ident) => {
                self.push_text(&ident.to_string(), ident.span().start().line, is_cold);
            }
            TokenTree::Literal(literal) => {
                self.push_text(&literal.to_string(), literal.span().start().line, is_cold);
            }
        }
    }

    fn push_text(&mut self, text: &str, line: usize, is_cold: bool) {
        if !text.is_empty() {
            self.tokens.push(Token {
                text: text.to_owned(),
                line,
                is_cold,
            });
        }
    }

    /// Notes the item whose test attribute stands at `index`; returns the index after the item.
    fn skip_test_item(&mut self, trees: &[TokenTree], index: usize) -> usize {
        let first_line = trees[index].span().start().line;
        let mut at = index;
        while attribute_at(trees, at).is_some() {
            at += 2;
        }
        let ends_with_semicolon = trees[at..].iter().take(3).any(|tree| {
            matches!(
                word(tree).as_deref(),
                Some("use" | "const" | "static" | "let")
            )
        }) && !trees[at..]
            .iter()
            .take(4)
            .any(|tree| word(tree).as_deref() == Some("fn"));
        if let Some(position) = trees[at..]
            .iter()
            .position(|tree| word(tree).is_some_and(|w| w == "mod"))
            && position <= 2
            && let (Some(name), Some(TokenTree::Punct(_))) = (
                trees.get(at + position + 1).and_then(word),
                trees.get(at + position + 2),
            )
        {
            self.test_modules.push(name);
        }
        while let Some(tree) = trees.get(at) {
            at += 1;
            let is_end = match tree {
                TokenTree::Punct(punct) => punct.as_char() == ';',
                TokenTree::Group(group) => {
                    group.delimiter() == Delimiter::Brace && !ends_with_semicolon
                }
                TokenTree::Ident(_) | TokenTree::Literal(_) => false,
            };
            if is_end {
                break;
            }
        }
        let last_line = trees[at - 1].span().end().line;
        self.test_lines.push((first_line, last_line));
        at
    }
}

fn is_constructor(name: &str) -> bool {
    matches!(name, "new" | "default")
}

fn delimiters(group: &Group) -> (&'static str, &'static str) {
    match group.delimiter() {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

fn word(tree: &TokenTree) -> Option<String> {
    match tree {
        TokenTree::Ident(ident) => Some(ident.to_string()),
        _ => None,
    }
}

/// The text of the outer attribute that begins at `index`, without spaces.
fn attribute_at(trees: &[TokenTree], index: usize) -> Option<String> {
    match (trees.get(index)?, trees.get(index + 1)?) {
        (TokenTree::Punct(punct), TokenTree::Group(group))
            if punct.as_char() == '#' && group.delimiter() == Delimiter::Bracket =>
        {
            Some(group.stream().to_string().replace(' ', ""))
        }
        _ => None,
    }
}

fn is_test_attribute(attribute: &str) -> bool {
    matches!(attribute, "test" | "tokio::test")
        || attribute == "cfg(test)"
        || attribute.starts_with("cfg(all(test,")
}

/// Name and index of the body of the function whose `fn` stands at `index`.
fn function_at(trees: &[TokenTree], index: usize) -> Option<(String, usize)> {
    if word(&trees[index])? != "fn" {
        return None;
    }
    let name = word(trees.get(index + 1)?)?;
    for (offset, tree) in trees[index..].iter().enumerate() {
        match tree {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                return Some((name, index + offset));
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "\
fn one<T>(x: T) -> T {
    x
}
#[cfg(test)]
use a::{b, c};
trait T { fn declared(&self); fn two(&self) { trace!(x.to_vec()) } }
#[cold]
fn three() { a::b() }
#[cfg(test)]
mod tests {
    fn four() {}
}
";

    #[test]
    fn functions_have_names_and_lengths() {
        let source = Source::parse(SAMPLE).unwrap();
        let found: Vec<_> = source
            .functions
            .iter()
            .map(|f| (f.name.as_str(), f.line_count()))
            .collect();
        assert_eq!(found, [("one", 3), ("two", 1), ("three", 1)]);
    }

    #[test]
    fn test_items_are_set_apart() {
        let source = Source::parse(SAMPLE).unwrap();
        assert_eq!(source.test_lines, [(4, 5), (9, 12)]);
        assert_eq!(source.test_line_count(), 6);
        assert!(source.lines_with("four").is_empty());
        assert!(source.lines_with("b , c").is_empty());
    }

    #[test]
    fn calls_are_found_inside_macros_and_paths_too() {
        let source = Source::parse(SAMPLE).unwrap();
        assert_eq!(source.lines_with(". to_vec ("), [(6, false)]);
        assert_eq!(source.lines_with("a :: b"), [(8, true)]);
    }

    #[test]
    fn a_test_module_in_another_file_is_named() {
        let source = Source::parse("#[cfg(test)]\npub(crate) mod pair;\nmod x;").unwrap();
        assert_eq!(source.test_modules, ["pair"]);
    }
}
