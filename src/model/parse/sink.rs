//! Where diagnostics are collected.

use std::{ops::Range, sync::Arc};

use super::super::{
    InvalidValue,
    diagnostic::{ConfigErrors, Diagnostic, Severity},
    source::Source,
};

/// How many diagnostics are kept; a file that has more wrong is not a configuration.
const KEPT: usize = 200;

/// Collects what is wrong, so that one run tells all of it.
pub(super) struct Sink {
    source: Arc<Source>,
    kept: Vec<Diagnostic>,
    /// The last one that was not kept, for its caller to fill in.
    dropped: Option<Diagnostic>,
    omitted: usize,
    failed: bool,
}

impl Sink {
    pub(super) fn new(name: &str, text: &str) -> Self {
        Self {
            source: Arc::new(Source::new(name, text)),
            kept: Vec::new(),
            dropped: None,
            omitted: 0,
            failed: false,
        }
    }

    /// An error at a place.
    pub(super) fn error(
        &mut self,
        at: Range<usize>,
        message: String,
        label: &str,
    ) -> &mut Diagnostic {
        self.failed = true;
        self.push(Severity::Error, message).at(at, label)
    }

    /// A rule that does not hold at a place.
    pub(super) fn broken(
        &mut self,
        at: Range<usize>,
        broken: &InvalidValue,
        label: &str,
    ) -> &mut Diagnostic {
        self.error(at, broken.to_string(), label).help(broken.help())
    }

    /// An error of the file as a whole.
    pub(super) fn file_error(&mut self, message: String) -> &mut Diagnostic {
        self.failed = true;
        self.push(Severity::Error, message)
    }

    /// Something odd at a place.
    pub(super) fn warning(
        &mut self,
        at: Range<usize>,
        message: String,
        label: &str,
    ) -> &mut Diagnostic {
        self.push(Severity::Warning, message).at(at, label)
    }

    pub(super) fn has_errors(&self) -> bool {
        self.failed
    }

    /// The warnings, if there is no error; all of it otherwise.
    pub(super) fn finish(mut self) -> Result<Vec<Diagnostic>, ConfigErrors> {
        if self.failed {
            return Err(self.finish_failed());
        }
        self.kept.sort_by_key(Diagnostic::offset);
        Ok(self.kept)
    }

    /// All of it, in the order of the file.
    pub(super) fn finish_failed(mut self) -> ConfigErrors {
        self.kept.sort_by_key(Diagnostic::offset);
        ConfigErrors::new(self.kept, self.omitted)
    }

    fn push(&mut self, severity: Severity, message: String) -> &mut Diagnostic {
        let diagnostic = Diagnostic::new(&self.source, severity, message);
        if self.kept.len() == KEPT {
            self.omitted += 1;
            return self.dropped.insert(diagnostic);
        }
        let index = self.kept.len();
        self.kept.push(diagnostic);
        &mut self.kept[index]
    }
}
