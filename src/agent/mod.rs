//! The agent.

pub mod control;
