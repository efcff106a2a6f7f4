// A WebSocket of the gateway's own origin. Where a token is in use, a ticket opens it, since a page can send no header with a WebSocket.
import { access } from "../api/access.svelte";
import { api, ask, fetchRaw } from "../api/client";

export async function open(path: string, protocols: string[] = []): Promise<WebSocket> {
  const offered = [...protocols];
  if (access.token) {
    const answer = await fetchRaw("/api/ticket", { method: "POST" });
    const { ticket } = (await answer.json()) as { ticket: string };
    offered.push(`cordwood.ticket.${ticket}`);
  }
  const address = new URL(path, location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  return new WebSocket(address, offered);
}

/** After a stream whose reader's token or session is over: the refusal of the next question says what to do about it. */
export async function asksWho(): Promise<void> {
  await ask(api.GET("/api/whoami", {})).catch(() => {});
}
