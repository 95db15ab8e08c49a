import type { Telling } from "./replica.ts";

/** What workers write to each other. All of them read all of it. */
export type Letter =
  /** I am new: who else is there? */
  | { readonly kind: "hello" }
  /** I am there, and may know what was before you. */
  | { readonly kind: "here"; readonly hasJoined: boolean }
  /** Tell me all that you know. */
  | { readonly kind: "fetch"; readonly of: string }
  | {
    readonly kind: "everything";
    readonly to: string;
    readonly workers: readonly WorkerState[];
    readonly departed: readonly string[];
    readonly departedTellings: readonly Telling[];
  }
  /** I am scraped: tell what changed since you last told, within so many ms. */
  | { readonly kind: "ask"; readonly round: number; readonly patience: number }
  | {
    readonly kind: "tell";
    /** Counts what the sender tells: nothing of it may be missed. */
    readonly version: number;
    readonly tellings: readonly Telling[];
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

/** What one worker knows of another, as it travels. */
export interface WorkerState {
  readonly id: string;
  readonly version: number;
  readonly tellings: readonly Telling[];
  readonly hasLeft: boolean;
  readonly isSilent: boolean;
}
