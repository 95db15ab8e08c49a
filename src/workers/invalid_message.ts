/** Thrown for a message that no worker sends, and that changes nothing. */
export class InvalidMessage extends Error {
  override readonly name: string = "InvalidMessage";
}
