//! `cordwood crds`: the custom resource definitions, as `kubectl apply -f -` takes them.

use std::io::Write;

use anyhow::{Context, anyhow};
use cordwood_crds::manifests;
use cordwood_service::Failure;

use crate::Outcome;
use crate::args::CrdsArgs;

pub fn run(args: &CrdsArgs) -> Result<Outcome, Failure> {
    let mut out = String::new();
    let mut known = Vec::new();
    for manifest in manifests() {
        let names = &manifest.crd.spec.names;
        let mut aliases = vec![names.kind.clone(), names.plural.clone()];
        aliases.extend(names.short_names.clone().unwrap_or_default());
        let wanted = args
            .name
            .as_ref()
            .is_none_or(|name| aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name)));
        if wanted {
            out.push_str("---\n");
            out.push_str(manifest.yaml.trim_end());
            out.push('\n');
        }
        known.push(aliases.join(", "));
    }
    if out.is_empty() {
        let name = args.name.as_deref().unwrap_or_default();
        return Err(Failure::Config(anyhow!(
            "there is no resource {name:?}: there are {}",
            known.join("; ")
        )));
    }
    std::io::stdout().write_all(out.as_bytes()).context("write to stdout").map_err(Failure::Run)?;
    Ok(Outcome::Done)
}
