// Somebody as kubectl's commands name them.
import type { Schemas } from "./client";

/** For a shell: what is in single quotes is taken as it is. Empty for who is not of the cluster. */
export function subjectOf({ name, knownBy }: Pick<Schemas["WhoAmI"], "name" | "knownBy">): string {
  if (knownBy !== "oidc" && knownBy !== "kubernetes") return "";
  const account = /^system:serviceaccount:(.+)$/.exec(name)?.[1];
  return `--${account ? "serviceaccount" : "user"}='${(account ?? name).replaceAll("'", "'\\''")}'`;
}
