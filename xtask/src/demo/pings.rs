//! Pings between every two pods of each network.

use anyhow::{Context, Result};

use super::checks::Checks;
use super::lab::{Lab, Pod};
use crate::command;

/// Pings from each pod to each other one.
const COUNT: u32 = 3;

/// Every pod reaches every other one of its network.
pub(crate) fn check(lab: &Lab, checks: &mut Checks) -> Result<()> {
    for network in lab.networks() {
        let mut pairs = 0;
        let mut answered = 0;
        for from in lab.pods_of(network) {
            for to in lab.pods_of(network).filter(|to| to.name != from.name) {
                pairs += 1;
                answered += ping(from, to)?;
            }
        }
        let sent = pairs * COUNT;
        checks.record(
            answered == sent && sent > 0,
            &format!(
                "{network}: sent {sent} pings between {pairs} pairs of pods, {answered} answered"
            ),
        );
    }
    Ok(())
}

/// How many pings are answered.
fn ping(from: &Pod, to: &Pod) -> Result<u32> {
    let netns = format!("--net=/run/netns/{}", from.netns);
    let mut ping = command::new("nsenter");
    ping.args([
        &netns,
        "ping",
        "-n",
        "-q",
        "-i",
        "0.05",
        "-W",
        "1",
        "-c",
        &COUNT.to_string(),
        &to.ip,
    ]);
    // It fails when some are not answered; what it prints says how many.
    let output = ping.output().context("cannot run nsenter")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    received(&printed).with_context(|| {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        format!("cannot ping {} from {}: {said}", to.name, from.name)
    })
}

/// The figure in `3 packets transmitted, 2 received, 33% packet loss, time 101ms`.
fn received(printed: &str) -> Option<u32> {
    let summary = printed.lines().find(|line| line.contains("packets transmitted"))?;
    let part = summary.split(',').find(|part| part.contains("received"))?;
    part.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::received;

    #[test]
    fn the_number_of_answers_is_read() {
        let printed = "PING 10.0.0.1 (10.0.0.1) 56(84) bytes of data.\n\n--- 10.0.0.1 ping statistics ---\n\
                       3 packets transmitted, 2 received, 33.3333% packet loss, time 101ms\n";
        assert_eq!(received(printed), Some(2));
        assert_eq!(received("ping: connect: Network is unreachable"), None);
    }
}
