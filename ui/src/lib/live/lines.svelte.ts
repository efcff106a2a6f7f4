// A WebSocket that says a JSON value in each frame and hears nothing: the lines of a task, a monitor. It comes back by itself.
import { tick } from "svelte";
import { Problem } from "../api/problem";
import { afterClose, delayMs } from "./frames";
import { Pace } from "./pace";
import { asksWho, open } from "./socket";

export interface LinesReader<T> {
  /** What came within a moment, in its order. */
  lines(values: T[]): void;
  /** It is open. `again`: it was lost for a while, so that something may be missing. */
  opened?(again: boolean): void;
  /** What may be seen has changed: what is shown may be what is not to be seen any more. */
  changed?(): void;
}

export class LiveLines<T> {
  state = $state<"idle" | "connecting" | "live" | "waiting">("idle");
  /** Why it waits. */
  why = $state("");

  readonly #reader: LinesReader<T>;
  #path = "";
  #socket: WebSocket | null = null;
  #run = 0;
  #attempt = 0;
  #before = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #gathered: T[] = [];
  #gather: ReturnType<typeof setTimeout> | undefined;
  readonly #pace = new Pace();

  constructor(reader: LinesReader<T>) {
    this.#reader = reader;
  }

  /** Takes the place of what ran before. */
  start(path: string): void {
    this.stop();
    this.#path = path;
    this.#attempt = 0;
    this.#before = false;
    void this.#connect();
  }

  stop(): void {
    this.#run += 1;
    clearTimeout(this.#timer);
    clearTimeout(this.#gather);
    this.#gather = undefined;
    this.#gathered = [];
    this.#socket?.close(1000);
    this.#socket = null;
    this.state = "idle";
  }

  async #connect(): Promise<void> {
    const run = ++this.#run;
    this.state = "connecting";
    let socket: WebSocket;
    try {
      socket = await open(this.#path);
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
      if (run !== this.#run) return;
      this.state = "live";
      this.#attempt = 0;
      this.#reader.opened?.(this.#before);
      this.#before = true;
    };
    socket.onmessage = ({ data }) => {
      if (run === this.#run) this.#hear(String(data));
    };
    socket.onclose = ({ code }) => {
      if (run !== this.#run) return;
      this.#socket = null;
      const after = afterClose(code);
      if (after.then === "login") {
        this.state = "idle";
        void asksWho();
      } else if (after.then === "anew") {
        clearTimeout(this.#gather);
        this.#gather = undefined;
        this.#gathered = [];
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
    this.#timer = setTimeout(() => void this.#connect(), delayMs(this.#attempt++, Math.random()));
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
