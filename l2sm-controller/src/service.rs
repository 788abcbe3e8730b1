//! The gRPC services, and their answers to what is refused.

mod access;
mod dataplane;
mod objects;

use tonic::{Code, Status};

use crate::refusal::Refusal;

pub use self::{
    access::{Access, Peer, permit_admin, permit_somebody},
    dataplane::DataplaneService,
    objects::ObjectsService,
};

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::Invalid(_) => Code::InvalidArgument,
            Refusal::NotFound(_) => Code::NotFound,
            Refusal::AlreadyExists(_) => Code::AlreadyExists,
            Refusal::Exhausted(_) => Code::ResourceExhausted,
            Refusal::Precondition(_) => Code::FailedPrecondition,
            Refusal::Store(_) => Code::Unavailable,
        };
        Self::new(code, refusal.to_string())
    }
}
