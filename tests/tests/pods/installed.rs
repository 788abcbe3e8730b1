//! The plugin in the node's CNI list, by a real agent; and the list driven by `cnitool`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
};

use l2sm_tests::{cluster::Cluster, cnitool, netns::Netns, wait};
use serde_json::{Value, json};

use super::{
    attach, interfaces, netns, operator::Operator, plugin::record, status, until_followed,
};

/// Directories of a runtime, beside a node.
struct Dirs {
    directory: tempfile::TempDir,
}

impl Dirs {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("net.d")).expect("can be made");
        Self { directory }
    }

    fn conf(&self, name: &str) -> PathBuf {
        self.directory.path().join("net.d").join(name)
    }

    fn bin(&self, name: &str) -> PathBuf {
        self.directory.path().join("bin").join(name)
    }

    fn ours(&self) -> Option<Value> {
        let text = fs::read(self.conf("00-l2sm.conflist")).ok()?;
        Some(serde_json::from_slice(&text).expect("whole"))
    }

    fn flags(&self) -> [String; 4] {
        let (conf, bin) = (self.conf(""), self.bin(""));
        let text = |path: &Path| path.to_str().expect("a name").to_owned();
        ["--cni-conf-dir".into(), text(&conf), "--cni-bin-dir".into(), text(&bin)]
    }

    /// The cluster's own list: a bridge, as on the lab's nodes.
    fn write_bridge(&self, bridge: &str) {
        let list = json!({
            "cniVersion": "1.0.0", "name": "cluster", "plugins": [{
                "type": "bridge", "bridge": bridge, "isGateway": true,
                "ipam": {
                    "type": "host-local", "dataDir": self.directory.path().join("ipam"),
                    "ranges": [[{"subnet": "10.244.7.0/24"}]],
                },
            }],
        });
        let fresh = self.conf("new");
        fs::write(&fresh, list.to_string()).expect("can be written");
        fs::rename(&fresh, self.conf("10-bridge.conflist")).expect("can be renamed");
    }
}

/// A node whose agent keeps the plugin installed.
fn node(dirs: &Dirs) -> (Cluster, Operator) {
    let mut cluster = Cluster::unstarted(1);
    let operator = Operator::start(&cluster);
    let flags = dirs.flags();
    cluster.nodes[0].flags.extend(flags);
    cluster.nodes[0].start_agent();
    until_followed(&cluster);
    (cluster, operator)
}

fn errors(cluster: &Cluster) -> String {
    status(cluster)["errors"].to_string()
}

#[test]
fn the_plugin_stays_in_the_list_until_cleanup_and_follows_the_clusters_own() {
    let dirs = Dirs::new();
    let (mut cluster, operator) = node(&dirs);
    wait::until("the condition", || errors(&cluster).contains("ChainNotInstalled").then_some(()));
    let said = errors(&cluster);
    let looked_in = format!("no CNI configuration yet in {}", dirs.conf("").display());
    assert!(said.contains(&looked_in) && said.contains("--cni-conf-dir"), "{said}");

    dirs.write_bridge("cni0");
    let ours = wait::until("our list", || dirs.ours());
    assert_eq!(ours["plugins"][0]["bridge"], "cni0");
    assert_eq!(ours["plugins"][1]["type"], "l2sm");
    assert_eq!(ours["name"], "cluster");
    let mode = fs::metadata(dirs.bin("l2sm")).expect("installed first").permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    wait::until("the condition", || (!errors(&cluster).contains("ChainNot")).then_some(()));
    wait::until("the operator is told", || {
        operator.heard(|heard| {
            let conditions = &heard.reports.last()?.conditions;
            let chain = conditions.iter().find(|of| of.r#type == "ChainNotInstalled")?;
            (!chain.status).then_some(())
        })
    });

    let first = dirs.conf("00-bridge.conflist");
    fs::copy(dirs.conf("10-bridge.conflist"), &first).expect("can be written");
    let words = "00-bridge.conflist sorts before 00-l2sm.conflist";
    wait::until("the condition", || errors(&cluster).contains(words).then_some(()));
    fs::remove_file(first).expect("is there");
    wait::until("the condition", || (!errors(&cluster).contains("ChainNot")).then_some(()));

    dirs.write_bridge("cni9");
    wait::until("ours follows", || {
        dirs.ours().filter(|ours| ours["plugins"][0]["bridge"] == "cni9")
    });
    cluster.nodes[0].kill_agent();
    assert!(dirs.ours().is_some() && dirs.bin("l2sm").exists(), "pods start meanwhile");

    cluster.nodes[0].start_agent();
    until_followed(&cluster);
    fs::remove_file(dirs.conf("10-bridge.conflist")).expect("is there");
    wait::until("ours goes with its source", || dirs.ours().is_none().then_some(()));
    dirs.write_bridge("cni0");
    wait::until("our list", || dirs.ours());

    // Cilium with cni.exclusive renames what is not its own, as often as it comes back.
    for _time in 0..2 {
        let ours = wait::until("our list", || dirs.ours().map(|_| dirs.conf("00-l2sm.conflist")));
        fs::rename(ours, dirs.conf("00-l2sm.conflist.cilium_bak")).expect("is there");
    }
    wait::until("the condition", || errors(&cluster).contains("cni.exclusive=false").then_some(()));
    assert_eq!(dirs.ours(), None, "it gives in");

    cluster.nodes[0].kill_agent();
    let flags = dirs.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let cleaned = cluster.nodes[0].cleanup_with(&flags);
    assert!(cleaned.status.success(), "{}", String::from_utf8_lossy(&cleaned.stderr));
    let left = |directory: PathBuf| fs::read_dir(directory).expect("is there").count();
    assert_eq!((left(dirs.conf("")), left(dirs.bin(""))), (1, 0), "the cluster's own list");
}

/// `cnitool` in the node's namespace, by whatever list is the first.
fn run(
    tool: &Path,
    dirs: &Dirs,
    cluster: &Cluster,
    verb: &str,
    pod: &Netns,
    uid: &str,
    annotations: &Value,
) -> Output {
    let capabilities = json!({"io.kubernetes.cri.pod-annotations": annotations});
    let path = format!("{}:/usr/lib/cni:/opt/cni/bin", dirs.bin("").display());
    Command::new("nsenter")
        .arg(format!("--net={}", cluster.nodes[0].netns.path()))
        .arg(tool)
        .args([verb, "cluster", &pod.path()])
        .env("NETCONFPATH", dirs.conf(""))
        .env("CNI_PATH", path)
        .env("CNI_IFNAME", "eth0")
        .env(
            "CNI_ARGS",
            format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME={uid};K8S_POD_UID={uid}"),
        )
        .env("CAP_ARGS", capabilities.to_string())
        .output()
        .expect("it runs")
}

#[test]
fn cnitool_drives_the_list_with_a_bridge_before_our_plugin() {
    let Some(tool) = cnitool::build("cnitool_drives_the_list_with_a_bridge_before_our_plugin")
    else {
        return;
    };
    let dirs = Dirs::new();
    dirs.write_bridge("cni0");
    let (cluster, operator) = node(&dirs);
    wait::until("our list", || dirs.ours());
    let (plain, annotated) = (netns(), netns());
    let none = json!({});
    let blue = json!({"l2sm/networks": "[{\"name\": \"blue\"}]"});
    let done = |output: Output, what: &str| -> String {
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{what}: {error}{said}");
        said
    };
    let result = done(run(&tool, &dirs, &cluster, "add", &plain, "u-1", &none), "plain add");
    let result: Value = serde_json::from_str(&result).expect("a result");
    assert_eq!(interfaces(&plain), ["eth0"]);
    assert_eq!(result["ips"].as_array().map(Vec::len), Some(1), "the bridge's alone: {result}");
    thread::scope(|scope| {
        let adding = scope.spawn(|| run(&tool, &dirs, &cluster, "add", &annotated, "u-2", &blue));
        operator.tell(|script| {
            attach(&mut script.instructions, "u-1", 1, 1);
            attach(&mut script.instructions, "u-2", 1, 2);
        });
        let result = done(adding.join().expect("it ends"), "annotated add");
        let result: Value = serde_json::from_str(&result).expect("a result");
        assert_eq!(result["ips"].as_array().map(Vec::len), Some(1), "one IP of the pod: {result}");
    });
    assert_eq!(interfaces(&annotated), ["eth0", "net1"]);
    wait::until_equal("hot", &vec!["eth0".to_owned(), "net1".to_owned()], || interfaces(&plain));
    wait::until_equal("a ping", &1, || annotated.ping("10.9.0.1", 1));
    assert_eq!(annotated.ping("10.9.0.1", 3), 3);
    done(run(&tool, &dirs, &cluster, "check", &annotated, "u-2", &blue), "check");
    done(run(&tool, &dirs, &cluster, "del", &annotated, "u-2", &blue), "annotated del");
    done(run(&tool, &dirs, &cluster, "del", &plain, "u-1", &none), "plain del");
    for netns in [&plain, &annotated] {
        wait::until_equal("interfaces", &Vec::<String>::new(), || interfaces(netns));
    }
    let directory = cluster.nodes[0].socket().with_file_name("pods");
    assert_eq!(
        fs::read_dir(directory).expect("is there").count(),
        0,
        "{:?}",
        record(&cluster.nodes[0], "x")
    );
}
