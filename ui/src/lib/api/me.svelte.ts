// Whom the gateway takes the caller for, and what they may: asked for once for the whole page, and again when something of it has changed.
import { asProblem, type Problem } from "./problem";
import { api, ask, type Schemas } from "./client";

type WhoAmI = Schemas["WhoAmI"];
export type Administered = keyof Schemas["Administers"];

class Me {
  known = $state.raw<WhoAmI | null>(null);
  problem = $state.raw<Problem | null>(null);

  async load(): Promise<void> {
    try {
      this.known = await ask(api.GET("/api/whoami", {}));
      this.problem = null;
    } catch (error) {
      this.problem = asProblem(error);
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
