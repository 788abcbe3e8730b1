//! The server's TLS: its files, read again when they change, and whom a client's certificate names.

mod files;
mod subject;

pub use self::{
    files::{ConfigError, ServerFiles, ServerTls, ServerTlsError, server_config},
    subject::{SubjectFault, subject},
};
