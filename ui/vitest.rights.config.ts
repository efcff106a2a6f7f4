// The tests of rights in a real browser: `tests/tests/browser.rs` starts the API server, the identity provider, PostgreSQL and the gateway, and then these.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests-rights/**/*.spec.ts"],
    globalSetup: ["tests-rights/world.ts"],
    environment: "node",
    fileParallelism: true,
    maxWorkers: 2,
    testTimeout: 150_000,
    hookTimeout: 90_000,
    slowTestThreshold: 5_000,
  },
});
