import type { Telling } from "./replica.ts";

/** What workers write to each other. All of them read all of it. */
export type Letter =
  /** I am new: who else is there? */
  | { readonly kind: "hello" }
  /** I am there, and may know what was before you. */
  | { readonly kind: "here"; readonly hasJoined: boolean }
  /** Tell me all that you know. */
  | { readonly kind: "fetch"; readonly of: string }
  /** Encloses the metrics of each worker, and the sum of all that have left. */
  | {
    readonly kind: "everything";
    readonly to: string;
    readonly workers: readonly WorkerState[];
    /** Workers that left lately, and for how many ms their ids are kept. */
    readonly departed: readonly (readonly [id: string, milliseconds: number])[];
    /** Whether more workers have left, whose ids were dropped since. */
    readonly hasForgotten: boolean;
  }
  /** I am scraped: tell what changed since you last told, within so many ms. */
  | { readonly kind: "ask"; readonly round: number; readonly patience: number }
  /** Encloses the changes since the last such letter. */
  | {
    readonly kind: "tell";
    /** Counts what the sender tells: nothing of it may be missed. */
    readonly version: number;
  }
  /** I told what changed. */
  | {
    readonly kind: "told";
    readonly to: string;
    readonly round: number;
    readonly version: number;
  }
  /** These did not answer me: do not wait for them until they speak. */
  | { readonly kind: "silent"; readonly ids: readonly string[] }
  /** I end, and told my last. */
  | { readonly kind: "bye" };

/** An item that a letter encloses: a small part of the metrics of a worker. */
export interface Enclosed {
  readonly telling: Telling;
  /** The worker's id, if it is not the sender: `null` for all that have left. */
  readonly of?: string | null;
}

/** What one worker knows of another, as it travels. */
export interface WorkerState {
  readonly id: string;
  readonly version: number;
  readonly hasLeft: boolean;
  /** For how many milliseconds it has not answered; `null` if it has. */
  readonly silentFor: number | null;
}
