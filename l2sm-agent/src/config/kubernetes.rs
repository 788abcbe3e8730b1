//! Flags that a node of Kubernetes needs.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::chain::ChainPlaces;

/// Where a container runtime keeps its CNI files. Without the first, nothing there is touched.
#[derive(Clone, Debug, Default, Args)]
pub struct CniDirs {
    /// Directory of CNI configurations, as /etc/cni/net.d: the plugin is kept at the end of the first
    #[arg(long, env = "L2SM_CNI_CONF_DIR", value_name = "DIR", requires = "cni_bin_dir")]
    pub cni_conf_dir: Option<PathBuf>,
    /// Directory of CNI plugins, as /opt/cni/bin
    #[arg(long, env = "L2SM_CNI_BIN_DIR", value_name = "DIR", requires = "cni_conf_dir")]
    pub cni_bin_dir: Option<PathBuf>,
}

impl CniDirs {
    /// Both directories, where they were given.
    pub fn both(&self) -> Option<(&Path, &Path)> {
        self.cni_conf_dir.as_deref().zip(self.cni_bin_dir.as_deref())
    }

    /// Where things are; `plugin`: the file to install, `None`: `l2sm-cni` beside this program.
    pub fn places(&self, plugin: Option<&Path>, socket: &Path) -> Option<ChainPlaces> {
        let (conf_dir, bin_dir) = self.both()?;
        let beside = || {
            let program = std::env::current_exe().unwrap_or_default();
            program.with_file_name("l2sm-cni")
        };
        let is_default = socket == Path::new(l2sm_api::cni::SOCKET);
        Some(ChainPlaces {
            conf_dir: conf_dir.to_owned(),
            bin_dir: bin_dir.to_owned(),
            plugin: plugin.map_or_else(beside, Path::to_owned),
            socket: (!is_default).then(|| socket.to_owned()),
        })
    }
}
