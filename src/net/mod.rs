//! The agent's edge to the kernel's network configuration, over netlink. Knows nothing of the
//! dataplane.

pub mod features;
pub mod links;
pub mod stack;
pub mod underlay;

/// A netlink request that failed.
#[derive(Debug, thiserror::Error)]
#[error("netlink, {doing}: {source}")]
pub struct NetlinkError {
    doing: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl NetlinkError {
    /// Says what was being done.
    pub(crate) fn while_doing<E>(doing: &'static str) -> impl FnOnce(E) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        move |source| Self { doing, source: Box::new(source) }
    }
}
