/**
 * The lab's own bookkeeping. It does not believe the client: what a lane has delivered is counted here once more.
 * Pure: positions in, figures out. A position is { epoch, offset }.
 */

const KEPT = 5_000; // offsets that are remembered: to tell a repeat from a latecomer, and until all lanes have passed them

/** What one lane delivered, and whether each event came once and in order. */
export class Tally {
  delivered = 0;
  lost = 0; // ranges that the server declared
  doubled = 0;
  disordered = 0;
  #epoch = null;
  #last = -1;
  #seen = new Set();

  event({ epoch, offset }) {
    this.delivered += 1;
    if (epoch !== this.#epoch) {
      this.#epoch = epoch;
      this.#last = -1;
      this.#seen.clear();
    }
    if (this.#seen.has(offset)) this.doubled += 1;
    else if (offset < this.#last) this.disordered += 1;
    this.#last = Math.max(this.#last, offset);
    this.#seen.add(offset);
    if (this.#seen.size > KEPT) this.#seen.delete(this.#seen.values().next().value);
  }
}

/**
 * Whether all lanes delivered the same events. An event is judged once every lane has gone past it; what a lane was told is
 * lost is not counted against it. A lane's first event is where its judging begins.
 */
export class Comparison {
  compared = 0;
  missing = 0;
  #lanes = new Map(); // name -> { epoch, after, last }
  #pending = new Map(); // offset -> { epoch, lanes that delivered it }
  #count;

  constructor(count) {
    this.#count = count;
  }

  event(lane, { epoch, offset }) {
    const stand = this.#lanes.get(lane);
    if (stand?.epoch !== epoch) this.#lanes.set(lane, { epoch, after: offset, last: offset });
    else stand.last = Math.max(stand.last, offset);
    if (offset > (stand?.epoch === epoch ? stand.after : offset)) this.#note(lane, epoch, offset);
    this.#judge();
  }

  #note(lane, epoch, offset) {
    const key = `${epoch}.${offset}`;
    if (!this.#pending.has(key)) this.#pending.set(key, { epoch, offset, lanes: new Set() });
    this.#pending.get(key).lanes.add(lane);
    if (this.#pending.size > KEPT) this.#forget();
  }

  /** A lane is away for long: of the oldest event nothing is said any more. */
  #forget() {
    const [key, { epoch, offset }] = this.#pending.entries().next().value;
    this.#pending.delete(key);
    for (const stand of this.#lanes.values()) {
      if (stand.epoch === epoch) stand.after = Math.max(stand.after, offset);
    }
  }

  /** The lane was told that it has no claim to anything up to this position. */
  lost(lane, { epoch, offset }) {
    const stand = this.#lanes.get(lane);
    if (stand?.epoch === epoch) stand.after = Math.max(stand.after, offset);
    else this.#lanes.set(lane, { epoch, after: offset, last: offset });
  }

  #judge() {
    const stands = [...this.#lanes.values()];
    if (stands.length < this.#count || stands.some(({ epoch }) => epoch !== stands[0].epoch)) return;
    const { epoch } = stands[0];
    const after = Math.max(...stands.map((stand) => stand.after));
    const last = Math.min(...stands.map((stand) => stand.last));
    for (const [key, seen] of this.#pending) {
      if (seen.epoch === epoch && seen.offset > last) break; // some lane is not there yet, nor at those behind it
      this.#pending.delete(key);
      if (seen.epoch !== epoch || seen.offset <= after) continue; // of another life, or before all lanes took part
      this.compared += 1;
      if (seen.lanes.size < this.#count) this.missing += 1;
    }
  }
}
