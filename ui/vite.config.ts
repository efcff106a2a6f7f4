// How the interface is built (`npm run build`), served while it is worked on (`npm run dev`), and its pure parts are tested.
import { fileURLToPath } from "node:url";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";
import { first } from "./scripts/first.ts";
import { packed } from "./scripts/packed.ts";

const gateway = process.env.CORDWOOD_GATEWAY ?? "http://127.0.0.1:9600";

export default defineConfig({
  plugins: [svelte(), first("/views/logs/Logs.svelte"), packed()],
  resolve: { alias: { $lib: fileURLToPath(new URL("./src/lib", import.meta.url)) } },
  build: {
    target: "es2022",
    // Under the strict Content-Security-Policy of the gateway nothing stands inline.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    sourcemap: false,
  },
  server: {
    // The gateway answers its own origin alone: it is asked under its own name.
    proxy: Object.fromEntries(
      ["/api", "/ws"].map((path) => [
        path,
        { target: gateway, changeOrigin: true, ws: true, rewriteWsOrigin: true, headers: { origin: gateway } },
      ]),
    ),
  },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
