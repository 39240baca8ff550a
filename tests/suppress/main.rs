//! Suppression of ARP and neighbour discovery: what the edge answers itself, what it must not
//! answer, and what it believes.

#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

#[path = "../common/mod.rs"]
mod common;
mod frames;
mod lan;
#[path = "../common/maps.rs"]
mod maps;

mod answered;
mod believed;
mod configured;
mod left_alone;
mod proof;
mod residue;
