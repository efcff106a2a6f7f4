import { expect, it } from "vitest";
import { Pace } from "./pace";

it("draws a calm stream at once", () => {
  const pace = new Pace();
  expect(pace.delayMs(1000)).toBe(16);
  pace.drew(3, 1016, 1018);
  expect(pace.delayMs(1020)).toBe(16);
});

it("draws a fast stream a few times a second, and less often where drawing is slow", () => {
  const pace = new Pace();
  pace.drew(500, 1000, 1010);
  expect(pace.delayMs(1020)).toBe(105);
  expect(pace.delayMs(1120)).toBe(16);
  pace.drew(500, 2000, 2060);
  expect(pace.delayMs(2060)).toBe(300);
  pace.drew(500, 3000, 4000);
  expect(pace.delayMs(4000)).toBe(16);
  pace.drew(500, 5000, 5500);
  expect(pace.delayMs(5500)).toBe(500);
});

it("is calm again when the stream is", () => {
  const pace = new Pace();
  pace.drew(500, 1000, 1010);
  pace.drew(2, 1125, 1126);
  expect(pace.delayMs(1130)).toBe(16);
});
