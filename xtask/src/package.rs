//! Makes the Debian package: the binary with its manual pages and completions, the units, and the
//! files under `/etc/sillon` that an administrator changes.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};
use clap::Args;

use crate::{
    build,
    run::{command, root, run, say},
};

/// `cargo xtask package`
#[derive(Debug, Args)]
pub struct Package {
    /// Where the package is put
    #[arg(long, value_name = "DIR", default_value = "target/package")]
    out: PathBuf,
    /// Package this binary instead of building one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// What is installed, from where in the project, to where, and how it may be used.
const FILES: [(&str, &str, u32); 8] = [
    ("deploy/systemd/sillon-agent.service", "usr/lib/systemd/system", 0o644),
    ("deploy/systemd/sillon-controller.service", "usr/lib/systemd/system", 0o644),
    ("deploy/systemd/sillon.conf", "usr/lib/sysusers.d", 0o644),
    ("deploy/etc/agent.env", CONFIGURATION, 0o644),
    ("deploy/etc/controller.toml", CONFIGURATION, 0o644),
    ("README.md", DOCUMENTATION, 0o644),
    ("LICENSE-MIT", DOCUMENTATION, 0o644),
    ("LICENSE-APACHE", DOCUMENTATION, 0o644),
];
const CONFIGURATION: &str = "etc/sillon";
const DOCUMENTATION: &str = "usr/share/doc/sillon";
/// What Debian asks of a package at its installation and removal.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

impl Package {
    /// Builds what is to be packaged, and packages it.
    pub fn run(&self) -> anyhow::Result<()> {
        let binary = match &self.binary {
            Some(binary) => binary.clone(),
            None => build::build()?,
        };
        let out = root().join(&self.out);
        let tree = out.join("tree");
        if tree.exists() {
            fs::remove_dir_all(&tree).with_context(|| tree.display().to_string())?;
        }
        put(&binary, &tree.join("usr/bin/sillon"), 0o755)?;
        for (from, to, mode) in FILES {
            let from = root().join(from);
            put(&from, &tree.join(to).join(name(&from)?), mode)?;
        }
        manual(&tree)?;
        completions(&tree)?;
        control(&tree)?;
        let package =
            out.join(format!("sillon_{}_{}.deb", env!("CARGO_PKG_VERSION"), architecture()?));
        let mut make = command("dpkg-deb");
        // The default (xz) takes minutes for a binary with debug information.
        make.args(["--root-owner-group", "-Zzstd", "-z3", "--build"]).arg(&tree).arg(&package);
        run(make.stdout(std::process::Stdio::null()))?;
        say(&format!(
            "made {}; install it with: apt install {}",
            package.display(),
            package.display()
        ));
        Ok(())
    }
}

/// Where each shell looks for completions, under what name.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/sillon"),
    ("zsh", "usr/share/zsh/vendor-completions/_sillon"),
    ("fish", "usr/share/fish/vendor_completions.d/sillon.fish"),
];

/// What the packaged binary says of itself.
fn manual(tree: &Path) -> anyhow::Result<()> {
    let pages = tree.join("usr/share/man/man1");
    run(Command::new(tree.join("usr/bin/sillon")).arg("man").arg(&pages))?;
    let mut compress = command("gzip");
    compress.args(["-9", "--no-name", "--recursive"]).arg(&pages);
    run(&mut compress)
}

fn completions(tree: &Path) -> anyhow::Result<()> {
    for (shell, file) in COMPLETIONS {
        let script =
            Command::new(tree.join("usr/bin/sillon")).args(["completion", shell]).output()?;
        if !script.status.success() {
            bail!("sillon completion {shell}: {}", String::from_utf8_lossy(&script.stderr));
        }
        let file = tree.join(file);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        write(&file, &String::from_utf8(script.stdout)?)?;
    }
    Ok(())
}

/// The files that say to Debian what the package is.
fn control(tree: &Path) -> anyhow::Result<()> {
    let folder = tree.join("DEBIAN");
    for script in SCRIPTS {
        put(&root().join("deploy/debian").join(script), &folder.join(script), 0o755)?;
    }
    let template = root().join("deploy/debian/control");
    let text = fs::read_to_string(&template).with_context(|| template.display().to_string())?;
    let text = text
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@ARCHITECTURE@", architecture()?);
    write(&folder.join("control"), &text)?;
    let configuration: String = FILES
        .iter()
        .filter(|(_, to, _)| *to == CONFIGURATION)
        .filter_map(|(from, to, _)| Some(format!("/{to}/{}\n", from.rsplit('/').next()?)))
        .collect();
    write(&folder.join("conffiles"), &configuration)
}

fn name(path: &Path) -> anyhow::Result<&OsStr> {
    path.file_name().with_context(|| format!("{} is no file", path.display()))
}

fn put(from: &Path, to: &Path, mode: u32) -> anyhow::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    fs::copy(from, to).with_context(|| from.display().to_string())?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))
        .with_context(|| to.display().to_string())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}

/// Debian's name for the machine that we build on and for.
fn architecture() -> anyhow::Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("there is no package for {other}; build on x86_64 or aarch64"),
    }
}
