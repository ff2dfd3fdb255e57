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
  /** Which of the channel's things it tells of, if it was published with that. */
  about?: string;
}

/** Of `channel`, `count` events in the range (`after`, `through`] were left out, as you wished; null: nobody can count them. */
export interface Skipped {
  type: "skipped";
  id: Position;
  channel: string;
  after: Position;
  through: Position;
  count: number | null;
  reason: "latest" | "lag";
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
  /**
   * Its name, such as `unknown_channel`; of ours: `unreachable`, `silent`, `not_everywire`, `unsupported`, `queue_full`, `cut`,
   * `closed`.
   */
  readonly name: string;
  /** Seconds to wait; null: do not come back unchanged; undefined: not said. */
  readonly retry: number | null | undefined;
  /** What the negotiator was told of it, if that is more. */
  readonly cause?: unknown;
}

export interface Listeners<Data = unknown> {
  state: (change: StateChange) => void;
  event: (event: LiveEvent<Data>) => void;
  lost: (lost: Lost) => void;
  skipped: (skipped: Skipped) => void;
  transport: (change: { transport: Transport }) => void;
  /** Why a wire ended; the next try is under way, unless `state` says `failed`. */
  error: (error: LiveError) => void;
}

export interface Options {
  /** 1 to 100 channel names; `orders.*` follows all that begin with `orders.`, also those that come up later. */
  channels: string[];
  /** Those of `channels` of which only the newest of each `about` is wanted when events have piled up. */
  latest?: string[];
  /** Those of `channels` of which no more than so many events may pile up: `["orders.*:100"]`. */
  lag?: string[];
  /** Default `auto`: whichever is proven to work, the best of those. */
  transport?: Transport | "auto";
  /** The `id` of the last event that you have handled; reading goes on behind it. Default: from the present. */
  since?: Position | null;
  /**
   * Who you are: sent as `Authorization: Bearer`, and to a WebSocket as the subprotocol `everywire.token.<base64url>`. A function is
   * called before every request, and before what it gave expires: over a WebSocket that is shown in place. When the server says 4401, it is
   * called once more, before that is final.
   */
  token?: string | (() => string | Promise<string>);
  /** Keep the position while the page is away, in sessionStorage: a reload goes on where it was. */
  resume?: boolean;
  /**
   * Share one SSE or long-polling connection between the tabs of this origin, where the server is reached over HTTP/1.x. All tabs
   * that share must be the same user's.
   */
  share?: boolean;
  /** Publishes that may wait, at the most. Default 100. */
  queue?: number;
  /** Where it is remembered what works in this network. Default: localStorage. Not used where `transport` is fixed. */
  memory?: Pick<Storage, "getItem" | "setItem">;
  /** Called for each step of the machine: with the first state this replays to the same states, in Python too. */
  log?: (entry: { now: number; luck: number; fact: Fact }) => void;
  /** For Node 20, which has no WebSocket of its own, and for tests. */
  WebSocket?: unknown;
  /** For tests, and to add headers. */
  fetch?: typeof fetch;
  /** For tests: from 0 to below 1. */
  random?: () => number;
  /**
   * For tests: the numbers that the machine goes by (`Pace` in transports/facts.py), `post`, the seconds for the answer to a
   * publish, and `lag`, the number of events that a `for await` loop may be behind.
   */
  pace?: Record<string, number>;
}

/** One try of one transport, or the end of one that worked. */
export interface Attempt {
  rung: Transport;
  why: "race" | "retest" | "wish" | "memory";
  phase: string;
  ms: number;
  verdict: string;
  status: number;
  via: string;
  reason: string;
}

/** Why the client uses what it uses. It can be sent as JSON. */
export interface Evidence {
  state: State;
  transport: Transport | null;
  sentence: string;
  position: Position | null;
  /** Seconds of a round trip. */
  rtt: number | null;
  /** Seconds for which this path bears silence, as far as was learnt. */
  quiet: number | null;
  attempts: Attempt[];
  bad: Record<string, { verdict: string; until: number; retest: number; delay: number; status: number; via: string }>;
}

export interface Live<Data = unknown> extends AsyncIterable<LiveEvent<Data>> {
  readonly state: State;
  readonly transport: Transport | null;
  /** How things stand, in one sentence for people. */
  readonly sentence: string;
  /** Why it is so. A copy. */
  readonly evidence: Evidence;
  /** Of the last item that came in. Keep an event's `id` instead if you want to go on after the last *handled* event. */
  readonly position: Position | null;

  /** Calls `fn` for each; returns a function that ends it. */
  on<Type extends keyof Listeners<Data>>(type: Type, fn: Listeners<Data>[Type]): () => void;

  /**
   * Publishes `data` and resolves to the event's id. Publishes go up in order, and wait while there is no network. When no answer
   * comes it tries again with the same `key`, under which the server publishes once only; it gives up after `timeout` seconds
   * (default 100; the server forgets a key after 120).
   * @throws {LiveError} the server refused it, could not be reached, too many wait already, or the stream was closed.
   */
  publish(channel: string, data: unknown, options?: { key?: string; about?: string; timeout?: number }): Promise<Position>;

  /** Wishes for a transport: it takes over as soon as it is proven, without a gap. */
  switch(transport: Transport): void;

  /** Ends the stream: loops end, and no listener is called after the last `state`. */
  close(): void;

  /** For demonstrations: drops every wire without a word, as a broken network would, and stays away for `seconds` (default 0). */
  cut(seconds?: number): void;

  /**
   * Events from the first call of `next` on, ended by `close`; throws the LiveError when the stream failed. A loop that is
   * 10,000 events behind stops the wire, and it is resumed when the loop has caught up: nothing is dropped.
   */
  [Symbol.asyncIterator](): AsyncGenerator<LiveEvent<Data>, void, undefined>;
}

/**
 * Opens the stream that is mounted at `mount`, such as `/live`, and keeps it open until `close`. A function is called before every
 * connection and every publish; what is remembered is then shared by all mounts that are given by functions.
 */
export function connect<Data = unknown>(
  mount: string | URL | (() => string | URL | Promise<string | URL>),
  options: Options,
): Live<Data>;

/** `k3f9.1042` -> its parts, or null for what is no position. To compare two offsets of one epoch, and for nothing else. */
export function parsePosition(text: string): { epoch: string; offset: number } | null;

/** JSON of a batch, or of `one` item -> the items of types that this version knows. Throws the LiveError `not_everywire`. */
export function known(text: string, one?: boolean): object[];

/** What happened; see transports/facts.py. */
export type Fact = { fact: string; wire?: number } & Record<string, unknown>;

/** What is to be done about it. */
export type Instruction = { do: string; wire?: number } & Record<string, unknown>;

/** All that the machine knows; see `State` in transports/facts.py. */
export type MachineState = { rungs: string[]; state: State; sentence: string; due: number | null } & Record<string, unknown>;

/** The table of the machine: which rule answers which fact in which state. */
export const GRID: string;

/** A state in which nothing has happened yet; `rungs`: transports, best first. */
export function initial(rungs: string[], more?: Record<string, unknown>): MachineState;

/** What follows from `fact`; the given state is not changed. `now`: seconds since 1970; `luck`: from 0 to below 1. */
export function step(state: MachineState, fact: Fact, now: number, luck: number): [MachineState, Instruction[]];
