//! TLS between agents, `l2smctl` and controllers: whom a certificate names, and a client's files.

mod client;
mod files;
mod identity;
mod probe;

pub use self::{
    client::{ClientFiles, ClientTlsError},
    files::{PemFault, read_certificates, read_key},
    identity::{Identity, IdentityFault, Role},
    probe::wants_tls,
};
