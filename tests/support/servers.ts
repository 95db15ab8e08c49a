/**
 * Serves metrics with every server of the runtime, and sends requests byte by byte.
 *
 * @module
 */
import { createServer } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import type { MetricsHandlerOptions } from "../../mod.ts";
import { metricsHandler } from "../../mod.ts";
import { nodeMetricsHandler } from "../../src/node.ts";

/** A server that is running. */
export interface Server {
  readonly name: string;
  readonly port: number;
  stop(): Promise<unknown>;
}

/** The body of the response to any other path. */
export const NEXT = "something else";

const HOST = "127.0.0.1";

type Options = Pick<MetricsHandlerOptions, "registry" | "token">;
type FetchHandler = (request: Request) => Promise<Response>;

interface BunServer {
  readonly port: number;
  stop(closeActiveConnections: boolean): Promise<void>;
}

const { Deno: deno, Bun: bun } = globalThis as {
  Deno?: typeof Deno;
  Bun?: { serve(options: object): BunServer };
};

/** Serves metrics at `/metrics` with each server, on a free port of loopback. */
export async function serveAll(options: Options): Promise<Server[]> {
  const handler = metricsHandler({
    ...options,
    next: () => new Response(NEXT),
  });
  const servers = [await serveNode(options)];
  if (deno !== undefined) servers.push(serveDeno(deno, handler));
  if (bun !== undefined) servers.push(serveBun(bun, handler));
  return servers;
}

async function serveNode(options: Options): Promise<Server> {
  const server = createServer(nodeMetricsHandler({
    ...options,
    next: (_, response: { end(text: string): unknown }) => response.end(NEXT),
  }));
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  return {
    name: "node:http",
    port: (server.address() as AddressInfo).port,
    stop: () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  };
}

function serveDeno({ serve }: typeof Deno, handler: FetchHandler): Server {
  const server = serve(
    { hostname: HOST, port: 0, onListen() {}, onError: serverError },
    handler,
  );
  return {
    name: "Deno.serve",
    port: server.addr.port,
    stop: () => server.shutdown(),
  };
}

function serveBun(
  { serve }: { serve(options: object): BunServer },
  handler: FetchHandler,
): Server {
  const server = serve({
    hostname: HOST,
    port: 0,
    fetch: handler,
    error: serverError,
  });
  return {
    name: "Bun.serve",
    port: server.port,
    stop: () => server.stop(true),
  };
}

/** Returns the response if the handler throws. */
function serverError(): Response {
  return new Response("The handler threw", { status: 500 });
}

/** Sends the raw head of a request, and returns the socket. */
export function send({ port }: Server, ...lines: string[]): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, HOST, () => {
      socket.write([...lines, "Connection: close", "", ""].join("\r\n"));
      resolve(socket);
    });
    socket.on("error", reject);
  });
}

/** Reads until the server closes the connection. */
export function receive(socket: Socket): Promise<Uint8Array> {
  return new Promise((resolve) => {
    const chunks: Uint8Array[] = [];
    socket.on("data", (chunk: Uint8Array) => chunks.push(chunk));
    socket.on("close", () => resolve(concat(chunks)));
  });
}

/** Sends the head of a request, and returns the response as text, with its head. */
export async function ask(server: Server, ...lines: string[]): Promise<string> {
  const bytes = await receive(await send(server, ...lines));
  return new TextDecoder().decode(bytes);
}

function concat(chunks: readonly Uint8Array[]): Uint8Array {
  const length = chunks.reduce((sum, { length }) => sum + length, 0);
  const all = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    all.set(chunk, offset);
    offset += chunk.length;
  }
  return all;
}
