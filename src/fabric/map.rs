//! The maps of a state, of which copies share what is the same.

/// A map by key, in their order. A change copies a path of nodes with some sixteen keys each; a
/// range is found from its start.
///
/// Two other libraries were here before: `immutable-chunkmap`, whose ranges walked through all that
/// was before them, and `rpds`, whose tree has a node for each entry, so that a look-up went to
/// some twenty places of memory rather than to four.
pub(super) type Map<K, V> = imbl::OrdMap<K, V>;
