//! Why a value was refused, and what would be right instead.

use std::fmt::Display;

/// A value that one of the checked constructors of this module refused.
///
/// It knows nothing of files: [`super::parse()`] adds the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct InvalidValue {
    problem: String,
    help: String,
}

impl InvalidValue {
    /// What is wrong, and what would be right.
    pub fn new(problem: impl Display, help: impl Display) -> Self {
        Self { problem: problem.to_string(), help: help.to_string() }
    }

    /// What would be right, as a sentence to a person.
    pub fn help(&self) -> &str {
        &self.help
    }
}
