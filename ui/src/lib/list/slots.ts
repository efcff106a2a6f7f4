// Which element draws which row of a long list. A row that stays keeps its element. While `reuse` holds, a row that comes takes the element of one
// that went, which costs a fraction of a new one; otherwise each has its own, and what is marked in it goes with it. Pure.

export class Slots {
  #of = new Map<string, number>();
  #next = 0;

  /** These rows are shown from now on. */
  take(keys: readonly string[], reuse: boolean): void {
    const before = this.#of;
    const wanted = new Set(keys);
    const free = reuse ? [...before].filter(([key]) => !wanted.has(key)).map(([, slot]) => slot) : [];
    this.#of = new Map();
    let n = 0;
    for (const key of keys) this.#of.set(key, before.get(key) ?? free[n++] ?? this.#next++);
  }

  /** The element of a row that is shown. */
  of(key: string): number {
    return this.#of.get(key) ?? -1;
  }
}
