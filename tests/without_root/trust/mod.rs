//! Certificates, TLS and the audit log, with real files and real connections.

mod audit;
mod certificates;
mod changes;
mod naive;
mod tls;
