//! Sends one request to one pod, and to no other: directly before the request it asks the API server once more whose the address is.
//!
//! The address must be the pod's own, by UID, before the connection is made and again when it is open. So a pod that has got the address
//! since never sees the request. It follows no redirect, uses no proxy, resolves no name, and reads a bounded answer.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use cordwood_core::limits::PUSH_ANSWER_BYTES_MAX;
use cordwood_service::kubernetes::explain_call;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::pods::{place, runs};
use super::ways::Asked;
use crate::leader::Standing;

/// A pod that takes longer to connect, or to answer, has not answered.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Unanswered {
    /// The pod is no more, or is about to go: what it was told goes with it.
    Gone,
    /// For a person to read. The answer itself is never in it.
    Failed(String),
    /// Another replica leads, or may.
    NotLeader,
}

/// Asks pods.
pub struct Wire {
    client: Client,
    standing: watch::Receiver<Standing>,
    allow_loopback: bool,
}

impl Wire {
    pub fn new(client: Client, standing: watch::Receiver<Standing>, allow_loopback: bool) -> Wire {
        Wire { client, standing, allow_loopback }
    }

    /// What the pod with this UID answers, if it is a success.
    ///
    /// # Errors
    /// Else.
    pub async fn ask(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        port: u16,
        asked: &Asked,
    ) -> Result<Bytes, Unanswered> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let ip = self.address(&pods, name, uid).await?;
        let address = SocketAddr::new(ip, port);
        let failed = |what: &str| Unanswered::Failed(format!("port {port}: {what}"));
        let stream = match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
            Err(_) => return Err(failed("no connection in time")),
            Ok(Err(error)) => return Err(failed(&error.kind().to_string())),
            Ok(Ok(stream)) => stream,
        };
        if self.address(&pods, name, uid).await? != ip {
            return Err(failed("the pod has got another address"));
        }
        if *self.standing.borrow() != Standing::Leader {
            return Err(Unanswered::NotLeader);
        }
        match tokio::time::timeout(PATIENCE, exchange(stream, address, asked)).await {
            Err(_) => Err(failed("no answer in time")),
            Ok(answer) => answer.map_err(|why| failed(&why)),
        }
    }

    /// Where the pod is now, as the API server itself says.
    async fn address(&self, pods: &Api<Pod>, name: &str, uid: &str) -> Result<IpAddr, Unanswered> {
        match pods.get_opt(name).await {
            Ok(Some(pod)) if pod.metadata.uid.as_deref() == Some(uid) && runs(&pod) => {
                place(&pod, self.allow_loopback).map_err(|why| Unanswered::Failed(why.to_owned()))
            }
            Ok(_) => Err(Unanswered::Gone),
            Err(error) => Err(Unanswered::Failed(explain_call("get", "pods", &error))),
        }
    }
}

async fn exchange(stream: TcpStream, address: SocketAddr, asked: &Asked) -> Result<Bytes, String> {
    let mut request = Request::builder()
        .method(asked.method.clone())
        .uri(&asked.path)
        .header(header::HOST, address.to_string())
        .header(header::USER_AGENT, "cordwood-operator")
        .header(header::ACCEPT, "application/json, */*;q=0.5")
        .header(header::CONNECTION, "close");
    let body = asked.body.clone().unwrap_or_default();
    if !body.is_empty() {
        let is_json = body.starts_with(['{', '[', '"']);
        let kind = if is_json { "application/json" } else { "text/plain; charset=utf-8" };
        request = request.header(header::CONTENT_TYPE, kind);
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|_| "no such path".to_owned())?;
    let (mut sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(|_| "no HTTP/1.1".to_owned())?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(async move {
        // (Its end is seen in the answer.)
        let _ = connection.await;
    }));
    let answer = sender
        .send_request(request)
        .await
        .map_err(|_| "the connection ended without an answer".to_owned())?;
    let status = answer.status();
    if status.is_redirection() {
        return Err(format!("answer {}: a redirect is not followed", status.as_u16()));
    }
    if !status.is_success() {
        return Err(format!("answer {}", status.as_u16()));
    }
    let body = Limited::new(answer.into_body(), PUSH_ANSWER_BYTES_MAX).collect().await;
    Ok(body.map_err(|_| "its answer ends early or is too long".to_owned())?.to_bytes())
}
