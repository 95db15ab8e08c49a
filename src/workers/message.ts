import type { RegistryDelta } from "./replica.ts";

/** What workers write to each other. All of them read all of it. */
export type Message =
  /** I am new: who else is there? */
  | { readonly kind: "join" }
  /** I am there, and may know what was before you. */
  | { readonly kind: "present"; readonly hasJoined: boolean }
  /** Tell me all that you know. */
  | { readonly kind: "syncRequest"; readonly target: string }
  /** Encloses the metrics of each worker, and the sum of all that have left. */
  | {
    readonly kind: "fullState";
    readonly to: string;
    readonly workers: readonly WorkerState[];
    /** WorkerGroup that left lately, and for how many ms their ids are kept. */
    readonly retired: readonly (readonly [id: string, milliseconds: number])[];
    /** Whether more workers have left, whose ids were dropped since. */
    readonly hasDroppedIds: boolean;
  }
  /** I am scraped: tell what changed since you last told, within so many ms. */
  | {
    readonly kind: "collect";
    readonly round: number;
    readonly timeoutMs: number;
  }
  /** Encloses the changes since the last such message. */
  | {
    readonly kind: "delta";
    /** Counts what the sender tells: nothing of it may be missed. */
    readonly version: number;
  }
  /** I told what changed. */
  | {
    readonly kind: "ack";
    readonly to: string;
    readonly round: number;
    readonly version: number;
  }
  /** These did not answer me: do not wait for them until they speak. */
  | { readonly kind: "suspect"; readonly ids: readonly string[] }
  /** I end, and told my last. */
  | { readonly kind: "leave" };

/** An item that a message encloses: a small part of the metrics of a worker. */
export interface Item {
  readonly delta: RegistryDelta;
  /** The worker's id, if it is not the sender: `null` for all that have left. */
  readonly worker?: string | null;
}

/** What one worker knows of another, as it travels. */
export interface WorkerState {
  readonly id: string;
  readonly version: number;
  readonly hasLeft: boolean;
  /** For how many milliseconds it has not lastAck; `null` if it has. */
  readonly unresponsiveForMs: number | null;
}
