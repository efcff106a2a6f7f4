// The end of a process: what waits is written, after an uncaught exception or a refused promise with a record of it, and before a
// signal that nobody else handles takes effect.

import { errorFields } from "./errors";
import { ERROR } from "./levels";
import { complain, type Logging } from "./logging";

const SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP"] as const;

/** Watches over the end of this process. */
export function watch(logging: Logging): void {
  const end = () => {
    const missing = logging.delivery.end();
    if (missing > 0) complain(`${missing} records were not written: the output is closed or stalled`);
  };
  process.on("exit", end);
  // It only looks: what an uncaught exception does to the process stays as it is.
  process.on("uncaughtExceptionMonitor", (error: unknown, origin: string) => {
    logging.first.write(ERROR, origin === "unhandledRejection" ? "unhandled rejection" : "uncaught exception", errorFields(error));
  });
  for (const signal of SIGNALS) {
    const handle = () => {
      if (process.listenerCount(signal) > 1) {
        logging.flush();
        return;
      }
      end();
      process.removeListener(signal, handle);
      process.kill(process.pid, signal);
    };
    try {
      process.on(signal, handle);
    } catch {
      // A worker thread gets no signals.
    }
  }
}
