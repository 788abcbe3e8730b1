//! Frames sent in one network and looked for in the other.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context, Result};

use super::checks::Checks;
use super::lab::{Lab, Pod};
use super::netns;
use super::sniffer::{Sniffer, wait_for};
use super::status::dropped;
use crate::command;

/// Frames of each kind.
const COUNT: u64 = 100;
/// How long they may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The network that is sent from, and the one that is sent at.
const FROM: &str = "red";
const AT: &str = "blue";
/// Every station of the sender's network.
const BROADCAST: &str = "10.10.0.255:9";
/// An address that nobody has, to which the sender is told a MAC address.
const NOBODY: &str = "10.10.0.253";

const BROADCAST_MARK: &[u8] = b"l2sm demo: a broadcast in red";
const UNICAST_MARK: &[u8] = b"l2sm demo: red to a MAC of blue";

/// Broadcasts reach every pod of their own network and none of the other; frames to a pod of the
/// other network reach nobody, and are counted.
pub(crate) fn check(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let sender = lab.pods_of(FROM).next().context("no pod to send from")?;
    broadcast(lab, sender, checks)?;
    unicast(lab, sender, checks)
}

fn broadcast(lab: &Lab, sender: &Pod, checks: &mut Checks) -> Result<()> {
    let own: Vec<_> = lab.pods_of(FROM).filter(|pod| pod.name != sender.name).collect();
    let own = sniff(&own, BROADCAST_MARK)?;
    let other = sniff(&lab.pods_of(AT).collect::<Vec<_>>(), BROADCAST_MARK)?;
    send(sender, BROADCAST, BROADCAST_MARK)?;
    // Who shall get them has them when none is underway any more.
    wait_for(PATIENCE, || own.iter().all(|pod| pod.seen() >= COUNT));
    let sent = format!("sent {COUNT} broadcasts from {}", sender.name);
    checks.record(own.iter().all(|pod| pod.seen() == COUNT), &format!("{sent}: {}", counts(&own)));
    checks.record(other.iter().all(|pod| pod.seen() == 0), &format!("{sent}: {}", counts(&other)));
    Ok(())
}

fn unicast(lab: &Lab, sender: &Pod, checks: &mut Checks) -> Result<()> {
    let node = lab.node(&sender.node)?;
    for target in lab.pods_of(AT) {
        let before = dropped(lab, node, "unknown_unicast")?;
        let others: Vec<_> = lab.pods.iter().filter(|pod| pod.name != sender.name).collect();
        let sniffers = sniff(&others, UNICAST_MARK)?;
        point(sender, &target.mac)?;
        send(sender, &format!("{NOBODY}:9"), UNICAST_MARK)?;
        let drops = || dropped(lab, node, "unknown_unicast").map_or(0, |now| now - before);
        wait_for(PATIENCE, || drops() >= COUNT);
        let (drops, seen) = (drops(), sniffers.iter().map(Sniffer::seen).sum::<u64>());
        checks.record(
            drops == COUNT && seen == 0,
            &format!(
                "sent {COUNT} frames from {} to the MAC of {}: seen {seen} anywhere; {} dropped \
                 {drops} as unknown_unicast",
                sender.name, target.name, node.name
            ),
        );
    }
    Ok(())
}

fn sniff(pods: &[&Pod], mark: &'static [u8]) -> Result<Vec<Sniffer>> {
    pods.iter().map(|pod| Sniffer::start(pod, mark)).collect()
}

/// Sends marked datagrams.
fn send(sender: &Pod, to: &str, mark: &[u8]) -> Result<()> {
    netns::inside(&sender.netns, || {
        let socket = UdpSocket::bind("0.0.0.0:0").context("cannot make a socket")?;
        socket.set_broadcast(true).context("cannot broadcast")?;
        for _ in 0..COUNT {
            socket.send_to(mark, to).with_context(|| format!("cannot send to {to}"))?;
        }
        Ok(())
    })
}

/// Makes the sender believe that [`NOBODY`] has this MAC address.
fn point(sender: &Pod, mac: &str) -> Result<()> {
    let mut ip = command::new("ip");
    ip.args(["-n", &sender.netns, "neigh", "replace", NOBODY, "lladdr", mac]);
    ip.args(["dev", &sender.ifname, "nud", "permanent"]);
    command::read(&mut ip).map(drop)
}

fn counts(sniffers: &[Sniffer]) -> String {
    let one = |sniffer: &Sniffer| format!("{} saw {}", sniffer.pod, sniffer.seen());
    sniffers.iter().map(one).collect::<Vec<_>>().join(", ")
}
