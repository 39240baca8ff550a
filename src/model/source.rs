//! The text of a configuration, and how to find a place in it.

use std::ops::Range;

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

/// How many bytes of a line around a place are shown: a line may be as long as the file.
const WINDOW: usize = 400;
/// The longest stretch shown in one piece; two places farther apart are shown apart.
const LONGEST: usize = 4096;

/// A text with its name, and an index of its lines.
#[derive(Debug)]
pub(super) struct Source {
    name: String,
    text: String,
    line_starts: Vec<usize>,
}

impl Source {
    /// Control characters are replaced by signs of the same length: places stay what they are, and
    /// no terminal obeys a file that it is only shown.
    pub(super) fn new(name: &str, text: &str) -> Self {
        let text = if text.chars().any(is_hidden) {
            text.chars().map(|c| if is_hidden(c) { stand_in(c) } else { c }).collect()
        } else {
            text.to_owned()
        };
        let line_starts =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name: name.escape_debug().to_string(), text, line_starts }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The line and column of an offset, both from 1; a column is a character.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.line(offset);
        (line + 1, self.column(line, offset) + 1)
    }

    /// What of `span` can be shown: within the text, within its first line, and not endless.
    pub(super) fn clamp(&self, span: Range<usize>) -> Range<usize> {
        let start = self.text.floor_char_boundary(span.start);
        let end = span.end.clamp(start, self.line_end(self.line(start)).max(start));
        start..self.text.floor_char_boundary(end.min(start + WINDOW)).max(start)
    }

    fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset) - 1
    }

    fn column(&self, line: usize, offset: usize) -> usize {
        self.text[self.line_starts[line]..offset].chars().count()
    }

    /// Where a line ends, without its line break.
    fn line_end(&self, line: usize) -> usize {
        let end = self.line_starts.get(line + 1).map_or(self.text.len(), |next| next - 1);
        if self.text[..end].ends_with('\r') { end - 1 } else { end }
    }
}

/// miette's own implementations walk the whole text for each place, and show the whole of a long
/// line.
impl SourceCode for Source {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let (start, end) = (span.offset(), span.offset() + span.len());
        if end > self.text.len() || span.len() > LONGEST {
            return Err(MietteError::OutOfBounds);
        }
        let last = (self.line(end) + after).min(self.line_starts.len() - 1);
        let from = match before {
            0 => start,
            _ => self.line_starts[self.line(start).saturating_sub(before)]
                .max(start.saturating_sub(WINDOW)),
        };
        let to = match after {
            0 => end,
            _ => self.line_end(last).min(end + WINDOW).max(end),
        };
        let (from, to) = (self.text.floor_char_boundary(from), self.text.ceil_char_boundary(to));
        let line = self.line(from);
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            &self.text.as_bytes()[from..to],
            (from, to - from).into(),
            line,
            self.column(line, from),
            self.line(to) - line + 1,
        )))
    }
}

fn is_hidden(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\r' | '\t')
}

fn stand_in(c: char) -> char {
    if c.is_ascii() { '?' } else { '¿' }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_a_character_and_a_line_ends_before_its_break() {
        let source = Source::new("f", "é = 1\r\nb\n");
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position(2), (1, 2));
        assert_eq!(source.position(8), (2, 1));
        assert_eq!(source.position(10), (3, 1));
        assert_eq!(source.position(999), (3, 1));
        assert_eq!(source.clamp(0..10), 0..6);
        assert_eq!(source.clamp(900..999), 10..10);
    }

    #[test]
    fn control_characters_are_shown_as_signs_of_the_same_length() {
        let source = Source::new("a\x1bb", "x\x1b[2Jy\u{9b}z\t\n");
        assert_eq!(source.text, "x?[2Jy¿z\t\n");
        assert_eq!(source.name(), "a\\u{1b}b");
    }

    #[test]
    fn of_an_endless_line_only_the_surroundings_are_shown() {
        let source = Source::new("f", &"é".repeat(1 << 20));
        let contents = source.read_span(&(1 << 20, 10).into(), 1, 1).unwrap();
        assert!(contents.data().len() < 1000);
        assert_eq!((contents.line(), contents.column()), (0, ((1 << 20) - WINDOW) / 2));
    }
}
