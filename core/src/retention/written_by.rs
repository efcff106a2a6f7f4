//! Who wrote the fields that decide whether a policy keeps its records (`legalHold`, `suspend`, `mode`).

/// Who wrote what keeps a policy's records, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenBy {
    /// The program, and when.
    pub manager: Option<String>,
    /// Whom the policy names as the one who let its records go. Of an earlier time, where they are kept again.
    pub releaser: Option<String>,
}

impl WrittenBy {
    /// Who is named for a change; `is_release`: it lets records go.
    pub fn of_change(&self, is_release: bool) -> Option<String> {
        match (self.releaser.as_ref().filter(|_| is_release), &self.manager) {
            (Some(releaser), Some(manager)) => Some(format!("{releaser} (written by {manager})")),
            (releaser, manager) => releaser.or(manager.as_ref()).cloned(),
        }
    }
}
