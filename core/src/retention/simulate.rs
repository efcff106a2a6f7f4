//! Applies a step to a catalogue in memory: for the lint, for `plan` on the command line, and for simulations.

use super::catalogue::{Catalogue, Leaf, LeafState};
use super::step::{LeafRef, Step};

impl Catalogue {
    /// The catalogue after `step`, as PostgreSQL would be. Steps that do not apply change nothing.
    pub fn apply(&mut self, step: &Step, now_us: i64) {
        match step {
            Step::PutClass(row) => match self.classes.iter_mut().find(|class| class.id == row.id) {
                Some(class) => {
                    let has_table = class.has_table;
                    *class = row.clone();
                    class.has_table = has_table;
                }
                None => self.classes.push(row.clone()),
            },
            Step::PutHold(hold) => {
                self.holds.retain(|known| known.policy != hold.policy);
                self.holds.push(hold.clone());
            }
            Step::LiftHold { policy } => self.holds.retain(|known| known.policy != *policy),
            Step::CreateClassTable { class } => {
                if let Some(class) = self.classes.iter_mut().find(|known| known.id == *class) {
                    class.has_table = true;
                }
            }
            Step::PutRoutes(routes) => self.routes = Some(routes.clone()),
            Step::CreateLeaf(leaf) => {
                self.leaves.retain(|known| known.key() != *leaf || known.state != LeafState::Missing);
                if self.leaf(*leaf).is_none() {
                    self.leaves.push(Leaf {
                        table: leaf.table(),
                        class: leaf.class,
                        from_us: leaf.from_us,
                        to_us: leaf.to_us,
                        bytes: 0,
                        empty: true,
                        blocks: 0,
                        oldest_us: None,
                        newest_us: None,
                        records: None,
                        state: LeafState::Attached,
                    });
                }
            }
            Step::Reattach(leaf) => self.set_state(*leaf, LeafState::Attached),
            Step::Detach(leaf) | Step::FinalizeDetach(leaf) | Step::MarkDetached(leaf) => {
                self.set_state(*leaf, LeafState::Detached { at_us: Some(now_us) });
            }
            Step::Drop(leaf) | Step::Forget(leaf) => self.leaves.retain(|known| known.key() != *leaf),
        }
    }

    fn set_state(&mut self, key: LeafRef, state: LeafState) {
        if let Some(leaf) = self.leaves.iter_mut().find(|leaf| leaf.key() == key) {
            leaf.state = state;
        }
    }
}
