/** Thrown when a message is rejected because no worker would send it. */
export class InvalidMessage extends Error {
  override readonly name: string = "InvalidMessage";
}
