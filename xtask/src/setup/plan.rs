//! What to do about what is missing: a value, made without touching the machine.

use super::found::{Found, Rust, Source, System};
use super::step::Step;

/// What to do, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// What the user has to install, in words: we cannot.
    pub(super) by_hand: Vec<String>,
}

impl Plan {
    /// Whether nothing is missing.
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.by_hand.is_empty()
    }
}

/// What to do on a machine that has what `found` says.
pub(super) fn plan(found: &Found) -> Plan {
    let mut plan = Plan::default();
    match found.system {
        System::Debian => plan.steps.extend(packages(found)),
        System::Other(_) => plan.by_hand = by_hand(found),
    }
    if found.rust.rustup {
        plan.steps.extend(rust(&found.rust));
    } else {
        plan.by_hand.push("rustup (https://rustup.rs)".to_owned());
    }
    if found.linker.is_none() {
        plan.steps.push(Step::Linker);
    }
    if !found.bpffs {
        plan.steps.push(Step::Bpffs);
    }
    plan
}

/// The Debian packages to install, each once, after an update of the lists.
fn packages(found: &Found) -> Vec<Step> {
    let mut packages: Vec<&str> = found.missing.iter().map(|(_, package)| *package).collect();
    packages.extend(&found.linker_needs);
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() { Vec::new() } else { vec![Step::AptUpdate, Step::Apt(packages)] }
}

/// What rustup is to add.
fn rust(rust: &Rust) -> Vec<Step> {
    let channel = || rust.channel.clone();
    let toolchain = (!rust.toolchain).then(|| Step::Toolchain(channel()));
    let checkers = (!rust.checkers).then(|| Step::Checkers(channel()));
    let source = (rust.source == Source::Nowhere).then(|| Step::RustSrc(channel()));
    toolchain.into_iter().chain(checkers).chain(source).collect()
}

/// What to install by hand, where we do not know how.
fn by_hand(found: &Found) -> Vec<String> {
    let programs =
        found.missing.iter().map(|(name, package)| format!("{name} (Debian: {package})"));
    let llvm = "LLVM 22 and zstd with their development files, or bpf-linker 0.13 itself";
    programs.chain(found.linker.is_none().then(|| llvm.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command;

    /// A Debian machine that has everything.
    fn complete() -> Found {
        Found {
            system: System::Debian,
            root: true,
            rust: Rust {
                channel: "1.2.3".to_owned(),
                rustup: true,
                toolchain: true,
                checkers: true,
                source: Source::Rustup,
            },
            linker: Some("bpf-linker 0.13.0".to_owned()),
            linker_needs: Vec::new(),
            missing: Vec::new(),
            bpffs: true,
        }
    }

    #[test]
    fn a_machine_that_has_everything_needs_nothing() {
        assert!(plan(&complete()).is_empty());
    }

    #[test]
    fn a_package_that_has_two_missing_programs_is_installed_once_after_an_update() {
        let missing =
            vec![("nsenter", "util-linux"), ("ping", "iputils-ping"), ("dmesg", "util-linux")];
        let plan = plan(&Found { missing, ..complete() });
        assert_eq!(plan.steps, [Step::AptUpdate, Step::Apt(vec!["iputils-ping", "util-linux"])]);
    }

    #[test]
    fn the_linker_is_built_after_what_it_is_built_with() {
        let plan = plan(&Found { linker: None, linker_needs: vec!["llvm-22-dev"], ..complete() });
        let expected = [Step::AptUpdate, Step::Apt(vec!["llvm-22-dev"]), Step::Linker];
        assert_eq!(plan.steps, expected);
    }

    #[test]
    fn a_missing_toolchain_comes_before_its_components() {
        let bare =
            Rust { toolchain: false, checkers: false, source: Source::Nowhere, ..complete().rust };
        let names = ["toolchain install", "component add", "component add"];
        let plan = plan(&Found { rust: bare, ..complete() });
        let typed: Vec<_> = plan.steps.iter().map(|step| command::typed(&step.command())).collect();
        assert_eq!(typed.len(), names.len());
        assert!(typed.iter().zip(names).all(|(typed, name)| typed.contains(name)), "{typed:?}");
    }

    #[test]
    fn debians_toolchain_does_for_rust_src() {
        let rust = Rust { source: Source::Debian, ..complete().rust };
        assert!(plan(&Found { rust, ..complete() }).is_empty());
    }

    #[test]
    fn elsewhere_the_user_is_told_what_to_install() {
        let system = System::Other("fedora".to_owned());
        let plan =
            plan(&Found { system, linker: None, missing: vec![("ip", "iproute2")], ..complete() });
        assert_eq!(plan.by_hand.len(), 2);
        assert!(plan.by_hand.iter().any(|item| item.starts_with("ip ")));
    }

    #[test]
    fn rustup_itself_is_the_users_to_install() {
        let rust = Rust { rustup: false, ..complete().rust };
        assert_eq!(plan(&Found { rust, ..complete() }).by_hand, ["rustup (https://rustup.rs)"]);
    }

    #[test]
    fn an_unmounted_bpf_file_system_is_mounted_by_root() {
        let plan = plan(&Found { bpffs: false, ..complete() });
        assert_eq!(plan.steps, [Step::Bpffs]);
        assert!(plan.steps.iter().all(Step::needs_root));
    }
}
