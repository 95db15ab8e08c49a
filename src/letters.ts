import type { Telling } from "./replica.ts";

/** What workers write to each other. All of them read all of it. */
export type Letter =
  /** I am new: who else is there? */
  | { readonly kind: "hello" }
  /** I am there, and may know what was before you. */
  | { readonly kind: "here"; readonly hasJoined: boolean }
  /** Tell me all that you know. */
  | { readonly kind: "fetch"; readonly of: string }
  /** Encloses what each of the workers, and all that have left together, told. */
  | {
    readonly kind: "everything";
    readonly to: string;
    readonly workers: readonly WorkerState[];
    /** Those who left lately, and for how many ms they are to be remembered. */
    readonly departed: readonly (readonly [id: string, milliseconds: number])[];
    /** Whether others left, of whom nobody knows the ids any more. */
    readonly hasForgotten: boolean;
  }
  /** I am scraped: tell what changed since you last told, within so many ms. */
  | { readonly kind: "ask"; readonly round: number; readonly patience: number }
  /** Encloses what changed. */
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

/** What a letter encloses, in small parts. */
export interface Enclosed {
  readonly telling: Telling;
  /** Whose it is, if not the sender's: `null` for all that have left together. */
  readonly of?: string | null;
}

/** What one worker knows of another, as it travels. */
export interface WorkerState {
  readonly id: string;
  readonly version: number;
  readonly hasLeft: boolean;
  readonly isSilent: boolean;
}
