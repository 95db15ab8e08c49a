import type { RegistryDelta } from "./replica.ts";

/** The messages that workers send. Every worker receives every message. */
export type Message =
  /** Announces a new worker. */
  | { readonly kind: "join" }
  /** Announces a running worker, and whether it has the state from before its start. */
  | { readonly kind: "present"; readonly hasJoined: boolean }
  /** Requests the full state from one worker. */
  | { readonly kind: "syncRequest"; readonly target: string }
  /** Carries the metrics of each worker, and the sum of all retired workers. */
  | {
    readonly kind: "fullState";
    readonly to: string;
    readonly workers: readonly WorkerState[];
    /** The ids of retired workers, and how long to keep them, in milliseconds. */
    readonly retired: readonly (readonly [id: string, milliseconds: number])[];
    /** Whether the sender has dropped ids of retired workers. */
    readonly hasDroppedIds: boolean;
  }
  /** Requests the changes since the last delta, within `timeoutMs`, for a scrape. */
  | {
    readonly kind: "collect";
    readonly round: number;
    readonly timeoutMs: number;
  }
  /** Carries the changes since the last delta. */
  | {
    readonly kind: "delta";
    /** The number of the delta, from 1. Each delta builds on the one before. */
    readonly version: number;
  }
  /** Answers a collect message, once the changes have been sent. */
  | {
    readonly kind: "ack";
    readonly to: string;
    readonly round: number;
    /** The version of the last delta sent. */
    readonly version: number;
  }
  /** Names workers that did not answer: not awaited until they send a message. */
  | { readonly kind: "suspect"; readonly ids: readonly string[] }
  /** Announces that the sender exits and sends no more deltas. */
  | { readonly kind: "leave" };

/** An item of a message: a small part of a worker's metrics. */
export interface Item {
  readonly delta: RegistryDelta;
  /** The id of the worker, `null` for all retired workers; the sender by default. */
  readonly worker?: string | null;
}

/** The state of one worker, as another worker sends it. */
export interface WorkerState {
  readonly id: string;
  readonly version: number;
  readonly hasLeft: boolean;
  /** How long it has not answered, in milliseconds; `null` if it has. */
  readonly unresponsiveForMs: number | null;
}
