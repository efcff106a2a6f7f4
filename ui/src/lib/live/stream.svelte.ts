// A live stream of records, `cordwood.v1`: it comes back by itself where it was, and takes no more than whoever reads it asked for.
import { Problem } from "../api/problem";
import type { LogRecord } from "../api/client";
import { afterClose, delayMs, frameOf, type Frame, type GapFrame } from "./frames";
import { asksWho, open } from "./socket";

export type StreamState = "idle" | "connecting" | "catching-up" | "live" | "waiting";
export type StreamFilter = string | Record<string, string | string[]>;

export interface StreamReader {
  records(items: LogRecord[], late: boolean): void;
  gap(gap: GapFrame): void;
  /** A mistake in the filter, or why the stream is refused. */
  error(problem: Problem): void;
  /** What may be seen has changed: what is shown is to be asked for anew. */
  changed?(): void;
}

export class LiveStream {
  state = $state<StreamState>("idle");
  /** Why it waits. */
  why = $state("");

  readonly #reader: StreamReader;
  #socket: WebSocket | null = null;
  #filter: StreamFilter = "";
  #cursor: string | null = null;
  #credit = 0;
  #attempt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Which connection is meant: what a former one says is passed over. */
  #run = 0;

  constructor(reader: StreamReader) {
    this.#reader = reader;
  }

  /** `after`: a cursor or a record's id; `null`: from now on. */
  start(filter: StreamFilter, after: string | null, credit: number): void {
    this.stop();
    this.#filter = filter;
    this.#cursor = after;
    this.#credit = credit;
    this.#attempt = 0;
    void this.#connect();
  }

  stop(): void {
    this.#run += 1;
    clearTimeout(this.#timer);
    this.#socket?.close(1000);
    this.#socket = null;
    this.state = "idle";
  }

  /** So many records more can be taken. */
  credit(n: number): void {
    if (n <= 0) return;
    this.#credit += n;
    this.#say({ type: "credit", n });
  }

  /** Takes back all credit: what comes is counted, and told as a gap. */
  pause(): void {
    this.#credit = 0;
    this.#say({ type: "pause" });
  }

  /** Other records from here on; what was shown stays. */
  filter(filter: StreamFilter): void {
    this.#filter = filter;
    this.#say({ type: "filter", filter });
  }

  #say(frame: unknown): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  async #connect(): Promise<void> {
    const run = ++this.#run;
    this.state = "connecting";
    let socket: WebSocket;
    try {
      socket = await open("/api/platform/logs/stream", ["cordwood.v1"]);
    } catch (error) {
      if (run !== this.#run) return;
      if (error instanceof Problem && error.status === 401) {
        this.state = "idle";
        return;
      }
      this.#again(error instanceof Problem ? error.detail : "The connection was lost.");
      return;
    }
    if (run !== this.#run) {
      socket.close();
      return;
    }
    this.#socket = socket;
    socket.onopen = () => {
      const after = this.#cursor ?? undefined;
      this.#say({ type: "start", filter: this.#filter, after, credit: this.#credit });
    };
    socket.onmessage = ({ data }) => {
      if (run !== this.#run) return;
      const frame = frameOf(String(data));
      if (frame) this.#hear(frame);
    };
    socket.onclose = ({ code }) => {
      if (run !== this.#run) return;
      this.#socket = null;
      const after = afterClose(code);
      if (after.then === "login") {
        this.state = "idle";
        void asksWho();
      } else if (after.then === "anew") {
        this.#reader.changed?.();
        // Whoever reads may have begun anew.
        if (run === this.#run) void this.#connect();
      } else {
        this.#again(after.why);
      }
    };
  }

  #again(why: string): void {
    this.state = "waiting";
    this.why = why;
    const delay = delayMs(this.#attempt++, Math.random());
    this.#timer = setTimeout(() => void this.#connect(), delay);
  }

  #hear(frame: Frame): void {
    switch (frame.type) {
      case "hello":
        this.state = "catching-up";
        break;
      case "caughtUp":
        this.#cursor = frame.cursor;
        this.#attempt = 0;
        this.state = "live";
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
      case "bye":
        break;
    }
  }
}
