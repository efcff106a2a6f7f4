// Before the second standalone, which knows people by tokens: who they are. All of its records are of the tenant `acme`.
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Standalone, standalone } from "./standalone.ts";

export const ALL = "0123456789abcdef-all-of-it";
/** Of a tenant that has nothing. */
export const OTHER = "0123456789abcdef-of-another";
export const SUPPORT = "0123456789abcdef-of-support";

/** The file of tokens is written into a folder of the caller's. */
export async function guarded(folder: string): Promise<Standalone> {
  const file = join(folder, "tokens.yaml");
  const tokens = [
    { name: "anna", token: ALL, tenants: "all" },
    { name: "bert", token: OTHER, tenants: ["another"] },
    { name: "support", token: SUPPORT, tenants: ["acme"] },
  ];
  await writeFile(file, JSON.stringify({ tokens }));
  await chmod(file, 0o600);
  return standalone(["--tokens-file", file, "--tenant", "acme"]);
}
