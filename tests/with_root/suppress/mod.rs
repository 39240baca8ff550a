//! Suppression of ARP and neighbour discovery: what the edge answers itself, what it must not
//! answer, and what it believes.

pub mod frames;
mod lan;

mod answered;
mod believed;
mod configured;
mod left_alone;
mod proof;
mod residue;
