//! An error with its causes, in one line.

use std::error::Error;

/// Writes an error and its causes, but no cause that the text has already: many errors print their
/// cause themselves.
pub fn said(error: &(dyn Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !said.contains(&more) {
            said = format!("{said}: {more}");
        }
        next = cause.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("port p0: {source}")]
    struct Outer {
        source: Inner,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("the call failed")]
    struct Inner(#[source] io::Error);

    #[test]
    fn nothing_is_said_twice() {
        let inner = Inner(io::Error::other("it is gone"));
        assert_eq!(said(&Outer { source: inner }), "port p0: the call failed: it is gone");
    }
}
