/** Types of client.js; the wire protocol is docs/reference/protocol.md. */

export type Transport = "websocket" | "sse" | "longpoll";

/** `idle` before the first try, `open` while items arrive, `failed` when only a change on this side would help. */
export type State = "idle" | "connecting" | "open" | "reconnecting" | "offline" | "closed" | "failed";

/** `epoch.offset`, such as `k3f9.1042`: "I have everything up to here". Keep it as it is. */
export type Position = string;

export interface StateChange {
  state: State;
  /** The wire that works, or that worked last; null before the first. */
  transport: Transport | null;
  /** One plain sentence for people. */
  sentence: string;
}

export interface LiveEvent<Data = unknown> {
  type: "event";
  id: Position;
  channel: string;
  /** Seconds since 1970 at which the server took it. */
  at: number;
  data: Data;
}

/** Of `channel`, nothing is kept any more in the range (`after`, `through`]. Fetch a snapshot, then go on. */
export interface Lost {
  type: "lost";
  id: Position;
  channel: string;
  after: Position;
  through: Position;
  reason: "evicted" | "epoch" | "future";
}

export class LiveError extends Error {
  /** A code of the protocol, or 0 where none was said. */
  readonly code: number;
  /** Its name, such as `unknown_channel`; of ours: `unreachable`, `silent`, `not_everywire`, `lagging`, `cut`, `closed`. */
  readonly name: string;
  /** Seconds to wait; null: do not come back unchanged; undefined: not said. */
  readonly retry: number | null | undefined;
}

export interface Listeners<Data = unknown> {
  state: (change: StateChange) => void;
  event: (event: LiveEvent<Data>) => void;
  lost: (lost: Lost) => void;
  transport: (change: { transport: Transport }) => void;
  /** Why a wire ended; the next try is under way, unless `state` says `failed`. */
  error: (error: LiveError) => void;
}

export interface Options {
  /** 1 to 100 channel names. */
  channels: string[];
  /** Default `auto`: the first of websocket, sse, longpoll that brings an item. */
  transport?: Transport | "auto";
  /** The `id` of the last event that you have handled; reading goes on behind it. Default: from the present. */
  since?: Position | null;
  /** For Node 20, which has no WebSocket of its own, and for tests. */
  WebSocket?: unknown;
  /** For tests, and to add headers. */
  fetch?: typeof fetch;
  /** For tests: from 0 to below 1. */
  random?: () => number;
  /** For tests: seconds, but for `lag`, which is a number of events; see the source for the defaults. */
  pace?: Partial<Record<"proof" | "least" | "most" | "answer" | "insist" | "lag", number>>;
}

export interface Live<Data = unknown> extends AsyncIterable<LiveEvent<Data>> {
  readonly state: State;
  readonly transport: Transport | null;
  /** Of the last item that came in. Keep an event's `id` instead if you want to go on after the last *handled* event. */
  readonly position: Position | null;

  /** Calls `fn` for each; returns a function that ends it. */
  on<Type extends keyof Listeners<Data>>(type: Type, fn: Listeners<Data>[Type]): () => void;

  /**
   * Publishes `data` and resolves to the event's id. When no answer comes it tries again with the same `key`, under which the
   * server publishes once only; it gives up after 100 seconds.
   * @throws {LiveError} the server refused it, could not be reached, or the stream was closed.
   */
  publish(channel: string, data: unknown, options?: { key?: string }): Promise<Position>;

  /** Ends the stream: loops end, and no listener is called after the last `state`. */
  close(): void;

  /** For demonstrations: drops the wire without a word, as a broken network would, and stays away for `seconds` (default 0). */
  cut(seconds?: number): void;

  /**
   * Events from the first call of `next` on, ended by `close`; throws the LiveError when the stream failed. A loop that is
   * 10,000 events behind stops the wire, and it is resumed when the loop has caught up: nothing is dropped.
   */
  [Symbol.asyncIterator](): AsyncGenerator<LiveEvent<Data>, void, undefined>;
}

/** Opens the stream that is mounted at `mount`, such as `/live`, and keeps it open until `close`. */
export function connect<Data = unknown>(mount: string | URL, options: Options): Live<Data>;

/** `k3f9.1042` -> its parts, or null for what is no position. To compare two offsets of one epoch, and for nothing else. */
export function parsePosition(text: string): { epoch: string; offset: number } | null;

/** A reader of our event streams: bytes in any pieces -> the items that are complete with them. */
export function sseReader(): (bytes: Uint8Array) => object[];
