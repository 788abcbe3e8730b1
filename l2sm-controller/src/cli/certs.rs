//! `l2sm-controller certs`.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use l2sm_api::{
    grpc::tls::{Identity, Role},
    objects::field::name_fault,
};
use l2sm_controller::certs::{self, CertsOrder, Written};

/// Makes an authority and certificates for the server, nodes and admins, for use without Kubernetes.
///
/// What is there is used again: no key is ever replaced. What is named again gets a new certificate
/// for its key.
#[derive(Debug, clap::Args)]
pub(super) struct Certs {
    /// Directory of the files; made when absent. Keep ca.key in it to yourself.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Nodes that get a certificate each, which is good for that node only.
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',', value_parser = parse_name)]
    node: Vec<String>,
    /// Admins that get a certificate each, for l2smctl [default: admin, where there is none].
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',', value_parser = parse_name)]
    admin: Vec<String>,
    /// Host names and addresses by which agents and l2smctl reach the server, besides localhost.
    #[arg(long, value_name = "HOST_OR_IP", num_args = 1.., value_delimiter = ',')]
    server: Vec<String>,
    /// How long the certificates are good, days.
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
}

impl Certs {
    /// Makes them; the result is what to print.
    pub(super) fn run(&self) -> anyhow::Result<String> {
        let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
        let order = CertsOrder {
            directory: self.dir.clone(),
            nodes: set(&self.node),
            admins: set(&self.admin),
            servers: set(&self.server),
            days: self.days,
        };
        let written = certs::make(&order, time::OffsetDateTime::now_utc())?;
        Ok(self.report(&written)?)
    }

    fn report(&self, written: &[Written]) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        for Written { path, what, kept } in written {
            let did = if *kept { "kept" } else { "made" };
            writeln!(text, "{did}  {}: {what}", path.display())?;
        }
        let dir = &self.dir;
        let file = |name: &str| dir.join(name).display().to_string();
        let (server, ca) = (file("server"), file("ca.crt"));
        let url = format!(
            "https://{}:30808",
            self.server.first().map_or_else(|| "localhost".to_owned(), |host| bracketed(host))
        );
        writeln!(text, "\nThe controller:")?;
        writeln!(
            text,
            "  l2sm-controller serve --store l2sm.redb --listen [::]:30808 \
             --tls-cert {server}.crt --tls-key {server}.key --client-ca {ca}"
        )?;
        for name in &self.node {
            let stem = client_stem(dir, Role::Node, name);
            writeln!(text, "Node {name} (copy ca.crt and these two files there, nothing else):")?;
            writeln!(
                text,
                "  l2sm-agent --node-name {name} --controller {url} \
                 --tls-ca {ca} --tls-cert {stem}.crt --tls-key {stem}.key"
            )?;
        }
        let admin = self.admin.first().map_or("admin", String::as_str);
        let stem = client_stem(dir, Role::Admin, admin);
        writeln!(text, "Admin {admin}:")?;
        writeln!(
            text,
            "  l2smctl --server {url} --tls-ca {ca} --tls-cert {stem}.crt --tls-key {stem}.key status"
        )?;
        Ok(text)
    }
}

fn client_stem(dir: &Path, role: Role, name: &str) -> String {
    certs::stem(dir, &Identity { role, name: name.to_owned() }).display().to_string()
}

/// An IPv6 address as URLs have it.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn parse_name(name: &str) -> Result<String, String> {
    name_fault(name).map_or_else(|| Ok(name.to_owned()), Err)
}
