/** The reason why a question has no answer, for the client. */
export class NoAnswer extends Error {
  override name = "NoAnswer";
  /** The status of the HTTP response. */
  readonly status: number;

  constructor(message: string, status = 404) {
    super(message);
    this.status = status;
  }
}
