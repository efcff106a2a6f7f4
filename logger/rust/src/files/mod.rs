//! Writes log files on hosts without a cluster: one file for each plugin, and one for the supervisor's events. The agent reads them by a glob.

mod line;
mod plugin;
mod rotating;
mod supervisor;

pub use line::FileLine;
pub use plugin::{Captured, PluginLogger};
pub use rotating::{FILE_BYTES_MAX, OLDER_FILES_MAX};
pub use supervisor::Supervisor;

/// The folder, where nobody names another.
pub const FOLDER: &str = "/var/log/toru";
