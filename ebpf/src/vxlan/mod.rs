//! VXLAN (RFC 7348), in and out.

pub mod decap;
pub mod encap;
