/** Returns the origin of the service, which listens on this machine only. */
export function originOf(port: number): string {
  return `http://127.0.0.1:${port}`;
}
