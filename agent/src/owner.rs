//! The tenant and origin of one log, once they are known, and the level rules that apply to it.
//! Promise: no line is sent before the tenant is known. What is known of a deleted pod does not change.

use std::sync::Arc;

use cordwood_core::gate::Gate;
use cordwood_core::levels::{GateTarget, LevelRules};
use cordwood_core::origin::Origin;

use crate::context::{Asked, Context, Lookup};
use crate::lookup::ContextSource;
use crate::source::Source;

/// The tenant and origin of one log.
#[derive(Debug, Default)]
pub struct Owner {
    context: Option<Arc<Context>>,
    /// What the checkpoint remembers.
    remembered: Option<Origin>,
    waiting_since_ms: Option<i64>,
    /// What the log waits for before its first batch, for `/status`.
    waiting_for: Option<&'static str>,
    gate: Gate,
}

/// The result of asking for the owner.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The owner is known and has not changed.
    Same,
    /// The owner is known now, or has changed: [`Owner::set`] takes it.
    New(Arc<Context>),
    /// The owner is not known yet.
    Waits,
}

impl Owner {
    pub fn remember(&mut self, origin: Option<Origin>) {
        self.remembered = origin;
    }

    pub fn context(&self) -> Option<&Arc<Context>> {
        self.context.as_ref()
    }

    pub fn is_known(&self) -> bool {
        self.context.is_some()
    }

    pub fn waiting_for(&self) -> Option<&'static str> {
        self.waiting_for
    }

    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The owner, or the one that the checkpoint remembers.
    pub fn origin(&self) -> Option<&Origin> {
        self.context.as_ref().map(|context| &context.origin).or(self.remembered.as_ref())
    }

    pub fn ask(&mut self, whom: &ContextSource, source: &Source, now_ms: i64) -> Answer {
        if let (Some(_), ContextSource::Kubernetes(cluster), Source::Container { .. }) =
            (&self.context, whom, source)
            && !cluster.is_alive(source)
        {
            return Answer::Same;
        }
        let since_ms = *self.waiting_since_ms.get_or_insert(now_ms);
        let asked = Asked { waited_ms: now_ms - since_ms, remembered: self.remembered.as_ref() };
        match whom.lookup(source, &asked) {
            Lookup::Ready(context) => {
                self.waiting_for = None;
                if self.context.as_ref() == Some(&context) { Answer::Same } else { Answer::New(context) }
            }
            Lookup::Waiting(what) => {
                self.waiting_for = Some(what);
                Answer::Waits
            }
        }
    }

    pub fn set(&mut self, context: Arc<Context>, rules: &LevelRules) {
        self.context = Some(context);
        self.waiting_since_ms = None;
        self.take_rules(rules);
    }

    pub fn take_rules(&mut self, rules: &LevelRules) {
        let Some(context) = &self.context else { return };
        self.gate = rules.gate_for(&GateTarget {
            namespace: &context.origin.namespace,
            labels: context.labels.as_ref(),
            container: &context.origin.container,
            service: &context.origin.service,
            is_exempt: context.is_exempt,
        });
    }
}
