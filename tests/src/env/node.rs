//! A whole Kubernetes node: API server, controller manager, scheduler, containerd, kubelet, kube-proxy and a bridge for the
//! pods, all real, in one folder. Needs root.
//!
//! One node at a time on a machine (its address, its control groups and kube-proxy's tables are the machine's), which a lock
//! sees to. What a node leaves behind (mounts, control groups, links, pods) is removed by one script, `node_down.sh`, which
//! waits on a pipe: it runs when the value is dropped, and also when the test's process is killed.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1 as core;
use kube::api::Api;
use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;

use super::api_server::{ApiServer, ApiServerOptions};
use super::cache::{self, say};
use super::home::Home;
use super::ports::Port;
use super::process::{Process, Program};
use super::wait::wait_for;
use super::{image, kubernetes};

const NAME: &str = "node-1";
/// Of TEST-NET-1 (RFC 5737); a node's address may not be loopback, so it is added to `lo`.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const BRIDGE: &str = "cordwood0";
const PODS: &str = "10.244.0.0/24";
const NODE_TOKEN: &str = "cordwood-test-node";

#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The kubelet rotates a container's log above this (`1Mi`).
    pub log_size_max: String,
    pub log_files_max: u32,
    /// How often it looks at their sizes; 3 at the least.
    pub log_look_every_s: u32,
}

impl Default for NodeOptions {
    fn default() -> NodeOptions {
        NodeOptions { log_size_max: "10Mi".to_owned(), log_files_max: 5, log_look_every_s: 10 }
    }
}

/// A running node, Ready.
pub struct Node {
    // First: the script runs before anything else is dropped.
    down: Down,
    programs: Vec<Process>,
    api: ApiServer,
    home: Home,
    _ports: Vec<Port>,
    _lock: File,
}

impl Node {
    pub async fn start() -> Result<Node> {
        Node::start_with(NodeOptions::default()).await
    }

    pub async fn start_with(options: NodeOptions) -> Result<Node> {
        if !rustix::process::geteuid().is_root() {
            bail!("a node needs root (network links, mounts, control groups)");
        }
        let binaries = kubernetes::binaries()?;
        let generator = image::generator()?;
        let lock = lock().await?;
        let home = Home::new("node")?;
        let down = Down::new(&home)?;
        cache::run(Command::new("ip").args(["address", "replace", &format!("{ADDRESS}/32"), "dev", "lo"]))?;
        let api = ApiServer::start_with(ApiServerOptions {
            address: ADDRESS.into(),
            tokens: vec![format!("{NODE_TOKEN},system:node:{NAME},{NAME},\"system:nodes\"")],
            ..ApiServerOptions::default()
        })
        .await?;
        let mut ports = Vec::new();
        let mut port = || -> Result<u16> {
            let port = Port::free()?;
            let number = port.number();
            ports.push(port);
            Ok(number)
        };
        let mut programs = vec![
            control(&home, &binaries, "kube-controller-manager", &api, port()?)
                .arg(format!("--root-ca-file={}", api.ca_file().display()))
                .arg(format!("--service-account-private-key-file={}", api.service_account_key().display()))
                .start()?,
            control(&home, &binaries, "kube-scheduler", &api, port()?).start()?,
            containerd(&home)?.start()?,
        ];
        let socket = home.join("containerd.sock");
        wait_for("containerd to answer", Duration::from_secs(30), || async {
            cache::run(Command::new("ctr").arg("--address").arg(&socket).arg("version"))
        })
        .await
        .with_context(|| programs[2].log_tail(20))?;
        import(&socket, &generator.join("image.tar"))?;
        programs.push(kubelet(&home, &binaries, &api, &options, port()?)?.start()?);
        programs.push(proxy(&home, &binaries, &api, [port()?, port()?])?.start()?);
        let mut node = Node { down, programs, api, home, _ports: ports, _lock: lock };
        node.wait_ready().await?;
        Ok(node)
    }

    pub fn api(&self) -> &ApiServer {
        &self.api
    }

    pub async fn client(&self) -> Result<kube::Client> {
        self.api.client().await
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.api.kubeconfig()
    }

    /// Where pods and this process both reach what listens on the node.
    pub fn address(&self) -> IpAddr {
        ADDRESS.into()
    }

    pub fn name(&self) -> &'static str {
        NAME
    }

    /// Makes the image in a docker archive known to the node (`imagePullPolicy: Never` or `IfNotPresent`).
    pub fn import_image(&self, archive: &Path) -> Result<()> {
        import(&self.home.join("containerd.sock"), archive)
    }

    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(kubernetes::kubectl()?);
        cache::run(command.args(arguments).env("KUBECONFIG", self.kubeconfig()))
    }

    /// `kubectl edit`: `editor` is the command that changes the file it is given.
    pub fn kubectl_edit(&self, arguments: &[&str], editor: &str) -> Result<String> {
        let mut command = Command::new(kubernetes::kubectl()?);
        cache::run(command.args(arguments).env("KUBECONFIG", self.kubeconfig()).env("KUBE_EDITOR", editor))
    }

    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(kubernetes::helm()?);
        let state = self.home.join("helm");
        command.env("HELM_CACHE_HOME", &state).env("HELM_CONFIG_HOME", &state).env("HELM_DATA_HOME", &state);
        cache::run(command.args(arguments).env("KUBECONFIG", self.kubeconfig()))
    }

    /// SIGKILL to the processes of a running container, as the kernel's out-of-memory killer does.
    pub async fn kill_container(&self, namespace: &str, pod: &str, container: &str) -> Result<()> {
        let pods: Api<core::Pod> = Api::namespaced(self.client().await?, namespace);
        let found = pods.get(pod).await.with_context(|| format!("get pod {namespace}/{pod}"))?;
        let statuses = found.status.and_then(|status| status.container_statuses).unwrap_or_default();
        let status = statuses.iter().find(|status| status.name == container);
        let id = status
            .filter(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()))
            .and_then(|status| status.container_id.as_deref()?.strip_prefix("containerd://"))
            .with_context(|| {
                let why = status.map(|status| (&status.state, &status.last_state, status.restart_count));
                format!("container {container} of {namespace}/{pod} does not run: {why:?}")
            })?;
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.home.join("containerd.sock"));
        cache::run(command.args([
            "--namespace",
            "k8s.io",
            "task",
            "kill",
            "--signal",
            "SIGKILL",
            "--all",
            id,
        ]))
        .map(drop)
    }

    /// What the node's programs said last, for a failing test.
    pub fn log_tails(&self) -> String {
        self.programs.iter().map(|program| program.log_tail(8)).collect::<Vec<_>>().join("\n")
    }

    /// Takes the node down and says whether everything is gone; what dropping does, but with an answer.
    pub fn stop(mut self) -> Result<()> {
        self.down.run();
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("read the mounts")?;
        let home = self.home.path().display().to_string();
        anyhow::ensure!(!mounts.contains(&format!("{home}/")), "mounts are left under {home}");
        anyhow::ensure!(!Path::new("/sys/class/net").join(BRIDGE).exists(), "the bridge {BRIDGE} is left");
        anyhow::ensure!(!Path::new("/sys/fs/cgroup/memory/kubepods").exists(), "control groups are left");
        Ok(())
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let nodes: Api<core::Node> = Api::all(self.client().await?);
        let began = Instant::now();
        loop {
            for program in &mut self.programs {
                program.check()?;
            }
            let node = nodes.get_opt(NAME).await.context("get the node")?;
            let conditions = node.and_then(|node| node.status?.conditions).unwrap_or_default();
            if conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True") {
                break;
            }
            if began.elapsed() > Duration::from_secs(120) {
                bail!("the node is not Ready after 120 s: {conditions:?}\n{}", self.log_tails());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // Pods need the default service account, which the controller manager makes.
        let accounts: Api<core::ServiceAccount> = Api::namespaced(self.client().await?, "default");
        wait_for("the default service account", Duration::from_secs(60), || async {
            accounts.get("default").await.context("get it")
        })
        .await
        .map(drop)
    }
}

/// Waits for another test's node to be gone.
async fn lock() -> Result<File> {
    let path = std::env::temp_dir().join("cordwood-node.lock");
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    let mut said = false;
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        if !said {
            say("another test has the node: waiting");
            said = true;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(file)
}

/// The script that takes the node down, waiting for its pipe to close.
struct Down {
    script: Option<Child>,
}

impl Down {
    fn new(home: &Home) -> Result<Down> {
        let mut before = String::new();
        for folder in ["/var/log/pods", "/var/log/containers"] {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                before.push_str(&format!("{}\n", entry.path().display()));
            }
        }
        fs::write(home.join("logs-before"), before).context("note what /var/log/pods holds")?;
        let path = home.join("node_down.sh");
        fs::write(&path, include_str!("node_down.sh"))
            .with_context(|| format!("write {}", path.display()))?;
        // A session of its own: it must outlive whatever ends this process.
        let script = Command::new("setsid")
            .arg("bash")
            .arg(&path)
            .arg("wait")
            .arg(home.path())
            .args([BRIDGE, &ADDRESS.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start node_down.sh")?;
        Ok(Down { script: Some(script) })
    }

    fn run(&mut self) {
        if let Some(mut script) = self.script.take() {
            drop(script.stdin.take());
            let _ = script.wait();
        }
    }
}

impl Drop for Down {
    fn drop(&mut self) {
        self.run();
    }
}

fn import(socket: &Path, archive: &Path) -> Result<()> {
    let mut command = Command::new("ctr");
    command.arg("--address").arg(socket).args(["--namespace", "k8s.io", "images", "import"]);
    cache::run(command.arg(archive)).map(drop)
}

/// Controller manager or scheduler, as administrator.
fn control(home: &Home, binaries: &Path, name: &str, api: &ApiServer, port: u16) -> Program {
    Program::new(name, binaries.join(name), home.path())
        .arg(format!("--kubeconfig={}", api.kubeconfig().display()))
        .args(["--leader-elect=false", "--bind-address=127.0.0.1"])
        .arg(format!("--secure-port={port}"))
        .arg(format!("--cert-dir={}", home.join(name).display()))
        .stop_by(Signal::KILL, Duration::from_secs(5))
}

fn containerd(home: &Home) -> Result<Program> {
    let folder = home.path().display();
    // restrict_oom_score_adj: without CAP_SYS_RESOURCE (in a container or sandbox) runc could not lower a score.
    let config = format!(
        r#"version = 2
root = "{folder}/containerd/root"
state = "{folder}/containerd/state"
[grpc]
address = "{folder}/containerd.sock"
[ttrpc]
address = "{folder}/containerd.sock.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{}"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{folder}/cni/net.d"
"#,
        image::GENERATOR
    );
    let network = serde_json::json!({"cniVersion": "0.4.0", "name": "cordwood", "plugins": [
        {"type": "bridge", "bridge": BRIDGE, "isGateway": true, "ipam": {
            "type": "host-local", "dataDir": home.join("cni/addresses"),
            "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]}},
        {"type": "loopback"}]});
    fs::create_dir_all(home.join("cni/net.d")).context("create the CNI folder")?;
    fs::write(home.join("cni/net.d/10-bridge.conflist"), network.to_string())
        .context("write the CNI configuration")?;
    let path = home.join("containerd.toml");
    fs::write(&path, config).with_context(|| format!("write {}", path.display()))?;
    Ok(Program::new("containerd", "containerd", home.path()).arg("--config").arg(path))
}

fn kubelet(
    home: &Home,
    binaries: &Path,
    api: &ApiServer,
    options: &NodeOptions,
    port: u16,
) -> Result<Program> {
    let config = serde_json::json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "cgroupDriver": "cgroupfs", "failSwapOn": false, "failCgroupV1": false, "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": false, "resolvConf": "",
        "containerRuntimeEndpoint": format!("unix://{}", home.join("containerd.sock").display()),
        "containerLogMaxSize": options.log_size_max, "containerLogMaxFiles": options.log_files_max,
        "containerLogMonitorInterval": format!("{}s", options.log_look_every_s), "containerLogMaxWorkers": 4,
        "address": ADDRESS.to_string(), "port": port, "readOnlyPort": 0, "healthzPort": 0,
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%"},
        // A container that a test kills comes back soon, also the third time.
        "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
        "featureGates": {"KubeletCrashLoopBackOffMax": true},
    });
    let path = home.join("kubelet.json");
    fs::write(&path, config.to_string()).with_context(|| format!("write {}", path.display()))?;
    let kubeconfig = api.kubeconfig_for(NAME, NODE_TOKEN)?;
    Ok(Program::new("kubelet", binaries.join("kubelet"), home.path())
        .arg(format!("--config={}", path.display()))
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--root-dir={}", home.join("kubelet").display()))
        .arg(format!("--cert-dir={}", home.join("kubelet-certificates").display()))
        .arg(format!("--hostname-override={NAME}"))
        .arg(format!("--node-ip={ADDRESS}")))
}

fn proxy(home: &Home, binaries: &Path, api: &ApiServer, ports: [u16; 2]) -> Result<Program> {
    let config = serde_json::json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": "nftables",
        "clientConnection": {"kubeconfig": api.kubeconfig()}, "hostnameOverride": NAME, "clusterCIDR": PODS,
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "healthzBindAddress": format!("127.0.0.1:{}", ports[0]), "metricsBindAddress": format!("127.0.0.1:{}", ports[1]),
    });
    let path = home.join("kube-proxy.json");
    fs::write(&path, config.to_string()).with_context(|| format!("write {}", path.display()))?;
    Ok(Program::new("kube-proxy", binaries.join("kube-proxy"), home.path())
        .arg(format!("--config={}", path.display())))
}
