//! Following a controller: the stream of instructions, what it is allowed to say, and what is kept
//! of it on disk.

mod admission;
mod assembly;
mod client;
mod connect;
mod follow;
pub mod kept;
mod session;

pub use self::{
    admission::{Admission, Rejection},
    assembly::{Assembly, AssemblyError, Step},
    client::{Client, Followed, Troubles},
    connect::{ConnectError, connect_with, serving},
    follow::{Follower, Renewals, Settings, wait_for},
};
