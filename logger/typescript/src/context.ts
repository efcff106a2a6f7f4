// Context: fields that every record has until the work that they were given to has ended, however much of it is asynchronous.

import { AsyncLocalStorage } from "node:async_hooks";
import { NONE, over, type Fields, type Made } from "./fields";

const storage = new AsyncLocalStorage<Made>();

/** What is known here. The same object as long as nothing else is. */
export function context(): Made | undefined {
  return storage.getStore();
}

/** Runs `work` with these fields over those that are known here. */
export function withContext<T>(fields: Fields, work: () => T): T {
  return storage.run(over(storage.getStore() ?? NONE, fields), work);
}

/** The rest of the present asynchronous work has these fields too. */
export function enterContext(fields: Fields): void {
  storage.enterWith(over(storage.getStore() ?? NONE, fields));
}
