//! Runs the HTTP API beside the other parts: only on a loopback address, unless there is a file of tokens.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use anyhow::anyhow;
use cordwood_gateway::{
    Access, Administration, AgentsSource, Audit, Gateway, Limits, ListenError, Running, Tokens,
};
use cordwood_service::Failure;
use cordwood_store::Store;

use super::parts::Own;
use super::spool::Spool;
use crate::args::StandaloneArgs;

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9600);

/// What the arguments ask for.
pub struct Wanted {
    address: SocketAddr,
    /// The default address is not worth ending for when another program has it.
    must_be: bool,
    access: Access,
    audit_reads: bool,
}

impl Wanted {
    /// `None`: no API. A run that ends by itself has one only when it is asked for.
    ///
    /// # Errors
    /// When anybody could ask, or the file of tokens cannot be used.
    pub fn of(args: &StandaloneArgs) -> Result<Option<Wanted>, Failure> {
        if args.no_gateway || (args.until_idle && args.listen.is_none()) {
            return Ok(None);
        }
        let address = args.listen.unwrap_or(LISTEN);
        let access = match &args.tokens_file {
            Some(file) => Access::Tokens(Tokens::read(file)?),
            None if address.ip().is_loopback() => Access::Loopback,
            None => {
                return Err(Failure::Config(anyhow!(
                    "--listen {address}: others reach this address; --tokens-file must say who may ask (or listen on 127.0.0.1)"
                )));
            }
        };
        // On a loopback address there is one caller, whose audit records would only stand among their own records.
        let audit_reads = args.audit_reads.unwrap_or(args.tokens_file.is_some());
        Ok(Some(Wanted { address, must_be: args.listen.is_some(), access, audit_reads }))
    }
}

/// # Errors
/// When an address that was asked for cannot be had.
pub async fn start(
    wanted: Option<(Wanted, Spool)>,
    store: &Store,
    own: &Own,
    administration: Option<Administration>,
    agents: AgentsSource,
    say: &impl Fn(String),
) -> Result<Option<Running>, Failure> {
    let Some((Wanted { address, must_be, access, audit_reads }, audit_lines)) = wanted else {
        return Ok(None);
    };
    let gateway = Gateway::new(store.clone(), access, &Limits::default(), &own.registry);
    let audit_lines = Mutex::new(audit_lines);
    let audit = Audit::to(audit_reads, move |line| {
        audit_lines.lock().unwrap_or_else(PoisonError::into_inner).write_all(line)
    });
    let gateway = gateway.map_err(|error| Failure::Run(error.into()))?;
    let gateway = gateway.audited(audit).administering(administration).showing_agents(Some(agents));
    let probes = cordwood_service::probes(own.health.clone(), own.registry.clone());
    match cordwood_gateway::start_beside(gateway, address, probes).await {
        Ok(running) => {
            say(format!("answering on http://{}/api/platform/logs", running.address));
            say(format!("open http://{}/ in a browser", running.address));
            Ok(Some(running))
        }
        Err(error @ ListenError::Bind { .. }) if !must_be => {
            say(format!("no HTTP API: {error}; --listen names another address"));
            Ok(None)
        }
        Err(error) => Err(Failure::Config(anyhow!(error).context("--listen"))),
    }
}
