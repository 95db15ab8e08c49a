/** Returns the origin of the service, which listens on this machine only. */
export function originOf(port: number): string {
  return `http://127.0.0.1:${port}`;
}

/** Returns whether a request names this machine, and the port of the service. */
export function isAddressedTo(request: Request, port: number): boolean {
  // HTTP/2 has no such header; there the request's URL is all there is.
  const host = request.headers.get("Host") ?? new URL(request.url).host;
  return ["127.0.0.1", "[::1]", "localhost"].some((name) =>
    host.toLowerCase() === new URL(`http://${name}:${port}`).host
  );
}
