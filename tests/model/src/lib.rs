//! What Sillon should do with every frame, and a fuzzer that holds the loaded programs against it.
//!
//! [`forwarding`] is the model: plain, slow, over owned bytes, written from the documents and RFCs.
//! It knows the configuration and the names of the drop reasons, and nothing else of the
//! implementation. [`fuzz`] makes configurations and frames, runs both, and keeps every case
//! in which they differ.

pub mod forwarding;
pub mod fuzz;
