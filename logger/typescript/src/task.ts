// Tasks: the context that a runner hands to a plugin. What a plugin that knows nothing of it logs is the system's, of the same task.

import { withContext } from "./context";
import type { Logger } from "./logger";

/** What a task runs with. */
export class TaskContext<Config = Record<string, unknown>> {
  readonly taskId: string;
  readonly config: Config;
  /** Its lines are the task's, of the source `plugin` unless the runner said otherwise. */
  readonly logger: Logger;

  constructor(logger: Logger, taskId: string | number, options: { config?: Config; source?: string } = {}) {
    this.taskId = String(taskId);
    this.config = options.config ?? ({} as Config);
    this.logger = logger.child({ taskId: this.taskId, source: options.source ?? "plugin" });
  }
}

/** A plugin: `execute(params)` as ever, or `execute(params, context)`. */
export type Execute<Params, Result, Config> = (params: Params, context: TaskContext<Config>) => Result;

/** Calls either kind of plugin. What is logged meanwhile by any logger is of the task; its source is `system` where none is said. */
export function runTask<Params, Result, Config>(execute: Execute<Params, Result, Config>, params: Params, context: TaskContext<Config>): Result {
  return withContext({ taskId: context.taskId, source: "system" }, () => execute(params, context));
}
