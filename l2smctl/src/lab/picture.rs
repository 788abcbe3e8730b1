//! A picture of the lab in characters: nodes as boxes, their pods by network, the underlay below.

use std::iter;

use l2sm_api::socket::Attached;

use super::plan::{CONTROLLER, CONTROLLER_PORT, Node, Pod};
use super::state::State;

/// Boxes that fit beside one another; of the other nodes only the number is said.
const BOXES: usize = 3;
/// Pods shown of a network on a node.
const PODS: usize = 4;
/// Networks shown on a node.
const NETWORKS: usize = 4;
/// Blanks before everything.
const MARGIN: &str = "  ";

/// The picture; every line ends with a line end.
pub(crate) fn draw(state: &State) -> String {
    let nodes: Vec<_> = state.plan.nodes.iter().take(BOXES).collect();
    let contents: Vec<_> = nodes.iter().map(|node| content(state, node)).collect();
    let longest = contents.iter().flatten().map(|line| line.chars().count()).max();
    let width = longest.unwrap_or(0).max(24);
    let boxes: Vec<_> =
        nodes.iter().zip(&contents).map(|(node, lines)| node_box(node, lines, width)).collect();
    let mut lines = side_by_side(&boxes);
    lines.extend(underlay(state, &nodes, width));
    let mut picture = String::new();
    for line in &lines {
        picture.extend([
            MARGIN,
            line.trim_end(),
            "
",
        ]);
    }
    picture
}

/// What stands in a node's box.
fn content(state: &State, node: &Node) -> Vec<String> {
    let networks = &state.plan.networks;
    let mut lines: Vec<_> =
        networks.iter().take(NETWORKS).flat_map(|network| group(state, node, network)).collect();
    if networks.len() > NETWORKS {
        lines.push(format!("… {} more networks", networks.len() - NETWORKS));
    }
    lines
}

/// A network and its pods on a node.
fn group(state: &State, node: &Node, network: &str) -> Vec<String> {
    let here = |(pod, _): &(&Pod, &Attached)| pod.node == node.name && pod.network == network;
    let pods: Vec<_> = state.pods().filter(here).collect();
    let vni = pods.first().map(|(_, attached)| attached.vni).unwrap_or_default();
    let more = pods.len().saturating_sub(PODS);
    let last = pods.len().min(PODS).saturating_sub(1);
    let lines = pods.iter().take(PODS).enumerate().map(|(index, (pod, attached))| {
        let corner = if index == last && more == 0 { '\'' } else { '|' };
        let address = attached.ips.first().map_or("no address", |ip| ip.as_str());
        format!("  {corner}- {}  {address}", pod.name)
    });
    let heading = format!("{network} (VNI {vni})");
    let rest = (more > 0).then(|| format!("  '- … {more} more"));
    iter::once(heading).chain(lines).chain(rest).collect()
}

/// A box with the node's name above and its uplink below.
fn node_box(node: &Node, content: &[String], width: usize) -> Vec<String> {
    let lid = |title: &str| {
        let title = format!(" {title} ");
        let rest = (width + 2).saturating_sub(title.chars().count());
        let left = rest / 2;
        format!("+{}{title}{}+", "-".repeat(left), "-".repeat(rest - left))
    };
    let lines = content.iter().map(|line| {
        let padding = width.saturating_sub(line.chars().count());
        format!("| {line}{} |", " ".repeat(padding))
    });
    let top = lid(&format!("node {}", node.name));
    let bottom = lid(&format!("eth0 {}", node.address));
    iter::once(top).chain(lines).chain([bottom]).collect()
}

fn side_by_side(boxes: &[Vec<String>]) -> Vec<String> {
    let height = boxes.iter().map(Vec::len).max().unwrap_or(0);
    let row = |index| {
        let cells = boxes.iter().filter_map(|lines| lines.get(index).map(String::as_str));
        cells.collect::<Vec<_>>().join("  ")
    };
    (0..height).map(row).collect()
}

/// The cables, the switch, and the controller on it.
fn underlay(state: &State, nodes: &[&Node], width: usize) -> Vec<String> {
    // A box is four wider than its text, and two blanks follow.
    let stride = width + 6;
    let cable = width / 2 + 2;
    let joints: Vec<_> = (0..nodes.len()).map(|index| index * stride + cable).collect();
    let length = nodes.len() * stride - 2;
    let draw = |plain: char, joint: char| -> String {
        (0..length).map(|column| if joints.contains(&column) { joint } else { plain }).collect()
    };
    let more = match state.plan.nodes.len() - nodes.len() {
        0 => String::new(),
        more => format!(", and {more} more nodes"),
    };
    vec![
        draw(' ', '|'),
        draw('=', '+'),
        format!("    |   underlay: MTU {}{more}", state.plan.mtu),
        format!("    '- controller {CONTROLLER}:{CONTROLLER_PORT}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::plan::{Plan, Size};

    fn state(nodes: u32, pods: u32, networks: u32) -> State {
        let mut state =
            State::planned(Plan::new(Size { nodes, pods, networks, mtu: 1600 }).unwrap());
        let attached = |number: usize| Attached {
            ifname: "net1".into(),
            mac: "02:00:00:00:00:01".into(),
            ips: vec![format!("10.10.0.{number}/24")],
            vni: 1_048_576,
            mtu: 1550,
        };
        state.attached = (1..=state.plan.pods.len()).map(attached).collect();
        state
    }

    #[test]
    fn two_nodes_are_two_boxes_on_one_underlay() {
        let drawn = draw(&state(2, 1, 1));
        let lines: Vec<_> = drawn.lines().collect();
        assert!(lines[0].contains(" node n1 ") && lines[0].contains(" node n2 "), "{drawn}");
        assert!(lines[1].contains("| blue (VNI 1048576) "), "{drawn}");
        assert!(lines[2].contains("'- n1-blue-1  10.10.0.1/24 |"), "{drawn}");
        assert!(lines[2].contains("'- n2-blue-1  10.10.0.2/24 |"), "{drawn}");
        assert!(lines[3].contains(" eth0 192.0.2.1 ") && lines[3].contains(" eth0 192.0.2.2 "));
        assert!(lines[6].ends_with("underlay: MTU 1600"), "{drawn}");
    }

    #[test]
    fn boxes_are_straight_and_cables_meet_the_switch() {
        let drawn = draw(&state(2, 6, 2));
        let lines: Vec<_> = drawn.lines().collect();
        let bottom = lines.iter().position(|line| line.contains("eth0")).unwrap();
        let width = lines[0].chars().count();
        assert!(lines[..=bottom].iter().all(|line| line.chars().count() == width), "{drawn}");
        let columns = |line: &str, wanted: char| -> Vec<usize> {
            line.chars().enumerate().filter(|(_, c)| *c == wanted).map(|(at, _)| at).collect()
        };
        assert_eq!(columns(lines[bottom + 1], '|'), columns(lines[bottom + 2], '+'), "{drawn}");
        assert!(drawn.contains("'- … 2 more"), "{drawn}");
    }

    #[test]
    fn a_large_lab_is_cut_and_says_so() {
        let drawn = draw(&state(10, 1, 6));
        assert!(drawn.contains(", and 7 more nodes"), "{drawn}");
        assert!(drawn.contains("… 2 more networks"), "{drawn}");
        assert!(drawn.lines().all(|line| line.chars().count() <= 130), "{drawn}");
    }
}
