//! Certificates, TLS and the audit log, with real files and real connections.
#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

mod audit;
mod certificates;
mod changes;
mod naive;
mod tls;
