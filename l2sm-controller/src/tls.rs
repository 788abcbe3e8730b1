//! The server's TLS: its files, read again when they change, and whom a client's certificate names.

mod files;
mod subject;

pub use self::{
    files::{ServerFiles, ServerTls, ServerTlsError},
    subject::{SubjectFault, subject},
};
