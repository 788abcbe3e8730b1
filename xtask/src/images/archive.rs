//! An image as one file: an OCI image layout in a tar archive, which containerd, podman and Docker
//! import without a registry. The same programs give the same bytes: no times, no owners.
//!
//! <https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md>

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// What is in an image, and what it runs.
pub(crate) struct Image {
    /// Names with tags, as in a pod's `image`, such as `l2sm/agent:0.1.0`.
    pub(crate) names: Vec<String>,
    /// Programs: where each is in the image, and the file that is copied there.
    pub(crate) programs: Vec<(String, PathBuf)>,
    /// Symbolic links: where each is in the image, and where it leads.
    pub(crate) links: Vec<(String, String)>,
    /// What runs; the pod's `args` are added.
    pub(crate) entrypoint: Vec<String>,
    /// What is added where the pod has no `args`.
    pub(crate) command: Vec<String>,
    /// `uid:gid`.
    pub(crate) user: &'static str,
}

/// Something that the archive holds under its own digest.
struct Blob {
    digest: String,
    bytes: Vec<u8>,
}

impl Image {
    /// Writes the archive; its size, bytes.
    pub(crate) fn write(&self, file: &Path) -> Result<u64> {
        let layer = self.layer()?;
        let blob = Blob::new(pack(&layer)?);
        let config = Blob::json(&self.config(&layer));
        let manifest = Blob::json(&manifest(&config, &blob));
        let index = index(&self.names, &manifest);
        let docker = docker(&self.names, &config, &blob);
        let created = File::create(file).with_context(|| cannot_write(file))?;
        let mut archive = Builder::new(created);
        let layout = json!({"imageLayoutVersion": "1.0.0"});
        for (name, value) in
            [("oci-layout", layout), ("index.json", index), ("manifest.json", docker)]
        {
            append(&mut archive, name, 0o644, value.to_string().as_bytes())?;
        }
        for blob in [manifest, config, blob] {
            append(&mut archive, &blob.path(), 0o644, &blob.bytes)?;
        }
        archive.into_inner().with_context(|| cannot_write(file))?;
        Ok(fs::metadata(file).with_context(|| cannot_write(file))?.len())
    }

    /// The one layer: a tar archive of its files.
    fn layer(&self) -> Result<Vec<u8>> {
        let mut layer = Builder::new(Vec::new());
        for (path, program) in &self.programs {
            let bytes =
                fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
            append(&mut layer, path, 0o755, &bytes)?;
        }
        for (path, target) in &self.links {
            let mut header = header(EntryType::Symlink, 0o777, 0);
            layer.append_link(&mut header, path, target).context("cannot add a link")?;
        }
        layer.into_inner().context("cannot end a layer")
    }

    fn config(&self, layer: &[u8]) -> Value {
        json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "User": self.user,
                "Env": ["PATH=/bin"],
                "Entrypoint": self.entrypoint,
                "Cmd": self.command,
                "WorkingDir": "/",
            },
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        })
    }
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        Self { digest: digest(&bytes), bytes }
    }

    fn json(value: &Value) -> Self {
        Self::new(value.to_string().into_bytes())
    }

    /// Where it is in the archive.
    fn path(&self) -> String {
        format!("blobs/{}", self.digest.replace(':', "/"))
    }

    /// What refers to it.
    fn descriptor(&self, kind: &str) -> Value {
        let kind = format!("application/vnd.oci.image.{kind}");
        json!({"mediaType": kind, "digest": self.digest, "size": self.bytes.len()})
    }
}

fn manifest(config: &Blob, layer: &Blob) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config.descriptor("config.v1+json"),
        "layers": [layer.descriptor("layer.v1.tar+gzip")],
    })
}

/// Names the image, by every name: containerd takes a whole one from its own annotation.
fn index(names: &[String], manifest: &Blob) -> Value {
    let manifests = names.iter().map(|name| {
        let mut descriptor = manifest.descriptor("manifest.v1+json");
        let platform = json!({"architecture": architecture(), "os": "linux"});
        let annotations = json!({
            "io.containerd.image.name": format!("docker.io/{name}"),
            "org.opencontainers.image.ref.name": tag(name),
        });
        if let Some(fields) = descriptor.as_object_mut() {
            fields.insert("platform".to_owned(), platform);
            fields.insert("annotations".to_owned(), annotations);
        }
        descriptor
    });
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests.collect::<Vec<_>>(),
    })
}

/// What `docker load` reads.
fn docker(names: &[String], config: &Blob, layer: &Blob) -> Value {
    json!([{"Config": config.path(), "RepoTags": names, "Layers": [layer.path()]}])
}

fn tag(name: &str) -> &str {
    name.rsplit_once(':').map_or("latest", |(_, tag)| tag)
}

/// The architecture, by Go's name.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn pack(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).context("cannot pack a layer")?;
    encoder.finish().context("cannot pack a layer")
}

fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().fold("sha256:".to_owned(), |mut text, byte| {
        // Writing to a string never fails.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

fn append<W: Write>(archive: &mut Builder<W>, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
    let size = u64::try_from(bytes.len()).context("too large")?;
    let mut header = header(EntryType::Regular, mode, size);
    archive.append_data(&mut header, path, bytes).with_context(|| format!("cannot add {path}"))
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header
}

fn cannot_write(file: &Path) -> String {
    format!("cannot write {}", file.display())
}
