//! Sillon carves isolated layer-2 segments for competing operators out of shared ports.

pub mod cli;
pub mod model;
