//! Makes one change of one resource: checks the right, reads the old resource, previews or writes the new one, and records who did it.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::preview::preview;
use super::resource::{Resource, Wanted};
use super::{Administrator, Place, Verb, version};
use crate::Gateway;
use crate::problem::Problem;
use crate::question::Parameters;
use crate::routes::json;

/// How a change is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Nothing is written: what would follow is told.
    pub preview: bool,
    /// It must not be there yet.
    pub only_new: bool,
    /// What it must be now, as a header says it.
    pub version: Option<String>,
}

impl Options {
    pub const NAMES: [&str; 1] = ["preview"];

    /// # Errors
    /// What is wrong with the parameters or the header.
    pub fn of(parameters: &mut Parameters, headers: &HeaderMap) -> Result<Options, Problem> {
        let preview = match parameters.one("preview")?.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(Problem::parameter("preview", "must be true or false")),
        };
        let version = match headers.get(header::IF_MATCH) {
            None => None,
            Some(tag) => {
                let tag = tag.to_str().unwrap_or_default().trim();
                let version = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
                let version = version.filter(|version| !version.is_empty());
                Some(
                    version
                        .ok_or_else(|| Problem::parameter("If-Match", "must be \"RESOURCEVERSION\""))?
                        .to_owned(),
                )
            }
        };
        Ok(Options { preview, only_new: false, version })
    }
}

/// Makes a resource what somebody wants it to be.
///
/// # Errors
/// The same where it is not there and where it may not be changed.
pub async fn put(
    gateway: &Gateway,
    who: &Administrator,
    wanted: Wanted,
    options: &Options,
) -> Result<Response, Problem> {
    let administration = gateway.administration()?;
    let Wanted { place, spec, version: known } = wanted;
    let before = administration.get(&place).await?;
    let verb = if before.is_some() && !options.only_new { Verb::Update } else { Verb::Create };
    if !gateway.may(who, verb, &place).await? {
        return Err(Problem::no_resource());
    }
    if options.only_new && before.is_some() {
        return Err(Problem::is_there());
    }
    for known in [&known, &options.version].into_iter().flatten() {
        if before.as_ref().and_then(version) != Some(known) {
            return Err(Problem::changed_meanwhile());
        }
    }
    if options.preview {
        who.look.only_looks();
        return preview(gateway, who, &place, Some(&spec)).await;
    }
    let after = administration.put(&place, &spec, before.as_ref()).await?;
    told(who, &place, before.as_ref(), Some(&after));
    let status = if before.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, json(&Resource::from(after))?).into_response())
}

/// Takes a resource away.
///
/// # Errors
/// The same where it is not there and where it may not be deleted.
pub async fn delete(
    gateway: &Gateway,
    who: &Administrator,
    place: &Place,
    options: &Options,
) -> Result<Response, Problem> {
    let administration = gateway.administration()?;
    if !gateway.may(who, Verb::Delete, place).await? {
        return Err(Problem::no_resource());
    }
    let before = administration.get(place).await?.ok_or_else(Problem::no_resource)?;
    if options.version.as_deref().is_some_and(|known| version(&before) != Some(known)) {
        return Err(Problem::changed_meanwhile());
    }
    if options.preview {
        who.look.only_looks();
        return preview(gateway, who, place, None).await;
    }
    administration.delete(place, &before).await?;
    told(who, place, Some(&before), None);
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Who changed what, in the record of the request.
fn told(who: &Administrator, place: &Place, before: Option<&Value>, after: Option<&Value>) {
    let spec = |object: Option<&Value>| object.map(|object| object["spec"].clone());
    who.look.about("resource", format!("{}/{}/{}", place.kind.plural(), place.namespace, place.name));
    who.look.changed(spec(before), spec(after));
}
