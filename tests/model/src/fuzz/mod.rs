//! The fuzzer: random configurations, and random and mutated frames, through the programs as they
//! are loaded, held against the model.
//!
//! Most frames go through `BPF_PROG_TEST_RUN` on the program that is attached to the ports: its
//! verdict, the bytes that it leaves and the handoff for TC are seen. The others are sent into a
//! port over its wire and captured wherever they come out, so that TC and the choice of the device
//! are seen too. After each batch everything that is counted and learned is compared.

pub mod bed;
pub mod case;
pub mod compare;
pub mod end;
pub mod forge;
pub mod guards;
pub mod ids;
pub mod isolation;
pub mod left;
pub mod limits;
pub mod packets;
pub mod replay;
pub mod run;
pub mod setup;
pub mod shrink;
pub mod witness;
