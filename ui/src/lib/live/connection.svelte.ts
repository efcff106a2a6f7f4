// A WebSocket that comes back by itself, later each time, until it is stopped. What a former one says is passed over.
import { Problem } from "../api/problem";
import { afterClose, delayMs } from "./frames";
import { asksWho, open } from "./socket";

export type ConnectionState = "idle" | "connecting" | "catching-up" | "live" | "waiting";

export interface Hearer {
  opened(): void;
  heard(text: string): void;
  /** What may be seen has changed: the connection is opened again at once, unless the hearer has opened another. */
  changed(): void;
}

export class Connection {
  state = $state<ConnectionState>("idle");
  /** Why it waits. */
  why = $state("");

  readonly #hearer: Hearer;
  readonly #protocols: string[];
  #path = "";
  #socket: WebSocket | null = null;
  /** Which socket is meant. */
  #run = 0;
  #attempt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(hearer: Hearer, protocols: string[] = []) {
    this.#hearer = hearer;
    this.#protocols = protocols;
  }

  /** Takes the place of what ran before. */
  start(path: string): void {
    this.stop();
    this.#path = path;
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

  /** Nothing is missing any more: the next loss is the first again. */
  live(): void {
    this.state = "live";
    this.#attempt = 0;
  }

  say(frame: unknown): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  async #connect(): Promise<void> {
    const run = ++this.#run;
    this.state = "connecting";
    let socket: WebSocket;
    try {
      socket = await open(this.#path, this.#protocols);
    } catch (error) {
      if (run !== this.#run) return;
      if (error instanceof Problem && error.status === 401) this.state = "idle";
      else this.#again(error instanceof Problem ? error.detail : "The connection was lost.");
      return;
    }
    if (run !== this.#run) {
      socket.close();
      return;
    }
    this.#socket = socket;
    socket.onopen = () => {
      if (run === this.#run) this.#hearer.opened();
    };
    socket.onmessage = ({ data }) => {
      if (run === this.#run) this.#hearer.heard(String(data));
    };
    socket.onclose = ({ code }) => {
      if (run === this.#run) this.#closed(code, run);
    };
  }

  #closed(code: number, run: number): void {
    this.#socket = null;
    const after = afterClose(code);
    if (after.then === "login") {
      this.state = "idle";
      void asksWho();
    } else if (after.then === "at-once") {
      this.#hearer.changed();
      // The hearer may have opened another connection.
      if (run === this.#run) void this.#connect();
    } else {
      this.#again(after.why);
    }
  }

  #again(why: string): void {
    this.state = "waiting";
    this.why = why;
    this.#timer = setTimeout(() => void this.#connect(), delayMs(this.#attempt++, Math.random()));
  }
}
