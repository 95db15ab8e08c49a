/** Returns the origin of the service, which listens on the loopback address. */
export function originOf(port: number): string {
  return `http://127.0.0.1:${port}`;
}

/** Returns whether the host of a request is the loopback address and the port. */
export function isAddressedTo(request: Request, port: number): boolean {
  // HTTP/2 requests have no Host header.
  const host = request.headers.get("Host") ?? new URL(request.url).host;
  return ["127.0.0.1", "[::1]", "localhost"].some((name) =>
    host.toLowerCase() === new URL(`http://${name}:${port}`).host
  );
}
