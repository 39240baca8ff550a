//! The attack suite: a test an attack, named for it, with where it comes from. Each shows that the
//! attack works where its guard is off, as far as it can be turned off, and that with the guard
//! nothing of it arrives, while 95 % of the victim's own traffic and more goes on (`victim`).

mod frames;
mod lan;
mod victim;

mod addresses;
mod checksums;
mod control;
mod handoffs;
mod hopping;
mod hw_vlan;
mod macs;
mod merged;
mod numbers;
mod ordinary;
mod residue;
mod rings;
mod servers;
mod storms;
mod supers;
mod told;
mod underlay;
mod undone;
