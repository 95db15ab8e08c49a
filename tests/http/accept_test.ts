import { assertEquals } from "@std/assert";
import { FORMATS } from "../../src/exposition/format.ts";
import { acceptsGzip, negotiateFormat } from "../../src/http/accept.ts";

const [TEXT, OPENMETRICS] = FORMATS;

const ACCEPT: [string | null, "text" | "openmetrics"][] = [
  [null, "text"],
  ["", "text"],
  ["*/*", "text"],
  ["text/plain", "text"],
  ["text/html,application/xhtml+xml,*/*;q=0.8", "text"],
  ["application/json", "text"],
  ["application/openmetrics-text", "openmetrics"],
  ["APPLICATION/OpenMetrics-Text; Version=1.0.0", "openmetrics"],
  ['application/openmetrics-text; version="1.0.0"', "openmetrics"],
  ["application/openmetrics-text; charset=utf-8", "openmetrics"],
  ["application/openmetrics-text; charset=latin1", "text"],
  ["application/openmetrics-text;version=0.0.1", "text"],
  ["application/openmetrics-text, */*", "openmetrics"],
  ["application/*", "openmetrics"],
  ["application/openmetrics-text, text/plain", "text"],
  ["application/openmetrics-text;q=0.5, text/plain", "text"],
  ["application/openmetrics-text, text/plain;q=0.5", "openmetrics"],
  ["application/openmetrics-text;q=0, */*", "text"],
  ["application/openmetrics-text;q=0", "text"],
  ["text/plain;q=0, */*;q=0.1", "openmetrics"],
  ["text/*;q=0.3, */*;q=0.9, text/plain;q=0.1", "openmetrics"],
  ["application/openmetrics-text;q=2", "text"],
  ["application/openmetrics-text;q=high", "text"],
  [",;=,;q,=;;", "text"],
  // Prometheus 2.42
  [
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "openmetrics",
  ],
  // Prometheus 3
  [
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    "openmetrics",
  ],
  ["text/plain;version=0.0.4;q=1,*/*;q=0.1", "text"],
];

Deno.test("negotiateFormat() chooses OpenMetrics if the client prefers it", () => {
  for (const [accept, format] of ACCEPT) {
    assertEquals(negotiateFormat(accept).name, format, String(accept));
  }
});

Deno.test("acceptsGzip() compares the weights of the codings", () => {
  const codings: [string | null, boolean][] = [
    [null, false],
    ["", false],
    ["gzip", true],
    ["GZip", true],
    ["x-gzip", true],
    ["br, deflate", false],
    ["deflate, gzip;q=1.0, *;q=0.5", true],
    ["gzip;q=0", false],
    ["gzip;q=0, *", false],
    ["*", true],
    ["*;q=0", false],
    ["identity", false],
    ["gzip;q=0.5, identity", false],
    ["gzip, identity;q=0.5", true],
    ["gzip, identity", true],
    ["gzipped", false],
  ];
  for (const [header, accepted] of codings) {
    assertEquals(acceptsGzip(header), accepted, String(header));
  }
});

Deno.test("negotiateFormat() and acceptsGzip() read a header of a megabyte", () => {
  const header = "application/openmetrics-text;q=0.1,".repeat(30_000);
  assertEquals(negotiateFormat(header), OPENMETRICS);
  assertEquals(acceptsGzip(header), false);
});

Deno.test("negotiateFormat() chooses among the given formats", () => {
  for (const [accept] of ACCEPT) {
    assertEquals(negotiateFormat(accept, [TEXT]), TEXT, `${accept}`);
    assertEquals(negotiateFormat(accept, [OPENMETRICS]), OPENMETRICS);
  }
});
