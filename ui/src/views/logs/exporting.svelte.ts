// The whole result as a file: read as it comes, with how far it is, and an end when somebody wants it.
import { fetchRaw } from "$lib/api/client";
import { asProblem, isAbort, type Problem } from "$lib/api/problem";
import type { Query } from "./feed.svelte";

export const FORMS = {
  ndjson: { label: "JSON lines", accept: "application/x-ndjson", ending: "ndjson" },
  csv: { label: "CSV", accept: "text/csv", ending: "csv" },
  text: { label: "Text", accept: "text/plain", ending: "log" },
} as const;
export type Form = keyof typeof FORMS;

class Exporting {
  running = $state(false);
  bytes = $state(0);
  problem = $state.raw<Problem | null>(null);
  /** What the last line said: whether all are there; without a last line nobody knows how many there are. */
  done = $state.raw<{ complete: boolean; records: number | null } | null>(null);
  #abort = new AbortController();

  async run({ filter, from, to }: Query, form: Form): Promise<void> {
    this.cancel();
    this.#abort = new AbortController();
    this.running = true;
    this.bytes = 0;
    this.problem = this.done = null;
    const { accept, ending } = FORMS[form];
    const query = new URLSearchParams(Object.entries({ filter, from, to }).filter(([, value]) => value));
    try {
      const answer = await fetchRaw(`/api/platform/logs?${query}`, { headers: { accept }, signal: this.#abort.signal });
      const parts: BlobPart[] = [];
      let tail = "";
      const decoder = new TextDecoder();
      const reader = answer.body!.getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        parts.push(part.value);
        this.bytes += part.value.length;
        tail = (tail + decoder.decode(part.value, { stream: true })).slice(-4096);
      }
      const end = /\{"end":(\{.*\})\}\s*$/.exec(tail)?.[1];
      this.done = end ? (JSON.parse(end) as { complete: boolean; records: number }) : { complete: false, records: null };
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob(parts, { type: accept }));
      link.download = `cordwood-${new Date().toISOString().slice(0, 19).replace(/:/g, "")}.${ending}`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    } catch (error) {
      if (!isAbort(error)) this.problem = asProblem(error);
    }
    this.running = false;
  }

  cancel(): void {
    this.#abort.abort();
    this.running = false;
  }
}

export const exporting = new Exporting();
