//! Tunnel packets from an address that is no node's, with a frame for a pod inside.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context, Result};

use super::checks::Checks;
use super::lab::{Lab, Pod};
use super::netns;
use super::sniffer::{Sniffer, wait_for};
use super::status::dropped;

/// Packets.
const COUNT: u64 = 100;
/// How long they may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where the forger stands: on the nodes' own network.
const UNDERLAY: &str = "l2sm-underlay";
/// The nodes' UDP port for tunnels.
const PORT: u16 = 7000;
const MARK: &[u8] = b"l2sm demo: a forged tunnel packet";
/// Of experiments (IEEE 802, local experimental EtherType 1).
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];

/// No forged packet is delivered, and all are counted.
pub(crate) fn check(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let target = lab.pods.first().context("no pod to send to")?;
    let node = lab.node(&target.node)?;
    let sniffers = lab.pods.iter().map(|pod| Sniffer::start(pod, MARK));
    let sniffers = sniffers.collect::<Result<Vec<_>>>()?;
    let before = dropped(lab, node, "unknown_vtep")?;
    let packet = forge(target)?;
    netns::inside(UNDERLAY, || {
        let socket = UdpSocket::bind("0.0.0.0:0").context("cannot make a socket")?;
        for _ in 0..COUNT {
            let to = (node.address.as_str(), PORT);
            socket.send_to(&packet, to).context("cannot send a forged packet")?;
        }
        Ok(())
    })?;
    let drops = || dropped(lab, node, "unknown_vtep").map_or(0, |now| now - before);
    wait_for(PATIENCE, || drops() >= COUNT);
    let (drops, seen) = (drops(), sniffers.iter().map(Sniffer::seen).sum::<u64>());
    checks.record(
        drops == COUNT && seen == 0,
        &format!(
            "sent {COUNT} forged tunnel packets at {}, for {}: seen {seen} anywhere; {} dropped \
             {drops} as unknown_vtep",
            node.name, target.name, node.name
        ),
    );
    Ok(())
}

/// A VXLAN header (RFC 7348 section 5) and a frame to `target`.
fn forge(target: &Pod) -> Result<Vec<u8>> {
    let [_, vni @ ..] = target.vni.to_be_bytes();
    let mut packet = vec![0x08, 0, 0, 0];
    packet.extend(vni);
    packet.push(0);
    for byte in target.mac.split(':') {
        packet.push(u8::from_str_radix(byte, 16).context("not a MAC address")?);
    }
    packet.extend([0x02, 0xbe, 0xef, 0, 0, 1]);
    packet.extend(ETHERTYPE);
    packet.extend(MARK);
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_packet_is_vxlan_to_the_last_bit() {
        let pod = Pod {
            name: "a".into(),
            node: "n1".into(),
            network: "red".into(),
            netns: "x".into(),
            ifname: "net1".into(),
            ip: "10.10.0.1".into(),
            mac: "02:00:00:00:0a:ff".into(),
            vni: 0x10_00_01,
        };
        let packet = forge(&pod).unwrap();
        assert_eq!(packet[..8], [8, 0, 0, 0, 0x10, 0, 1, 0]);
        assert_eq!(packet[8..14], [2, 0, 0, 0, 0x0a, 0xff]);
        assert!(packet.ends_with(MARK));
    }
}
