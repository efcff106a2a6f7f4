//! Tasks: what a plugin is given to log with, and a runner for plugins with and without it.

use crate::context::with_context;
use crate::fields::Fields;
use crate::logger::Logger;

/// What a task gives to who carries it out.
#[derive(Clone, Debug)]
pub struct TaskContext<C = ()> {
    pub task_id: String,
    /// Its records are of the task; their source is `plugin`.
    pub logger: Logger,
    pub config: C,
}

impl<C> TaskContext<C> {
    pub fn new(task_id: impl Into<String>, logger: &Logger, config: C) -> TaskContext<C> {
        let task_id = task_id.into();
        let logger = logger.with(&Fields::new().with("taskId", &task_id).with("source", PLUGIN));
        TaskContext { task_id, logger, config }
    }

    /// The same with another source.
    #[must_use]
    pub fn with_source(mut self, source: &str) -> TaskContext<C> {
        self.logger = self.logger.with_source(source);
        self
    }
}

const PLUGIN: &str = "plugin";
/// The source of what a task's plugin logs by other loggers than the context's.
const SYSTEM: &str = "system";

/// Something that carries out tasks. Old ones know of no context, and need not.
pub trait Plugin<P, R, C = ()> {
    fn execute(&self, params: P) -> R;

    fn execute_with_context(&self, params: P, context: &TaskContext<C>) -> R {
        let _ = context;
        self.execute(params)
    }
}

/// Runs a plugin, with a context where there is one. Within a task every record of the thread is the task's; by loggers that
/// know of no task its source is `system`.
pub fn run_plugin<P, R, C>(
    plugin: &(impl Plugin<P, R, C> + ?Sized),
    params: P,
    context: Option<&TaskContext<C>>,
) -> R {
    let Some(context) = context else { return plugin.execute(params) };
    let fields = Fields::new().with("taskId", &context.task_id).with("source", SYSTEM);
    with_context(&fields, || plugin.execute_with_context(params, context))
}
