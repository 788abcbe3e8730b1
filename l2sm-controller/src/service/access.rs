//! Who may do what: the role and the name in a client's certificate.

use std::net::SocketAddr;

use l2sm_api::grpc::{
    tls::{Identity, Role},
    v1,
};
use tonic::{Request, Status};
use tracing::warn;

use crate::tls::SubjectFault;

/// The other end of a connection; every request on it carries this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it is.
    pub address: Option<SocketAddr>,
    /// Who it is.
    pub access: Access,
}

/// Who the other end of a connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// The server was told to let everybody do everything.
    Insecure,
    /// Its certificate says so.
    Proven(Identity),
    /// Its certificate does not say.
    Nobody(SubjectFault),
}

impl Peer {
    /// Of a request.
    ///
    /// # Errors
    /// The request came by no connection of ours.
    pub(super) fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let peer = request.extensions().get::<Self>().cloned();
        peer.ok_or_else(|| Status::permission_denied("a request of unknown origin"))
    }

    /// Whether it may speak for `node`.
    ///
    /// # Errors
    /// `PERMISSION_DENIED`, naming both.
    pub(super) fn permit_node(&self, node: &str) -> Result<(), Status> {
        let why = match &self.access {
            Access::Insecure => return Ok(()),
            Access::Proven(Identity { role: Role::Node, name }) if name == node => return Ok(()),
            Access::Proven(Identity { role: Role::Node, name }) => format!(
                "node {node:?} is not the certificate's: that is node {name}'s; use the \
                 certificate of {node:?}"
            ),
            Access::Proven(other) => {
                format!("node {node:?} is not the certificate's: that is {other}, no node's")
            }
            Access::Nobody(why) => format!("node {node:?}: {why}"),
        };
        Err(self.deny(why))
    }

    /// Whether it is anybody at all.
    fn permit_somebody(&self) -> Result<(), Status> {
        match &self.access {
            Access::Insecure | Access::Proven(_) => Ok(()),
            Access::Nobody(why) => Err(self.deny(format!("this is for nodes: {why}"))),
        }
    }

    fn permit_admin(&self) -> Result<(), Status> {
        let why = match &self.access {
            Access::Insecure | Access::Proven(Identity { role: Role::Admin, .. }) => return Ok(()),
            Access::Proven(other) => format!(
                "objects are for admins: the certificate is {other}'s; use one of l2sm://admin/NAME"
            ),
            Access::Nobody(why) => format!("objects are for admins: {why}"),
        };
        Err(self.deny(why))
    }

    fn deny(&self, why: String) -> Status {
        let address = self.address.map(|address| address.to_string()).unwrap_or_default();
        warn!(address, "denied: {why}");
        Status::permission_denied(why)
    }
}

/// Lets admins' requests pass.
///
/// # Errors
/// `PERMISSION_DENIED`, naming whose certificate it is.
pub fn permit_admin(request: Request<()>) -> Result<Request<()>, Status> {
    Peer::of(&request)?.permit_admin()?;
    Ok(request)
}

/// Lets requests pass of those whose certificate says who they are: before any of it is read. Whom
/// they may speak for is seen when they say it.
///
/// # Errors
/// `PERMISSION_DENIED`.
pub fn permit_somebody(request: Request<()>) -> Result<Request<()>, Status> {
    Peer::of(&request)?.permit_somebody()?;
    Ok(request)
}

/// Lets a message pass, unless it is a hello for a node that `peer` may not speak for.
pub(super) fn permit_message(
    peer: &Peer,
    message: Result<v1::FromAgent, Status>,
) -> Result<v1::FromAgent, Status> {
    let message = message?;
    if let Some(v1::from_agent::Message::Hello(hello)) = &message.message {
        peer.permit_node(&hello.node)?;
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn peer(access: Access) -> Peer {
        Peer { address: None, access }
    }

    fn proven(uri: &str) -> Peer {
        peer(Access::Proven(uri.parse().unwrap()))
    }

    #[test]
    fn a_nodes_certificate_is_good_for_that_node_only() {
        assert!(proven("l2sm://node/n1").permit_node("n1").is_ok());
        let why = proven("l2sm://node/n1").permit_node("n2").unwrap_err();
        assert_eq!(why.code(), Code::PermissionDenied);
        assert!(why.message().contains("n1") && why.message().contains("n2"), "{why}");
        assert!(proven("l2sm://admin/n1").permit_node("n1").is_err());
        assert!(proven("l2sm://provider/n1").permit_node("n1").is_err());
        assert!(proven("l2sm://node/n1").permit_node("").is_err());
        assert!(peer(Access::Nobody(SubjectFault::Nobody)).permit_node("n1").is_err());
        assert!(peer(Access::Insecure).permit_node("n1").is_ok());
    }

    #[test]
    fn who_shows_no_certificate_is_not_heard() {
        let ask = |peer: Peer| {
            let mut request = Request::new(());
            request.extensions_mut().insert(peer);
            permit_somebody(request)
        };
        assert!(ask(proven("l2sm://node/n1")).is_ok());
        assert!(ask(peer(Access::Insecure)).is_ok());
        for fault in [SubjectFault::Nobody, SubjectFault::Unreadable] {
            let why = ask(peer(Access::Nobody(fault))).unwrap_err();
            assert_eq!(why.code(), Code::PermissionDenied);
        }
        let unknown = permit_somebody(Request::new(())).unwrap_err();
        assert_eq!(unknown.code(), Code::PermissionDenied, "closed where nothing is known");
    }

    #[test]
    fn objects_are_for_admins() {
        let ask = |peer: Peer| {
            let mut request = Request::new(());
            request.extensions_mut().insert(peer);
            permit_admin(request)
        };
        assert!(ask(proven("l2sm://admin/anna")).is_ok());
        assert!(ask(peer(Access::Insecure)).is_ok());
        for refused in [
            proven("l2sm://node/n1"),
            proven("l2sm://provider/west"),
            peer(Access::Nobody(SubjectFault::Nobody)),
        ] {
            assert_eq!(ask(refused).unwrap_err().code(), Code::PermissionDenied);
        }
        let unknown = permit_admin(Request::new(())).unwrap_err();
        assert_eq!(unknown.code(), Code::PermissionDenied, "closed where nothing is known");
    }
}
