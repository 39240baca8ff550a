//! The controller and its agents: the stream with agents that the test plays itself, and real nodes
//! on the rig.

mod addresses;
mod bindings;
mod command;
mod counters;
mod fair;
mod flapping;
mod idle;
mod left_out;
mod nodes;
mod site;
mod stream;
