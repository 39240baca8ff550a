//! What the two halves agree on.
