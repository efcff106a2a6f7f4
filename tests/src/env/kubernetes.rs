//! Kubernetes' programs and Helm, built from source by Go into the cache: the module `tests/k8s` names the version.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::cache;

const VERSION: &str = "1.34.4";
const HELM_VERSION: &str = "3.22.0";
const PROGRAMS: [&str; 6] =
    ["kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet"];

/// The folder with `kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubectl kubelet`.
pub fn binaries() -> Result<PathBuf> {
    let what = format!("Kubernetes {VERSION} (built by Go from source, about 4 minutes, 2 GB of memory)");
    cache::entry(&format!("kubernetes-{VERSION}"), &what, |folder| {
        let version = format!("v{VERSION}");
        let flags = format!(
            "-s -w -X k8s.io/component-base/version.gitVersion={version} -X k8s.io/client-go/pkg/version.gitVersion={version}"
        );
        cache::run(
            go().args(["build", "-trimpath", "-mod=readonly", "-ldflags"])
                .arg(flags)
                .arg("-o")
                .arg(folder)
                .args(PROGRAMS.map(|program| format!("k8s.io/kubernetes/cmd/{program}")))
                .current_dir(cache::source("k8s")),
        )
        .map(drop)
    })
}

pub fn kubectl() -> Result<PathBuf> {
    Ok(binaries()?.join("kubectl"))
}

pub fn helm() -> Result<PathBuf> {
    let what = format!("Helm {HELM_VERSION} (built by Go from source, about a minute)");
    let folder = cache::entry(&format!("helm-{HELM_VERSION}"), &what, |folder| {
        cache::run(
            go().args(["install", "-trimpath", "-ldflags", "-s -w"])
                .arg(format!("helm.sh/helm/v3/cmd/helm@v{HELM_VERSION}"))
                .env("GOBIN", folder)
                .current_dir(folder),
        )
        .map(drop)
    })?;
    Ok(folder.join("helm"))
}

/// Builds alike on every machine: without C, without a workspace of the user's.
pub(super) fn go() -> Command {
    let mut command = Command::new("go");
    command.env("CGO_ENABLED", "0").env("GOWORK", "off");
    command
}

/// Writes an RSA key that signs service accounts' tokens.
pub(crate) fn service_account_key(path: &Path) -> Result<()> {
    cache::run(Command::new("openssl").args(["genrsa", "-out"]).arg(path).arg("2048"))
        .map(drop)
        .context("make the key for service accounts")
}
