// What a refusal says of each field, so that a form can say it where the field is.
import type { Problem } from "./problem";

export class FieldErrors {
  readonly #messages = new Map<string, string[]>();

  constructor(problem: Problem | null) {
    for (const { field, message } of problem?.body.errors ?? []) {
      this.#messages.set(field, [...(this.#messages.get(field) ?? []), message]);
    }
  }

  /** What is wrong with a field, or with a part of it; empty: nothing. */
  of(...fields: string[]): string {
    const said = [...this.#messages].filter(([name]) => fields.some((field) => name === field || name.startsWith(`${field}.`) || name.startsWith(`${field}[`)));
    return said.flatMap(([, messages]) => messages).join("; ");
  }

  /** Whether each message has its place among these fields: else the refusal is to be shown as a whole too. */
  allOf(fields: readonly string[]): boolean {
    if (this.#messages.size === 0) return false;
    return [...this.#messages.keys()].every((name) => fields.some((field) => name === field || name.startsWith(`${field}.`) || name.startsWith(`${field}[`)));
  }
}
