//! Pods that started before the plugin was there: the control groups of their processes have the
//! pod's UID, and the processes are in the pod's namespace.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
};

/// Namespaces of the pods `uids`, by the processes in `proc`: path and inode. Where the runtime keeps
/// a namespace in `named` (`/run/netns`), that path is told: it outlives the process. Pods in the
/// host's own namespace are not told.
pub fn find_pods(
    proc: &Path,
    named: &Path,
    uids: &BTreeSet<String>,
) -> BTreeMap<String, (String, u64)> {
    let own = inode(&proc.join("self/ns/net"));
    let mut found = BTreeMap::new();
    let entries = fs::read_dir(proc).into_iter().flatten().filter_map(Result::ok);
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // The oldest process of a pod is the one that holds its namespace.
    for number in numbers.collect::<BTreeSet<_>>() {
        let process = proc.join(number.to_string());
        let Ok(groups) = fs::read_to_string(process.join("cgroup")) else { continue };
        let Some(uid) = uids.iter().find(|uid| is_of(&groups, uid)) else { continue };
        if found.contains_key(uid) {
            continue;
        }
        let path = process.join("ns/net");
        match inode(&path) {
            Some(inode) if Some(inode) != own => {
                found.insert(uid.clone(), (path.display().to_string(), inode));
            }
            Some(_own) => {}
            None => tracing::debug!("{}: not seen (CAP_SYS_PTRACE?)", path.display()),
        }
    }
    if !found.is_empty() {
        prefer_names(&mut found, named);
    }
    found
}

/// Whether control groups are of a pod: `pod<UID>` by the cgroupfs driver, and by systemd's with `_`
/// for `-`.
fn is_of(groups: &str, uid: &str) -> bool {
    groups.contains(&format!("pod{uid}"))
        || groups.contains(&format!("pod{}", uid.replace('-', "_")))
}

fn prefer_names(found: &mut BTreeMap<String, (String, u64)>, named: &Path) {
    let entries = fs::read_dir(named).into_iter().flatten().filter_map(Result::ok);
    let paths: BTreeMap<u64, String> = entries
        .filter_map(|entry| Some((inode(&entry.path())?, entry.path().to_str()?.to_owned())))
        .collect();
    for (path, inode) in found.values_mut() {
        if let Some(stable) = paths.get(inode) {
            path.clone_from(stable);
        }
    }
}

fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|of| of.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0b2d3a44-9d1c-4a5e-8f27-3c1d5b6a7e8f";

    /// A process of a pod in a namespace, which is a file here.
    fn process(proc: &Path, number: &str, groups: &str, namespace: &Path) {
        fs::create_dir_all(proc.join(number).join("ns")).unwrap();
        fs::write(proc.join(number).join("cgroup"), groups).unwrap();
        fs::hard_link(namespace, proc.join(number).join("ns/net")).unwrap();
    }

    #[test]
    fn a_pod_is_found_by_the_control_groups_of_either_driver() {
        let directory = tempfile::tempdir().unwrap();
        let (proc, named) = (directory.path().join("proc"), directory.path().join("netns"));
        fs::create_dir_all(&named).unwrap();
        let [host, pod, other] = ["host", "pod", "other"].map(|name| {
            let path = directory.path().join(name);
            fs::write(&path, name).unwrap();
            path
        });
        process(&proc, "self", "", &host);
        process(&proc, "7", &format!("0::/kubepods/besteffort/pod{UID}/1234\n"), &pod);
        process(&proc, "12", &format!("0::/kubepods/besteffort/pod{UID}/5678\n"), &other);
        process(&proc, "1", "0::/init.scope\n", &host);
        let uids = BTreeSet::from([UID.to_owned()]);
        let found = find_pods(&proc, &named, &uids);
        let expected = (proc.join("7/ns/net").display().to_string(), inode(&pod).unwrap());
        assert_eq!(found[UID], expected, "the oldest process counts");
        fs::hard_link(&pod, named.join("cni-1")).unwrap();
        let found = find_pods(&proc, &named, &uids);
        assert_eq!(found[UID].0, named.join("cni-1").display().to_string());

        let systemd = format!("0::/kubepods.slice/kubepods-pod{}.slice/x\n", UID.replace('-', "_"));
        fs::remove_dir_all(&proc).unwrap();
        process(&proc, "self", "", &host);
        process(&proc, "9", &systemd, &pod);
        process(&proc, "3", &systemd, &host);
        assert_eq!(find_pods(&proc, &named, &uids)[UID].1, inode(&pod).unwrap(), "not the host's");
        assert_eq!(find_pods(&proc, &named, &BTreeSet::new()).len(), 0);
    }
}
