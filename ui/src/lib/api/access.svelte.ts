// How this browser is known to the gateway: by nothing (loopback), by its session's cookie, or by a token that somebody typed in. A token is kept
// for this tab alone.
import type { Problem } from "./problem";

const KEY = "cordwood.token";

class Access {
  token = $state(sessionStorage.getItem(KEY) ?? "");
  /** The gateway wants to know who asks. */
  wanted = $state(false);

  use(token: string): void {
    this.token = token.trim();
    sessionStorage.setItem(KEY, this.token);
    this.wanted = false;
  }

  forget(): void {
    this.token = "";
    sessionStorage.removeItem(KEY);
  }

  refused(problem: Problem): void {
    if (problem.detail.includes("/api/login") && !this.token) {
      const back = location.pathname + location.search;
      location.assign(`/api/login?return=${encodeURIComponent(back)}`);
      return;
    }
    this.wanted = true;
  }
}

export const access = new Access();
