// Whom the gateway takes the caller for, and what they may: asked for once for the whole page, and again when something of it has changed.
import { asProblem, type Problem } from "./problem";
import { api, ask, type Schemas } from "./client";
import { delayMs } from "../live/frames";

type WhoAmI = Schemas["WhoAmI"];
export type Administered = keyof Schemas["Administers"];

class Me {
  known = $state.raw<WhoAmI | null>(null);
  problem = $state.raw<Problem | null>(null);

  #attempt = 0;
  #again: ReturnType<typeof setTimeout> | undefined;

  /** What passes by itself is asked for again: what is offered to somebody hangs on the answer. */
  async load(): Promise<void> {
    clearTimeout(this.#again);
    try {
      this.known = await ask(api.GET("/api/whoami", {}));
      this.problem = null;
      this.#attempt = 0;
    } catch (error) {
      const problem = asProblem(error);
      this.problem = problem;
      clearTimeout(this.#again);
      const ms = Math.max(delayMs(this.#attempt++, Math.random()), (problem.retryAfter ?? 0) * 1000);
      if (problem.passes) this.#again = setTimeout(() => void this.load(), ms);
    }
  }

  /** Whether any of these may be seen; `null`: nobody knows yet. */
  sees(...kinds: Administered[]): boolean | null {
    return this.#any(kinds, (extent) => extent !== "none");
  }

  /** Whether any of these may be changed. What is not known is found out by trying. */
  changes(...kinds: Administered[]): boolean {
    return this.#any(kinds, (extent) => extent === "change") ?? true;
  }

  #any(kinds: Administered[], good: (extent: Schemas["Extent"]) => boolean): boolean | null {
    if (!this.known) return null;
    const { administration } = this.known;
    return administration !== undefined && kinds.some((kind) => good(administration[kind]));
  }
}

export const me = new Me();
