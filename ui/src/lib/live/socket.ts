// A WebSocket of the gateway's own origin. Where a token is in use, a ticket opens it, since a page can send no header with a WebSocket.
import { access } from "../api/access.svelte";
import { fetchRaw } from "../api/client";

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
