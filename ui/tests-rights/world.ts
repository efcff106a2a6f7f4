// What all of these tests share: the way in over HTTPS, as an Ingress is one, and the browser, for which the gateway's name leads there.
import { readFile } from "node:fs/promises";
import { type AddressInfo, connect } from "node:net";
import { createServer } from "node:tls";
import type { TestProject } from "vitest/node";
import { browserServer } from "../tests/world.ts";

export interface World {
  /** Where people reach the gateway: `https://` and a name. */
  origin: string;
  /** Where it listens. */
  gateway: string;
  /** Files with the certificate and the key of the way in. */
  certificate: [string, string];
  apiServer: string;
  /** Of an administrator of the API server. */
  apiToken: string;
  /** The token of a service account that sees one namespace. */
  reader: string;
  /** A file with the gateway's metrics, as they are now. */
  metrics: string;
  /** A token of anna's, which ends some seconds after the tests began. */
  soon: string;
}

declare module "vitest" {
  interface ProvidedContext {
    world: World;
  }
}

export default async function setup(project: TestProject) {
  const file = process.env.CORDWOOD_RIGHTS;
  if (!file) throw new Error("`cargo test -p cordwood-tests --test browser` starts what these tests need");
  const world = JSON.parse(await readFile(file, "utf8")) as World;
  const [cert, key] = await Promise.all(world.certificate.map((path) => readFile(path)));
  const [host, port] = world.gateway.split(":");
  const proxy = createServer({ cert, key }, (socket) => {
    const inside = connect(Number(port), host);
    socket.pipe(inside).pipe(socket);
    for (const end of [socket, inside]) end.on("error", () => (socket.destroy(), inside.destroy()));
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const listening = (proxy.address() as AddressInfo).port;
  const server = await browserServer([`--host-resolver-rules=MAP ${new URL(world.origin).host}:443 127.0.0.1:${listening}`, "--ignore-certificate-errors"]);
  project.provide("world", world);
  project.provide("address", world.origin);
  project.provide("folder", "");
  project.provide("browser", server.wsEndpoint());
  return async () => {
    await server.close();
    proxy.close();
  };
}
