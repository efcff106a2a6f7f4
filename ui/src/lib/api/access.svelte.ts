// How this browser is known to the gateway: by nothing (loopback), by its session's cookie, or by a token that somebody typed in. A token is kept
// for this tab alone.
import { store, stored } from "../storage";
import type { Problem } from "./problem";

const KEY = "cordwood.token";

class Access {
  token = $state(stored("sessionStorage", KEY) ?? "");
  /** The gateway wants to know who asks. */
  wanted = $state(false);
  /** A session that the page was shown by is over: what is shown stays until somebody logs in again. */
  over = $state(false);
  /** Somebody has logged out. */
  left = $state(false);
  /** The gateway has answered somebody already. */
  #answered = false;

  use(token: string): void {
    this.token = token.trim();
    store("sessionStorage", KEY, this.token);
    this.wanted = false;
  }

  forget(): void {
    this.token = "";
    store("sessionStorage", KEY, null);
  }

  answered(): void {
    this.#answered = true;
    this.over = false;
  }

  refused(problem: Problem): void {
    if (!problem.detail.includes("/api/login") || this.token) this.wanted = true;
    else if (this.#answered) this.over = true;
    else location.assign(this.login());
  }

  /** Where one logs in, and comes back from to what is shown. */
  login(): string {
    return `/api/login?return=${encodeURIComponent(location.pathname + location.search)}`;
  }
}

export const access = new Access();
