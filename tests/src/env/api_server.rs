//! kube-apiserver on its own etcd: the real API, without a node. Admission, CEL rules, RBAC and watches are Kubernetes' own.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::home::Home;
use super::kubernetes;
use super::ports::Port;
use super::process::{Process, Program};
use super::wait::wait_for;

/// Of the group `system:masters`.
pub const ADMIN_TOKEN: &str = "cordwood-test-admin";
/// The range of services' addresses.
const SERVICES: &str = "10.96.0.0/16";

#[derive(Clone, Debug)]
pub struct ApiServerOptions {
    /// The address that clients and pods are told; not loopback when there are pods.
    pub address: IpAddr,
    /// More rows of the token file: `token,user,uid,"group,group"`.
    pub tokens: Vec<String>,
    /// More arguments.
    pub arguments: Vec<String>,
}

impl Default for ApiServerOptions {
    fn default() -> ApiServerOptions {
        ApiServerOptions { address: [127, 0, 0, 1].into(), tokens: Vec::new(), arguments: Vec::new() }
    }
}

/// A running API server; the client may do anything.
pub struct ApiServer {
    server: Process,
    program: Program,
    etcd: Process,
    options: ApiServerOptions,
    port: Port,
    _etcd_ports: [Port; 2],
    home: Home,
}

impl ApiServer {
    pub async fn start() -> Result<ApiServer> {
        ApiServer::start_with(ApiServerOptions::default()).await
    }

    pub async fn start_with(options: ApiServerOptions) -> Result<ApiServer> {
        let binaries = kubernetes::binaries()?;
        let home = Home::new("api-server")?;
        let (port, etcd_client, etcd_peer) = (Port::free()?, Port::free()?, Port::free()?);
        let etcd_url = format!("http://127.0.0.1:{}", etcd_client.number());
        let etcd = etcd(&home, &etcd_url, etcd_peer.number()).start()?;
        kubernetes::service_account_key(&home.join("service-accounts.key"))?;
        let mut tokens = format!("{ADMIN_TOKEN},admin,admin,\"system:masters\"\n");
        for token in &options.tokens {
            tokens.push_str(token);
            tokens.push('\n');
        }
        fs::write(home.join("tokens.csv"), tokens).context("write the token file")?;
        let program = server(&home, &binaries.join("kube-apiserver"), &options, port.number(), &etcd_url);
        let server = program.start()?;
        let mut server =
            ApiServer { server, program, etcd, options, port, _etcd_ports: [etcd_client, etcd_peer], home };
        server.wait_ready().await?;
        Ok(server)
    }

    /// `https://address:port`.
    pub fn url(&self) -> String {
        format!("https://{}:{}", self.options.address, self.port.number())
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// A kubeconfig file of the administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.home.join("kubeconfig")
    }

    /// A kubeconfig for another token, `name.kubeconfig` in this server's folder.
    pub fn kubeconfig_for(&self, name: &str, token: &str) -> Result<PathBuf> {
        self.write_kubeconfig(&format!("{name}.kubeconfig"), token, &self.url())
    }

    /// The same, by way of another address (a proxy on loopback, for which the certificate holds too).
    pub fn kubeconfig_through(&self, name: &str, url: &str) -> Result<PathBuf> {
        self.write_kubeconfig(&format!("{name}.kubeconfig"), ADMIN_TOKEN, url)
    }

    /// The certificate that signs the server's own.
    pub fn ca_file(&self) -> PathBuf {
        self.home.join("certificates/apiserver.crt")
    }

    /// The private key that signs service accounts' tokens.
    pub fn service_account_key(&self) -> PathBuf {
        self.home.join("service-accounts.key")
    }

    /// An administrator's client.
    pub async fn client(&self) -> Result<kube::Client> {
        self.client_of(&self.kubeconfig()).await
    }

    pub async fn client_of(&self, kubeconfig: &Path) -> Result<kube::Client> {
        let file = kube::config::Kubeconfig::read_from(kubeconfig)
            .with_context(|| format!("read {}", kubeconfig.display()))?;
        let config = kube::Config::from_custom_kubeconfig(file, &kube::config::KubeConfigOptions::default())
            .await
            .context("read the kubeconfig")?;
        kube::Client::try_from(config).context("make a client of the API server")
    }

    /// SIGKILL to the API server alone; etcd keeps what it has.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts the API server again on the same data and port.
    pub async fn restart(&mut self) -> Result<()> {
        self.server.kill();
        self.server = self.program.start()?;
        self.wait_ready().await
    }

    pub fn process(&self) -> &Process {
        &self.server
    }

    fn write_kubeconfig(&self, file: &str, token: &str, url: &str) -> Result<PathBuf> {
        let path = self.home.join(file);
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: '{url}', certificate-authority: '{}'}}}}]\n\
             users: [{{name: test, user: {{token: '{token}'}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n",
            self.ca_file().display()
        );
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let began = std::time::Instant::now();
        while !self.ca_file().is_file() {
            self.server.check()?;
            self.etcd.check()?;
            anyhow::ensure!(
                began.elapsed() < Duration::from_secs(60),
                "no certificate\n{}",
                self.server.log_tail(20)
            );
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        self.write_kubeconfig("kubeconfig", ADMIN_TOKEN, &self.url())?;
        let ready = wait_for("the API server's /readyz", Duration::from_secs(90), || async {
            // A client reads the certificate once. The server creates the file before it writes it, so each attempt reads it again.
            let client = self.client().await?;
            let request = http::Request::get("/readyz").body(Vec::new()).context("make a request")?;
            client.request_text(request).await.context("GET /readyz")
        })
        .await;
        self.server.check()?;
        ready.map(drop).with_context(|| self.server.log_tail(20))
    }
}

fn etcd(home: &Home, url: &str, peer_port: u16) -> Program {
    let peer = format!("http://127.0.0.1:{peer_port}");
    Program::new("etcd", "etcd", home.path())
        .args(["--name", "test", "--unsafe-no-fsync", "--log-level", "error", "--data-dir"])
        .arg(home.join("etcd"))
        .args(["--listen-client-urls", url, "--advertise-client-urls", url])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("test={peer}")])
        .stop_by(Signal::KILL, Duration::from_secs(5))
}

fn server(home: &Home, path: &Path, options: &ApiServerOptions, port: u16, etcd_url: &str) -> Program {
    // Loopback is served too when the address is another: the certificate names both.
    let bind = if options.address.is_loopback() { "127.0.0.1" } else { "0.0.0.0" };
    let key = home.join("service-accounts.key");
    Program::new("kube-apiserver", path, home.path())
        .arg(format!("--etcd-servers={etcd_url}"))
        .arg(format!("--bind-address={bind}"))
        .arg(format!("--advertise-address={}", options.address))
        .arg(format!("--secure-port={port}"))
        .arg(format!("--cert-dir={}", home.join("certificates").display()))
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .arg(format!("--service-account-key-file={}", key.display()))
        .arg(format!("--service-account-signing-key-file={}", key.display()))
        .arg(format!("--service-cluster-ip-range={SERVICES}"))
        .arg("--authorization-mode=Node,RBAC")
        .arg("--kubelet-preferred-address-types=InternalIP")
        .arg(format!("--token-auth-file={}", home.join("tokens.csv").display()))
        .arg("--allow-privileged=true")
        .arg("--event-ttl=1h")
        .args(&options.arguments)
        // It waits a minute for its watches when asked to stop; nothing here needs that.
        .stop_by(Signal::KILL, Duration::from_secs(5))
}
