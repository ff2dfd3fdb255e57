/** Types of presence.js; the protocol is docs/reference/protocol.md#presence. */

import type { Live, Position } from "./client.js";

/** Somebody who is there. */
export interface Member<Data = unknown> {
  as: string;
  /** Seconds since 1970 since when. */
  at: number;
  /** What is said of the member, null unless something is. */
  data: Data;
  /** Names this stay. */
  visit: Position;
}

/** The server says no. */
export class RefusedError extends Error {
  /** A code of the protocol. */
  readonly code: number;
  /** Its name, such as `unknown_channel`. */
  readonly name: string;
  /** Seconds to wait; null: do not come back unchanged. */
  readonly retry: number | null;
}

export interface Asking {
  /** As for `connect`. A function is called before every request. */
  token?: string | (() => string | Promise<string>);
  /** Called when the server says no for good. */
  refused?: (error: RefusedError) => void;
  /** For tests, and to add headers. */
  fetch?: typeof fetch;
  /** For tests: from 0 to below 1. */
  random?: () => number;
}

export interface Stay<Data = unknown> {
  /** Resolves when all workers know; rejects when the server says no for good, or `leave` comes first. */
  readonly joined: Promise<void>;
  /** Says something else of the member. */
  say(data: Data): void;
  /** Gives the lease up. Who has another, in another tab, is still there. */
  leave(): Promise<void>;
}

/**
 * Is present in `channel` of the stream mounted at `mount` under the name `as`, until `leave` or until the page goes. The lease is
 * renewed by POST.
 */
export function present<Data = unknown>(
  mount: string | URL | (() => string | URL | Promise<string | URL>),
  channel: string,
  options: Asking & { as: string; data?: Data },
): Stay<Data>;

/**
 * Follows who is in `channel`: calls `show` with the members, sorted by name, at first and whenever something has changed. `live` reads
 * `presence:<channel>`. Returns a function that ends it.
 */
export function members<Data = unknown>(
  live: Pick<Live, "on" | "position">,
  mount: string | URL | (() => string | URL | Promise<string | URL>),
  channel: string,
  show: (members: Member<Data>[]) => void,
  options?: Asking,
): () => void;
