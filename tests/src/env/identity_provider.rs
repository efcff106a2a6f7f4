//! oidc-provider over HTTPS: an identity provider with its login pages, where anyone who gives a name is that person; and a browser that logs in.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use super::cache;
use super::home::Home;
use super::ports::Port;
use super::process::{Process, Program};
use super::wait::wait_for;
use crate::javascript;

pub const CLIENT_ID: &str = "cordwood";
/// With letters that a form and a header write otherwise.
pub const CLIENT_SECRET: &str = "a secret: with % and +";

pub struct IdentityProvider {
    process: Process,
    issuer: String,
    _port: Port,
    home: Home,
}

impl IdentityProvider {
    /// With a client `cordwood` that may send people back to these addresses.
    pub async fn start(redirects: &[&str]) -> Result<IdentityProvider> {
        IdentityProvider::start_at(Ipv4Addr::LOCALHOST.into(), redirects).await
    }

    /// Where others reach it too.
    pub async fn start_at(address: IpAddr, redirects: &[&str]) -> Result<IdentityProvider> {
        let packages = javascript::packages("oidc-provider", "oidc-provider")?;
        let home = Home::new("identity-provider")?;
        let port = Port::free()?;
        symlink(packages.join("node_modules"), home.join("node_modules"))?;
        fs::copy(cache::source("oidc-provider/provider.mjs"), home.join("provider.mjs"))?;
        certificates(home.path(), address)?;
        let issuer = format!("https://{address}:{}", port.number());
        let process = Program::new("identity-provider", "node", home.path())
            .args(["provider.mjs", &issuer, &port.number().to_string(), "tls.crt", "tls.key"])
            .args(redirects)
            .stop_by(Signal::KILL, Duration::from_secs(5))
            .start()?;
        let provider = IdentityProvider { process, issuer: issuer.clone(), _port: port, home };
        let url = format!("{issuer}/.well-known/openid-configuration");
        let ready = wait_for("the identity provider", Duration::from_secs(60), || async {
            provider.browser("ready").ask(&[&url]).await
        });
        ready.await.map(drop).with_context(|| provider.process.log_tail(20))?;
        Ok(provider)
    }

    pub fn issuer(&self) -> String {
        self.issuer.clone()
    }

    /// Its own certificate for loopback, and the key of it.
    pub fn certificate(&self) -> [PathBuf; 2] {
        ["tls.crt", "tls.key"].map(|name| self.home.join(name))
    }

    /// The certificate that signed the provider's own.
    pub fn ca_file(&self) -> PathBuf {
        self.home.join("ca.crt")
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// A browser with cookies of its own.
    pub fn browser(&self, name: &str) -> Browser {
        Browser { jar: self.home.join(format!("{name}.cookies")), ca_file: self.ca_file() }
    }

    /// A token of these claims, which go before those of a good one.
    pub async fn sign(&self, claims: &Value) -> Result<String> {
        let answer = self
            .browser("sign")
            .ask(&["-d", &claims.to_string(), &format!("{}/sign", self.issuer())])
            .await?;
        Ok(serde_json::from_str(&answer.body)?)
    }

    /// From now on another key signs.
    pub async fn rotate(&self) -> Result<()> {
        self.browser("sign").ask(&["-X", "POST", &format!("{}/rotate", self.issuer())]).await.map(drop)
    }
}

/// One that signs, and one for the address that it signed.
pub(super) fn certificates(folder: &Path, address: IpAddr) -> Result<()> {
    let openssl = |arguments: &str| {
        cache::run(Command::new("openssl").args(arguments.split(' ')).current_dir(folder)).map(drop)
    };
    fs::write(folder.join("names"), format!("subjectAltName=IP:{address}\nbasicConstraints=CA:FALSE\n"))?;
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.crt -days 30 -subj /CN=tests -addext basicConstraints=critical,CA:TRUE"
    ))?;
    openssl(&format!("req {key} -keyout tls.key -out tls.csr -subj /CN={address}"))?;
    openssl(
        "x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile names -out tls.crt",
    )
}

/// curl, with cookies.
pub struct Browser {
    jar: PathBuf,
    ca_file: PathBuf,
}

#[derive(Debug)]
pub struct Page {
    pub code: u16,
    pub location: String,
    pub body: String,
}

impl Browser {
    pub async fn ask(&self, arguments: &[&str]) -> Result<Page> {
        let output = tokio::process::Command::new("curl")
            .args(["-s", "-S", "--max-time", "20", "-w", "\n%{http_code} %{redirect_url}", "--cacert"])
            .arg(&self.ca_file)
            .arg("-b")
            .arg(&self.jar)
            .arg("-c")
            .arg(&self.jar)
            .args(arguments)
            .output()
            .await?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        let (body, last) = text.rsplit_once('\n').context("no status")?;
        let (code, location) = last.split_once(' ').context("no status")?;
        Ok(Page { code: code.parse()?, location: location.to_owned(), body: body.to_owned() })
    }

    /// Follows the provider's pages as `login`, and says with which address it would leave them.
    pub async fn log_in(&self, address: &str, login: &str) -> Result<String> {
        let host = |address: &str| address.split('/').nth(2).map(str::to_owned);
        let mut at = address.to_owned();
        for _ in 0..10 {
            if host(&at) != host(address) {
                return Ok(at);
            }
            let mut page = self.ask(&[&at]).await?;
            if page.body.contains(r#"value="login""#) {
                let login = format!("login={login}");
                let form = ["-d", "prompt=login", "--data-urlencode", &login, "-d", "password=x", &at];
                page = self.ask(&form).await?;
            } else if page.body.contains(r#"value="consent""#) {
                page = self.ask(&["-d", "prompt=consent", &at]).await?;
            }
            ensure!(!page.location.is_empty(), "{at}: {page:?}");
            at = page.location;
        }
        anyhow::bail!("the provider's pages do not end: {at}")
    }
}
