//! What an attachment is wished to be: addresses and MAC.

use std::net::IpAddr;

use ipnet::IpNet;
use l2sm_api::{
    grpc::{address_bytes, v1, write_net},
    socket::Attach,
};
use l2sm_common::mac::Mac;

use super::fault::{FaultOf, INVALID, fault};

/// What is asked of the controller beyond the network.
#[derive(Debug)]
pub(super) struct Wish {
    /// Addresses; none: the network's choice.
    pub(super) addresses: Vec<v1::Address>,
    /// MAC; `None`: planned.
    pub(super) mac: Option<Mac>,
}

impl Wish {
    /// Reads what a request wishes for.
    pub(super) fn read(request: &Attach) -> Result<Self, FaultOf> {
        let addresses = request.ips.iter().map(|text| read_wish(text));
        let addresses = addresses.collect::<Result<Vec<_>, FaultOf>>()?;
        let mac = request.mac.as_deref().map(read_mac_wish).transpose()?;
        Ok(Self { addresses, mac })
    }
}

/// An address with or without prefix length.
fn read_wish(text: &str) -> Result<v1::Address, FaultOf> {
    if let Ok(net) = text.parse::<IpNet>() {
        return Ok(write_net(&net));
    }
    let address: IpAddr = text.parse().map_err(|_no_address| {
        fault(INVALID, format!("address {text}: expected an IP address, as in 10.0.0.5/24"))
    })?;
    Ok(v1::Address { ip: address_bytes(address), prefix_len: 0 })
}

fn read_mac_wish(text: &str) -> Result<Mac, FaultOf> {
    match text.parse::<Mac>() {
        Ok(mac) if mac.is_station() => Ok(mac),
        Ok(_group) => Err(fault(INVALID, format!("MAC {text}: a group or zero address")).into()),
        Err(why) => Err(fault(INVALID, format!("MAC {text}: {why}")).into()),
    }
}
