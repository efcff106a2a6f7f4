// The tests in a real browser: one `cordwood standalone` and one Chromium serve all files, each of which has log files and services of its own.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.spec.ts"],
    globalSetup: ["tests/world.ts"],
    environment: "node",
    fileParallelism: true,
    maxWorkers: 2,
    testTimeout: 150_000,
    hookTimeout: 90_000,
    slowTestThreshold: 5_000,
  },
});
