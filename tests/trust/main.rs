//! Certificates, TLS and the audit log, with real files and real connections.

mod certificates;
mod tls;
