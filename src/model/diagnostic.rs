//! What is wrong, or odd, in a configuration, with its place.

use std::{fmt, ops::Range, sync::Arc};

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan};
use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::source::Source;

/// In bytes.
const LONGEST_MESSAGE: usize = 400;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration can't be used.
    Error,
    /// It can be used, but may not be what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One thing that is wrong or odd. Its `Display` is one line: `FILE:LINE:COLUMN: error: what (what
/// is right)`.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    severity: Severity,
    message: String,
    help: Option<String>,
    /// The first is the place; others are what it conflicts with.
    labels: Vec<(Range<usize>, String)>,
    source: Arc<Source>,
}

impl Diagnostic {
    /// A message quotes what the file says, which may be as long as the file: it is cut.
    pub(super) fn new(source: &Arc<Source>, severity: Severity, mut message: String) -> Self {
        if message.len() > LONGEST_MESSAGE {
            message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
            message.push('…');
        }
        Self { severity, message, help: None, labels: Vec::new(), source: source.clone() }
    }

    pub(super) fn at(&mut self, span: Range<usize>, label: impl Into<String>) -> &mut Self {
        self.labels.push((self.source.clamp(span), label.into()));
        self
    }

    pub(super) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn offset(&self) -> usize {
        self.labels.first().map_or(0, |(span, _)| span.start)
    }

    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What would be right.
    pub fn advice(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The name of the file.
    pub fn file(&self) -> &str {
        self.source.name()
    }

    /// The line and the column, both from 1; none where the file itself is the trouble.
    pub fn position(&self) -> Option<(usize, usize)> {
        self.labels.first().map(|(span, _)| self.source.position(span.start))
    }

    /// The message with the lines of the file that it is about, for a person.
    pub fn render(&self, style: Style) -> String {
        let (theme, width) = match style {
            Style::Plain => (GraphicalTheme::none(), usize::MAX),
            Style::Fancy { width } => (GraphicalTheme::unicode(), width),
        };
        let mut out = String::new();
        // Writing to a string fails only if a span is outside the source, which `at` prevents.
        if GraphicalReportHandler::new_themed(theme)
            .with_width(width)
            .render_report(&mut out, &Drawn(self))
            .is_err()
        {
            out = format!("{self}\n");
        }
        out
    }
}

/// How a diagnostic looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// ASCII frames, no colours, no line breaks within sentences.
    Plain,
    /// Colours and frames, for a terminal of this width.
    Fancy {
        /// In columns.
        width: usize,
    },
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Drawn(self).fmt(f)?;
        self.help.iter().try_for_each(|help| write!(f, " ({help})"))
    }
}

impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (line, column) = self.position().unzip();
        let mut object = serializer.serialize_struct("Diagnostic", 6)?;
        object.serialize_field("file", self.file())?;
        object.serialize_field("line", &line)?;
        object.serialize_field("column", &column)?;
        object.serialize_field("severity", &self.severity)?;
        object.serialize_field("message", &self.message)?;
        object.serialize_field("help", &self.help)?;
        object.end()
    }
}

impl std::error::Error for Diagnostic {}

/// miette's view of a diagnostic. Its place is told before it is drawn: of two places, miette draws
/// the one first that is first in the file, and the first line has to name the one that is wrong.
#[derive(Debug)]
struct Drawn<'d>(&'d Diagnostic);

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.0.file())?;
        if let Some((line, column)) = self.0.position() {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}: {}", self.0.severity, self.0.message)
    }
}

impl std::error::Error for Drawn<'_> {}

impl miette::Diagnostic for Drawn<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.0.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.0.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&*self.0.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let labels = self.0.labels.iter().enumerate().map(|(index, (span, text))| {
            let text = Some(text.clone()).filter(|text| !text.is_empty());
            match index {
                0 => LabeledSpan::new_primary_with_span(text, span.clone()),
                _ => LabeledSpan::new_with_span(text, span.clone()),
            }
        });
        (!self.0.labels.is_empty())
            .then(|| Box::new(labels) as Box<dyn Iterator<Item = LabeledSpan>>)
    }
}

/// All that is wrong with a configuration, in the order of the file. Its `Display` is a line for
/// each.
#[derive(Debug, Clone)]
pub struct ConfigErrors {
    diagnostics: Vec<Diagnostic>,
    omitted: usize,
}

impl ConfigErrors {
    pub(super) fn new(diagnostics: Vec<Diagnostic>, omitted: usize) -> Self {
        Self { diagnostics, omitted }
    }

    /// The one thing that is wrong with a file, and where in its text.
    pub fn one(
        name: &str,
        text: &str,
        at: Option<Range<usize>>,
        message: impl Into<String>,
        help: Option<&str>,
    ) -> Self {
        let mut diagnostic =
            Diagnostic::new(&Arc::new(Source::new(name, text)), Severity::Error, message.into());
        if let Some(at) = at {
            diagnostic.at(at, "");
        }
        if let Some(help) = help {
            diagnostic.help(help);
        }
        Self { diagnostics: vec![diagnostic], omitted: 0 }
    }

    /// Each of them; never empty.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// How many more there are, that were only counted.
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// All of them, drawn for a person.
    pub fn render(&self, style: Style) -> String {
        let drawn: Vec<_> =
            self.diagnostics.iter().map(|diagnostic| diagnostic.render(style)).collect();
        let mut out = drawn.join("\n");
        if self.omitted > 0 {
            out.push_str(&format!("\n… and {} more\n", self.omitted));
        }
        out
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        if self.omitted > 0 {
            write!(f, "\n… and {} more", self.omitted)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
