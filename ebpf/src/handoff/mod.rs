//! What XDP hands over to TC: a frame for many, since XDP can't copy; one that leaves by a port at
//! TC; and one for the node's own stack. The pipeline at TC hands over what is for many to the next
//! program, in the same words.

pub mod leave;
pub mod take;
