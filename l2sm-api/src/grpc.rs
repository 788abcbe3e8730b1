//! Protobuf messages and gRPC services, generated from `proto/`, and their conversions to and from
//! the types of `l2sm-core`.

mod convert;
mod revision;
mod snapshot;
pub mod tls;

pub use convert::{
    FieldFault, address_bytes, read_address, read_key, read_mac, read_net, write_net,
};
pub use revision::Revision;
pub use snapshot::{digest, split};

/// Package `l2sm.v1`.
pub mod v1 {
    #![expect(
        clippy::all,
        clippy::pedantic,
        clippy::as_conversions,
        clippy::clone_on_ref_ptr,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        missing_docs,
        unused_qualifications,
        reason = "generated"
    )]
    tonic::include_proto!("l2sm.v1");
}
