import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import * as libraries from "./libraries";
import { stackParts } from "./stack";

const own = (stack: string) =>
  stackParts(stack).flatMap((part) => (part.kind === "frames" ? part.frames.map((frame) => [frame.text.split(/[\n(]/)[0]!.trim(), frame.own] as const) : []));

it("knows a service's own frames of Node", () => {
  const stack = [
    "PaymentTimeout: no answer",
    "    at charge (/app/src/provider.ts:88:13)",
    "    at async handle (/app/node_modules/fastify/lib/handleRequest.js:143:18)",
    "    at process.processTicksAndRejections (node:internal/process/task_queues:95:5)",
    "    at /app/src/run.ts:3:1",
  ].join("\n");
  expect(stackParts(stack)[0]).toEqual({ kind: "text", text: "PaymentTimeout: no answer" });
  expect(own(stack).map(([, is]) => is)).toEqual([true, false, false, true]);
});

it("knows those of Java, and what caused it", () => {
  const stack = [
    "java.lang.IllegalStateException: empty cart",
    "\tat shop.Cart.add(Cart.java:12)",
    "\tat app//org.springframework.web.Servlet.service(Servlet.java:3)",
    "Caused by: java.io.IOException: reset",
    "\tat java.base/java.net.Socket.read(Socket.java:1)",
    "\t... 12 more",
  ].join("\n");
  expect(own(stack)).toEqual([["at shop.Cart.add", true], ["at app//org.springframework.web.Servlet.service", false], ["at java.base/java.net.Socket.read", false]]);
  expect(stackParts(stack).filter((part) => part.kind === "text")).toHaveLength(3);
});

it("knows those of Python with their line of code", () => {
  const stack = 'Traceback (most recent call last):\n  File "/usr/lib/python3.11/asyncio/run.py", line 1, in run\n    main()\n  File "/app/cart.py", line 12, in add\n    raise KeyError(sku)\nKeyError: 4';
  expect(own(stack).map(([, is]) => is)).toEqual([false, true]);
  expect(stackParts(stack).at(-1)).toEqual({ kind: "text", text: "KeyError: 4" });
  expect(JSON.stringify(stackParts(stack))).toContain("raise KeyError(sku)");
});

it("knows those of Go, Rust and .NET", () => {
  const go = "panic: nil map\n\ngoroutine 1 [running]:\nmain.(*Cart).Add(0xc0, 0x1)\n\t/app/cart.go:12 +0x1d\nnet/http.HandlerFunc.ServeHTTP(0x1)\n\t/usr/local/go/src/net/http/server.go:2166 +0x29";
  expect(own(go).map(([, is]) => is)).toEqual([true, false]);
  const rust = "   0: rust_begin_unwind\n             at /rustc/abc/library/std/src/panicking.rs:645:5\n   1: shop::cart::add\n             at ./src/cart.rs:4:9\n   2: <core::pin::Pin<P> as core::future::Future>::poll\n   3:     0x55d0 - tokio::runtime::park";
  expect(own(rust).map(([, is]) => is)).toEqual([false, true, false, false]);
  const net = "System.TimeoutException: no\n   at Shop.Cart.Add(Item item) in /src/Cart.cs:line 12\n   at System.Threading.Tasks.Task.Run()";
  expect(own(net).map(([, is]) => is)).toEqual([true, false]);
});

it("takes text without frames as text", () => expect(stackParts("no trace\nat all")).toEqual([{ kind: "text", text: "no trace\nat all" }]));

it("takes for libraries what the groups of errors take for them", () => {
  const core = readFileSync(new URL("../../../../core/src/signature/in_app.rs", import.meta.url), "utf8");
  const texts = (inner: string) => [...inner.matchAll(/"([^"]*)"/g)].map(([, text]) => text);
  const lists = Object.fromEntries([...core.matchAll(/const (\w+): \[&str; \d+\] =\s*\[(.*?)\];/gs)].map(([, name, inner]) => [name, texts(inner!)]));
  const go = texts(/Language::Go => \{\s*!\(begins\(&\[(.*?)\]\)/s.exec(core)![1]!);
  expect({ ...libraries }).toEqual({ ...lists, GO: go });
});
