//! The maps of a state, of which copies share what is the same.

/// A map by key, in their order. A change copies a path of small nodes, and a range is found from its start, however much there is before it.
pub(super) type Map<K, V> = rpds::RedBlackTreeMapSync<K, V>;
