//! Leader election by a Kubernetes lease. A lease alone does not fence, so the DDL sessions also hold advisory locks in
//! PostgreSQL. A replica that wrongly believes it is the leader cannot take them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use prometheus::IntGauge;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use cordwood_service::Health;

use crate::config;
use crate::watched::explain_call;

/// Whether this replica leads, by the lease. Every replica watches and computes; only a leader writes statuses, rules and drops. While
/// it is `Unknown`, table partitions are still created, because the advisory locks of PostgreSQL keep two replicas from doing so at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not known yet, or the API server has been unavailable since before this replica led.
    Unknown,
    Leader,
    /// Another replica leads. This one keeps its copies of the objects up to date, so that it can take over at once.
    Follower,
}

/// Keeps trying to hold the lease until `shutdown`, then releases it; the handle waits for the release. `leads` is 1 while it is held.
pub fn campaign(
    candidate: Candidate,
    health: Health,
    leads: IntGauge,
    shutdown: CancellationToken,
) -> (watch::Receiver<Standing>, JoinHandle<()>) {
    let (sender, receiver) = watch::channel(Standing::Unknown);
    let task = tokio::spawn(async move {
        let mut seen = None;
        loop {
            match candidate.attempt(&mut seen).await {
                Ok(holds) => {
                    health.set("lease", Ok(()));
                    leads.set(i64::from(holds));
                    let standing = if holds { Standing::Leader } else { Standing::Follower };
                    sender.send_if_modified(|current| {
                        let changed = *current != standing;
                        if changed {
                            tracing::info!(?standing, identity = candidate.identity, "standing changed");
                        }
                        *current = standing;
                        changed
                    });
                }
                // A leader goes on while the API server is unavailable: the advisory locks keep the others out.
                Err(error) => health.set("lease", Err(explain_call("get and update", "leases", &error))),
            }
            let pause = tokio::time::sleep(candidate.duration / 4);
            if shutdown.run_until_cancelled(pause).await.is_none() {
                break;
            }
        }
        if *sender.borrow() == Standing::Leader
            && let Err(error) = candidate.resign().await
        {
            tracing::debug!(%error, "give the lease back");
        }
    });
    (receiver, task)
}

pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    duration: Duration,
}

/// A renewal of somebody else, and when we saw it: their clock is not compared with ours.
type Seen = Option<(Option<Timestamp>, std::time::Instant)>;

impl Candidate {
    pub fn new(client: Client, namespace: &str, leader: &config::Leader, identity: String) -> Candidate {
        Candidate {
            api: Api::namespaced(client, namespace),
            name: leader.lease.clone(),
            identity,
            duration: Duration::from_millis(leader.lease_duration_ms),
        }
    }

    /// Whether we hold the lease now.
    async fn attempt(&self, seen: &mut Seen) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                spec: Some(self.claim(None)),
            };
            return match self.api.create(&PostParams::default(), &lease).await {
                Ok(_) => Ok(true),
                Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
                Err(error) => Err(error),
            };
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        if !holder.is_empty() && holder != self.identity {
            let renewed = spec.renew_time.as_ref().map(|time| time.0);
            if seen.as_ref().is_none_or(|(at, _)| *at != renewed) {
                *seen = Some((renewed, std::time::Instant::now()));
                return Ok(false);
            }
            let limit =
                Duration::from_secs(spec.lease_duration_seconds.unwrap_or(10).max(1).unsigned_abs().into());
            if seen.as_ref().is_some_and(|(_, since)| since.elapsed() < limit) {
                return Ok(false);
            }
        }
        lease.spec = Some(self.claim(Some(&spec)));
        // The resource version in the object makes this conditional on nobody having been faster.
        match self.api.replace(&self.name, &PostParams::default(), &lease).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn claim(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let held = before.is_some_and(|spec| spec.holder_identity.as_deref() == Some(&self.identity));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(self.duration.as_secs().max(1)).unwrap_or(i32::MAX)),
            acquire_time: if held {
                before.and_then(|spec| spec.acquire_time.clone())
            } else {
                Some(now.clone())
            },
            renew_time: Some(now),
            lease_transitions: Some(if held { transitions } else { transitions + 1 }),
            ..LeaseSpec::default()
        }
    }

    async fn resign(&self) -> Result<(), kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else { return Ok(()) };
        let Some(spec) = lease.spec.as_mut() else { return Ok(()) };
        if spec.holder_identity.as_deref() == Some(&self.identity) {
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now() - SignedDuration::from_secs(60)));
            self.api.replace(&self.name, &PostParams::default(), &lease).await?;
        }
        Ok(())
    }
}
