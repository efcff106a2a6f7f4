// A list of the API that is asked for again and again: what is there last, and why it could not be asked.
import { asProblem, type Problem } from "./problem";

export class Listed<T> {
  items = $state.raw<T[] | null>(null);
  problem = $state.raw<Problem | null>(null);
  readonly #ask: () => Promise<{ items: T[] }>;
  /** A list that was asked for before a change says nothing of it. */
  #asked = 0;

  constructor(ask: () => Promise<{ items: T[] }>) {
    this.#ask = ask;
  }

  readonly load = async (): Promise<void> => {
    const mine = ++this.#asked;
    try {
      const { items } = await this.#ask();
      if (mine === this.#asked) [this.items, this.problem] = [items, null];
    } catch (error) {
      if (mine === this.#asked) this.problem = asProblem(error);
    }
  };
}
