// A live stream of records, `cordwood.v1`: it comes back where it was, and takes no more than its reader asked for.
import { Problem } from "../api/problem";
import type { LogRecord } from "../api/client";
import { Connection, type ConnectionState } from "./connection.svelte";
import { frameOf, type Frame, type GapFrame } from "./frames";

export type StreamFilter = string | Record<string, string | string[]>;

export interface StreamReader {
  records(items: LogRecord[], late: boolean): void;
  gap(gap: GapFrame): void;
  /** A mistake in the filter, or why the stream is refused. */
  error(problem: Problem): void;
  /** What may be seen has changed: what is shown must be loaded again. */
  changed?(): void;
}

export class LiveStream {
  readonly #reader: StreamReader;
  readonly #connection: Connection;
  #filter: StreamFilter = "";
  #cursor: string | null = null;
  #credit = 0;

  constructor(reader: StreamReader) {
    this.#reader = reader;
    const hearer = {
      opened: () => this.#connection.say({ type: "start", filter: this.#filter, after: this.#cursor ?? undefined, credit: this.#credit }),
      heard: (text: string) => this.#hear(frameOf(text)),
      changed: () => reader.changed?.(),
    };
    this.#connection = new Connection(hearer, ["cordwood.v1"]);
  }

  get state(): ConnectionState {
    return this.#connection.state;
  }
  /** Why it waits. */
  get why(): string {
    return this.#connection.why;
  }

  /** `after`: a cursor or a record's id; `null`: from now on. */
  start(filter: StreamFilter, after: string | null, credit: number): void {
    this.#filter = filter;
    this.#cursor = after;
    this.#credit = credit;
    this.#connection.start("/api/platform/logs/stream");
  }

  stop(): void {
    this.#connection.stop();
  }

  /** So many records more can be taken. */
  credit(n: number): void {
    if (n <= 0) return;
    this.#credit += n;
    this.#connection.say({ type: "credit", n });
  }

  /** Takes back all credit: what comes is counted, and told as a gap. */
  pause(): void {
    this.#credit = 0;
    this.#connection.say({ type: "pause" });
  }

  /** Other records from here on; what was shown stays. */
  filter(filter: StreamFilter): void {
    this.#filter = filter;
    this.#connection.say({ type: "filter", filter });
  }

  #hear(frame: Frame | null): void {
    switch (frame?.type) {
      case "hello":
        this.#connection.state = "catching-up";
        break;
      case "caughtUp":
        this.#cursor = frame.cursor;
        this.#connection.live();
        break;
      case "records":
        this.#cursor = frame.cursor;
        this.#credit = Math.max(0, this.#credit - frame.items.length);
        this.#reader.records(frame.items, frame.late === true);
        break;
      case "gap":
        this.#cursor = frame.cursor;
        this.#reader.gap(frame);
        break;
      case "error":
        this.#reader.error(
          new Problem({
            type: `urn:cordwood:problem:${frame.at === "filter" ? "filter" : "stream"}`,
            title: frame.at === "filter" ? "The filter is wrong" : "The live stream",
            status: 400,
            detail: frame.message,
            parameter: frame.at,
            position: frame.position,
          }),
        );
        break;
    }
  }
}
