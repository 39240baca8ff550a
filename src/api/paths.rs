//! How kinds of objects are called in paths.

use crate::fabric::Kind;

/// The word for a kind's path.
pub const fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::Operator => "operators",
        Kind::Node => "nodes",
        Kind::Port => "ports",
        Kind::Server => "servers",
        Kind::Lease => "leases",
        Kind::Profile => "profiles",
        Kind::Segment => "segments",
        Kind::Attachment => "attachments",
        Kind::Tombstone => "tombstones",
        Kind::Trial => "trials",
    }
}

/// The parts of the path that name an object of a kind.
pub const fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Operator | Kind::Node | Kind::Server => "{name}",
        Kind::Port => "{node}/{port}",
        Kind::Lease | Kind::Profile | Kind::Segment | Kind::Attachment => "{operator}/{name}",
        Kind::Tombstone | Kind::Trial => "{*name}",
    }
}

/// Whether objects of a kind have names with slashes in them. They are those that nobody puts.
pub const fn has_long_names(kind: Kind) -> bool {
    matches!(kind, Kind::Tombstone | Kind::Trial)
}
