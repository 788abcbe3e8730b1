//! Certificates as `l2sm-controller certs` makes them, and some that it does not make.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType, date_time_ymd,
    string::Ia5String,
};

use crate::cluster::program;

/// A directory of certificates.
#[derive(Clone, Debug)]
pub struct Pki {
    directory: PathBuf,
}

impl Pki {
    /// An authority in `directory`, a certificate for a server at `address`, an admin's, and those of
    /// nodes `n1` to `n<count>`.
    pub fn new(directory: &Path, address: &str, count: u8) -> Self {
        let pki = Self { directory: directory.to_owned() };
        let nodes: Vec<_> = (1..=count).map(|number| format!("n{number}")).collect();
        let mut arguments = vec!["--server", address];
        for node in &nodes {
            arguments.extend(["--node", node]);
        }
        pki.certs(&arguments);
        pki
    }

    /// Runs `l2sm-controller certs`; what it printed.
    pub fn certs(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(program("l2sm-controller"));
        command.args(["certs", "--dir"]).arg(&self.directory).args(arguments);
        let output = command.output().expect("the controller is built");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "certs {arguments:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A file of it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Flags of `l2sm-controller serve`.
    pub fn server_flags(&self) -> Vec<String> {
        self.flags([
            ("--tls-cert", "server.crt"),
            ("--tls-key", "server.key"),
            ("--client-ca", "ca.crt"),
        ])
    }

    /// Flags of a client that has `stem.crt` and `stem.key`.
    pub fn client_flags(&self, stem: &str) -> Vec<String> {
        let (cert, key) = (format!("{stem}.crt"), format!("{stem}.key"));
        self.flags([("--tls-ca", "ca.crt"), ("--tls-cert", &cert), ("--tls-key", &key)])
    }

    fn flags(&self, flags: [(&str, &str); 3]) -> Vec<String> {
        let flags = flags.map(|(flag, name)| {
            [flag.to_owned(), self.path(name).to_str().expect("a name").to_owned()]
        });
        flags.into_iter().flatten().collect()
    }

    /// Replaces `stem.crt` by one for the same key, signed by the same authority, that names `uri`
    /// and ended in 2021.
    pub fn expire(&self, stem: &str, uri: &str) {
        let read = |name: &str| fs::read_to_string(self.path(name)).expect("is there");
        let key = |name: &str| KeyPair::from_pem(&read(name)).expect("a key");
        let issuer = Issuer::from_ca_cert_pem(&read("ca.crt"), key("ca.key"));
        let mut params = CertificateParams::default();
        let uri = Ia5String::try_from(uri).expect("ASCII");
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        let key = key(&format!("{stem}.key"));
        let certificate = params.signed_by(&key, &issuer.expect("an authority"));
        let pem = certificate.expect("can be signed").pem();
        fs::write(self.path(&format!("{stem}.crt")), pem).expect("can be written");
    }
}
