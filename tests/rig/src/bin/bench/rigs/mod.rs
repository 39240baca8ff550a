//! What is measured: lines of veths, and what stands at their edges.

pub mod crowd;
pub mod line;
pub mod load;
pub mod ovs;
pub mod trips;
