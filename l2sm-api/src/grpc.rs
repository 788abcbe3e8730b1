//! Protobuf messages and gRPC services, generated from `proto/`.

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
