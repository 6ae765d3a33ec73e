//! A page of the manual, made from a file of Markdown: what `docs` says is said once.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// `text` as the page `NAME(5)`, whose first line says what it is about.
pub(crate) fn of_markdown(text: &str, name: &str, about: &str) -> String {
    let title = name.to_uppercase();
    let mut page = Page {
        text: format!(".TH {title} 5\n.SH NAME\n{name} \\- {about}\n.SH DESCRIPTION\n"),
        ..Page::default()
    };
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        page.take(event);
    }
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
    /// The words of the paragraph, heading or cell that is being read.
    words: String,
    /// The heads of a table's columns.
    heads: Vec<String>,
    cells: Vec<String>,
    is_code: bool,
    /// The file's own title, which the page has already.
    is_title: bool,
}

impl Page {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.begin(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.words += &escaped(&text),
            Event::Code(code) => self.words += &format!("\\fB{}\\fR", escaped(&code)),
            Event::SoftBreak | Event::HardBreak => self.words.push('\n'),
            _ => {}
        }
    }

    fn begin(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Heading { level, .. } => self.is_title = *level == HeadingLevel::H1,
            Tag::CodeBlock(_) => self.is_code = true,
            Tag::Item => self.flush(".IP \\(bu 2"),
            Tag::Strong => self.words += "\\fB",
            Tag::Emphasis => self.words += "\\fI",
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) if self.is_title => self.words.clear(),
            TagEnd::Heading(HeadingLevel::H2) => self.flush(".SH"),
            TagEnd::Heading(_) => self.flush(".SS"),
            TagEnd::Paragraph => self.flush(".PP"),
            TagEnd::Item => self.flush(""),
            TagEnd::CodeBlock => {
                self.is_code = false;
                let code = std::mem::take(&mut self.words);
                self.text += &format!(".PP\n.RS 4\n.nf\n{}.fi\n.RE\n", guarded(&code));
            }
            TagEnd::Strong | TagEnd::Emphasis => self.words += "\\fR",
            TagEnd::TableCell => self.cells.push(std::mem::take(&mut self.words)),
            TagEnd::TableHead => self.heads = std::mem::take(&mut self.cells),
            TagEnd::TableRow => self.row(),
            _ => {}
        }
    }

    /// A row as a term, what it means, and what else the table says of it.
    fn row(&mut self) {
        let cells = std::mem::take(&mut self.cells);
        for (number, cell) in cells
            .iter()
            .enumerate()
            .filter(|(_, cell)| !cell.is_empty())
        {
            let cell = guarded(cell);
            self.text += &match number {
                0 => format!(".TP\n{cell}\n"),
                1 => format!("{cell}\n"),
                _ => format!(".br\n{}: {cell}\n", self.heads[number]),
            };
        }
    }

    /// What was read, behind a request; a heading stands on its line.
    fn flush(&mut self, request: &str) {
        let words = std::mem::take(&mut self.words);
        let words = guarded(words.trim());
        let is_heading = [".SH", ".SS"].contains(&request);
        self.text += &match (request, words.as_str()) {
            ("", "") => String::new(),
            ("", words) => format!("{words}\n"),
            (request, "") => format!("{request}\n"),
            (request, words) if is_heading => format!("{request} \"{words}\"\n"),
            (request, words) => format!("{request}\n{words}\n"),
        };
    }
}

/// With all that has a meaning in roff as what it looks like.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    text.replace('"', "\\(dq")
}

/// No line is a request.
fn guarded(text: &str) -> String {
    let guard = |line: &str| match line.chars().next() {
        Some('.' | '\'') => format!("\\&{line}"),
        _ => line.to_owned(),
    };
    let end = if text.ends_with('\n') { "\n" } else { "" };
    text.lines().map(guard).collect::<Vec<_>>().join("\n") + end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_tables_code_and_lists_become_requests() {
        let text = "# Title\n\nOne `a-b`,\n.two.\n\n## Part \"x\"\n\n\
                    | key | is | else |\n|---|---|---|\n| `k` | **this** | none |\n\
                    | `l` | that | |\n\n\
                    ```toml\n.a = \"\\\\\"\n```\n\n- item\n";
        let page = of_markdown(text, "x.toml", "about");
        let expected = ".TH X.TOML 5\n.SH NAME\nx.toml \\- about\n.SH DESCRIPTION\n\
            .PP\nOne \\fBa\\-b\\fR,\n\\&.two.\n.SH \"Part \\(dqx\\(dq\"\n\
            .TP\n\\fBk\\fR\n\\fBthis\\fR\n.br\nelse: none\n.TP\n\\fBl\\fR\nthat\n\
            .PP\n.RS 4\n.nf\n\\&.a = \\(dq\\e\\e\\(dq\n.fi\n.RE\n.IP \\(bu 2\nitem\n";
        assert_eq!(page, expected);
    }
}
