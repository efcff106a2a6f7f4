//! A real API server with namespaces, service accounts and roles that grant what Cordwood shows.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use cordwood_crds::{ClusterLogLevelConfig, LogLevelConfig, LogRetentionPolicy, manifests};
use cordwood_gateway::{Access, Cluster, KubernetesAccess};
use cordwood_tests::env::{ApiServer, ApiServerOptions, wait_for};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

/// The namespace of the service accounts.
pub const HOME: &str = "people";
pub const RESOURCES: [&str; 3] = ["logretentionpolicies", "loglevelconfigs", "clusterloglevelconfigs"];
const PATIENCE: Duration = Duration::from_secs(30);

/// The kinds of Cordwood, once they are served.
pub async fn install(cluster: &Kubernetes) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let apply = PatchParams::apply("test").force();
    for manifest in manifests() {
        api.patch(&manifest.crd.name_any(), &apply, &Patch::Apply(&manifest.crd)).await?;
    }
    wait_for("the kinds to be served", PATIENCE, || async {
        Api::<LogRetentionPolicy>::all(cluster.client.clone()).list(&Default::default()).await?;
        Api::<LogLevelConfig>::all(cluster.client.clone()).list(&Default::default()).await?;
        Api::<ClusterLogLevelConfig>::all(cluster.client.clone()).list(&Default::default()).await?;
        Ok(())
    })
    .await
}

pub struct Kubernetes {
    pub server: ApiServer,
    pub client: kube::Client,
}

impl Kubernetes {
    pub async fn start() -> Result<Kubernetes> {
        Kubernetes::start_with(ApiServerOptions::default()).await
    }

    pub async fn start_with(options: ApiServerOptions) -> Result<Kubernetes> {
        let server = ApiServer::start_with(options).await?;
        let client = server.client().await?;
        let cluster = Kubernetes { server, client };
        for name in [HOME, "shop", "bank"] {
            let namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
            Api::<Namespace>::all(cluster.client.clone()).create(&PostParams::default(), &namespace).await?;
        }
        cluster.role("logs", "cordwood.dev", &["logs"], &[]).await?;
        cluster.role("audit", "cordwood.dev", &["logs", "auditlogs"], &[]).await?;
        cluster.role("acme", "cordwood.dev", &["tenants/logs"], &["acme"]).await?;
        cluster.role("pods-log", "", &["pods/log"], &[]).await?;
        Ok(cluster)
    }

    async fn role(&self, name: &str, group: &str, resources: &[&str], names: &[&str]) -> Result<()> {
        let rule =
            json!({"apiGroups": [group], "resources": resources, "resourceNames": names, "verbs": ["get"]});
        self.cluster_role(name, json!([rule])).await
    }

    pub async fn cluster_role(&self, name: &str, rules: Value) -> Result<()> {
        let role = serde_json::from_value(json!({"metadata": {"name": name}, "rules": rules}))?;
        Api::<ClusterRole>::all(self.client.clone()).create(&PostParams::default(), &role).await?;
        Ok(())
    }

    /// A service account's token for this audience.
    pub async fn token(&self, name: &str, audience: &str) -> Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), HOME);
        if accounts.get_opt(name).await?.is_none() {
            let account = serde_json::from_value(json!({"metadata": {"name": name}}))?;
            accounts.create(&PostParams::default(), &account).await?;
        }
        let audiences: Vec<&str> = if audience.is_empty() { vec![] } else { vec![audience] };
        let request: TokenRequest =
            serde_json::from_value(json!({"metadata": {}, "spec": {"audiences": audiences}}))?;
        let made = accounts.create_token_request(name, &PostParams::default(), &request).await?;
        Ok(made.status.context("no token")?.token)
    }

    /// In this namespace; in the whole cluster when it is empty.
    pub async fn bind(&self, name: &str, role: &str, namespace: &str) -> Result<()> {
        let subject = json!({"kind": "ServiceAccount", "name": name, "namespace": HOME});
        self.bind_subject(&format!("{name}-{role}"), subject, role, namespace).await
    }

    pub async fn bind_subject(&self, name: &str, subject: Value, role: &str, namespace: &str) -> Result<()> {
        let binding = json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [subject],
        });
        let create = PostParams::default();
        if namespace.is_empty() {
            let all: Api<ClusterRoleBinding> = Api::all(self.client.clone());
            all.create(&create, &serde_json::from_value(binding)?).await?;
        } else {
            let all: Api<RoleBinding> = Api::namespaced(self.client.clone(), namespace);
            all.create(&create, &serde_json::from_value(binding)?).await?;
        }
        Ok(())
    }

    /// As the gateway's own service account, which may ask these questions and nothing else.
    pub async fn gateway(&self) -> Result<KubernetesAccess> {
        let may_create = |group: &str, resource: &str| json!({"apiGroups": [group], "resources": [resource], "verbs": ["create"]});
        let rules = json!([
            may_create("authentication.k8s.io", "tokenreviews"),
            may_create("authorization.k8s.io", "subjectaccessreviews"),
            {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]},
        ]);
        self.cluster_role("gateway", rules).await?;
        let token = self.token("gateway", "").await?;
        self.bind("gateway", "gateway", "").await?;
        let file = self.server.kubeconfig_for("gateway", &token)?;
        Ok(KubernetesAccess { kubeconfig_file: Some(file), ..KubernetesAccess::default() })
    }
}

pub async fn access(config: &KubernetesAccess) -> Result<Access> {
    Ok(Access::Cluster(Arc::new(Cluster::new(config).await?)))
}
