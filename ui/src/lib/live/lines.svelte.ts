// A stream that says a JSON value in each frame and hears nothing: the lines of a task, a monitor.
import { tick } from "svelte";
import { Connection, type ConnectionState } from "./connection.svelte";
import { Pace } from "./pace";

export interface LinesReader<T> {
  /** What came within a moment, in its order. */
  lines(values: T[]): void;
  /** It is open. `again`: it was lost for a while, so that something may be missing. */
  opened?(again: boolean): void;
  /** What may be seen has changed: what is shown may be what is not to be seen any more. */
  changed?(): void;
}

export class LiveLines<T> {
  readonly #reader: LinesReader<T>;
  readonly #connection: Connection;
  #before = false;
  #gathered: T[] = [];
  #gather: ReturnType<typeof setTimeout> | undefined;
  readonly #pace = new Pace();

  constructor(reader: LinesReader<T>) {
    this.#reader = reader;
    this.#connection = new Connection({
      opened: () => this.#opened(),
      heard: (text) => this.#hear(text),
      changed: () => {
        this.#forget();
        reader.changed?.();
      },
    });
  }

  get state(): ConnectionState {
    return this.#connection.state;
  }
  /** Why it waits. */
  get why(): string {
    return this.#connection.why;
  }

  /** Takes the place of what ran before. */
  start(path: string): void {
    this.#forget();
    this.#before = false;
    this.#connection.start(path);
  }

  stop(): void {
    this.#forget();
    this.#connection.stop();
  }

  #opened(): void {
    this.#connection.live();
    this.#reader.opened?.(this.#before);
    this.#before = true;
  }

  #forget(): void {
    clearTimeout(this.#gather);
    this.#gather = undefined;
    this.#gathered = [];
  }

  #hear(text: string): void {
    try {
      this.#gathered.push(JSON.parse(text) as T);
    } catch {
      return;
    }
    this.#gather ??= setTimeout(() => this.#tell(), this.#pace.delayMs(performance.now()));
  }

  #tell(): void {
    const begin = performance.now();
    this.#gather = undefined;
    const values = this.#gathered.splice(0);
    this.#reader.lines(values);
    void tick().then(() => this.#pace.drew(values.length, begin, performance.now()));
  }
}
